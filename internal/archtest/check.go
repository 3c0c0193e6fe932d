package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Finding is one place where a tree breaks a rule.
type Finding struct {
	Where string // file, or file:line
	What  string
}

// String gives "where: what".
func (f Finding) String() string { return f.Where + ": " + f.What }

// longFile is how many lines a file may have before it is mentioned.
const longFile = 400

// Check reads every Go file of a tree, whatever it is built for, and reports
// what breaks the rules, in the order of the paths. Notes are no findings: files
// that are long. Folders of other modules, of test data, and those that begin
// with a dot or an underscore are passed over. An error means that the tree could
// not be read.
func Check(tree fs.FS, rules Rules) (findings []Finding, notes []string, err error) {
	c := checker{tree: tree, rules: rules}
	if err := c.root(); err != nil {
		return nil, nil, err
	}
	if err := fs.WalkDir(tree, ".", c.visit); err != nil {
		return nil, nil, err
	}
	return c.findings, c.notes, nil
}

type checker struct {
	tree     fs.FS
	rules    Rules
	findings []Finding
	notes    []string
}

func (c *checker) report(where, format string, args ...any) {
	c.findings = append(c.findings, Finding{where, fmt.Sprintf(format, args...)})
}

// root checks what lies at the root.
func (c *checker) root() error {
	entries, err := fs.ReadDir(c.tree, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		allowed := c.rules.RootFiles
		if e.IsDir() {
			allowed = c.rules.RootDirs
		}
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			c.report(e.Name(), "does not belong at the root")
		}
	}
	return nil
}

func (c *checker) visit(file string, e fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if e.IsDir() {
		return c.enter(file)
	}
	if !strings.HasSuffix(file, ".go") || path.Dir(file) == "." {
		return nil
	}
	src, err := fs.ReadFile(c.tree, file)
	if err != nil {
		return err
	}
	return c.file(file, src)
}

// enter skips the folders whose Go files are no part of this module.
func (c *checker) enter(dir string) error {
	if dir == "." {
		return nil
	}
	name := path.Base(dir)
	if name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(c.tree, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (c *checker) file(name string, src []byte) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	where := func(n ast.Node) string { return fmt.Sprintf("%s:%d", name, fset.Position(n.Pos()).Line) }
	pkg := path.Dir(name)
	if _, ok := lookup(c.rules.Packages, pkg); !ok {
		c.report(name, "package %s is not in the table of packages", pkg)
		return nil
	}
	isTest := strings.HasSuffix(name, "_test.go")
	for _, imp := range f.Imports {
		if why := c.refuseImport(pkg, imp, isTest); why != "" {
			c.report(where(imp), "%s", why)
		}
	}
	if ast.IsGenerated(f) {
		return nil
	}
	if lines := fset.File(f.Pos()).LineCount(); lines > longFile {
		c.notes = append(c.notes, fmt.Sprintf("%s has %d lines", name, lines))
	}
	c.declarations(f, isTest, where)
	return nil
}

// declarations checks what a file declares and calls. Sleeping is allowed where
// the clock is that of testing/synctest: there it costs nothing and is exact.
func (c *checker) declarations(f *ast.File, isTest bool, where func(ast.Node) string) {
	timeName := localName(f, "time")
	sleepless := isTest && localName(f, "testing/synctest") == ""
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				c.report(where(n), "func init hides when things happen: call it by name")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && sleepless && timeName != "" && x.Name == timeName && n.Sel.Name == "Sleep" {
				c.report(where(n), "time.Sleep in a test: wait for an event with a deadline, or use testing/synctest")
			}
		}
		return true
	})
}

// localName gives the name under which a file knows an import, or nothing.
func localName(f *ast.File, importPath string) string {
	for _, imp := range f.Imports {
		if p, _ := strconv.Unquote(imp.Path.Value); p != importPath {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// refuseImport says why pkg may not have an import, or nothing.
func (c *checker) refuseImport(pkg string, imp *ast.ImportSpec, isTest bool) string {
	target, err := strconv.Unquote(imp.Path.Value)
	if err != nil {
		return "import of " + imp.Path.Value
	}
	if own, ok := strings.CutPrefix(target, Module+"/"); ok || target == Module {
		return c.refuseOwn(pkg, own)
	}
	if imp.Name != nil && imp.Name.Name == "." {
		return "a dot import of " + target
	}
	first, _, _ := strings.Cut(target, "/")
	if !strings.Contains(first, ".") {
		return refuseStandard(target)
	}
	if c.opens(c.rules.Doors, target, pkg) || isTest && c.opens(c.rules.TestDoors, target, pkg) {
		return ""
	}
	return fmt.Sprintf("%s may not import %s: its door is %s", pkg, target, c.doorsOf(target))
}

func (c *checker) refuseOwn(pkg, target string) string {
	allowed, _ := lookup(c.rules.Packages, pkg)
	for _, a := range allowed {
		if a == anything || covers(a, target) {
			return ""
		}
	}
	if pkg == target {
		return "" // an external test of the package itself
	}
	return fmt.Sprintf("%s may not import %s; it may import %v", pkg, target, allowed)
}

func refuseStandard(target string) string {
	if target == "log" {
		return "package log is global: take a *slog.Logger"
	}
	return ""
}

// opens tells whether the door of the library that holds target is pkg.
func (c *checker) opens(doors map[string][]string, target, pkg string) bool {
	return slices.ContainsFunc(doors[longestPrefix(doors, target)], func(who string) bool { return covers(who, pkg) })
}

func (c *checker) doorsOf(target string) string {
	lib := longestPrefix(c.rules.Doors, target)
	if lib == "" {
		return "nowhere: it has no row in the table of doors"
	}
	return strings.Join(c.rules.Doors[lib], ", ")
}

// longestPrefix gives the most particular row of a table of libraries.
func longestPrefix(doors map[string][]string, target string) (best string) {
	for lib := range doors {
		whole := target == lib || strings.HasPrefix(target, strings.TrimSuffix(lib, "/")+"/")
		if whole && len(lib) > len(best) {
			best = lib
		}
	}
	return best
}

// lookup finds the row of a package: its own, or that of a folder above.
func lookup(table map[string][]string, pkg string) ([]string, bool) {
	if row, ok := table[pkg]; ok {
		return row, true
	}
	for pattern, row := range table {
		if covers(pattern, pkg) {
			return row, true
		}
	}
	return nil, false
}

// covers tells whether a path, or a pattern that ends in /..., holds pkg.
func covers(pattern, pkg string) bool {
	dir, open := strings.CutSuffix(pattern, "/...")
	return pkg == dir || open && strings.HasPrefix(pkg, dir+"/")
}
