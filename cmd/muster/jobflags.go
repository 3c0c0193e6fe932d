package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// maxStdin is how much of the command's own standard input a job takes, in bytes.
const maxStdin = 16 << 20

// jobFlags are the flags by which a job is described; each is one key of a
// specification, and takes precedence over it.
type jobFlags struct {
	inputs, outputs, env, labels, constraints []string
	reduceArgs                                []string
	count, gpu, retries                       uint32
	split, reduce, stdin, seed, name          string
	memory, disk, price, fuel, engine         string
	timeout, queueTimeout, totalTimeout       string
	cpu, confidence                           float64
	private, local                            bool
}

func (f *jobFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.inputs, "input", "i", nil, "`SRC[:DST]` file, directory, CID or URL, and where the program sees it (default /in); may be repeated")
	fs.StringArrayVarP(&f.outputs, "out", "O", nil, "`PATH` in the program's file tree to collect, such as /out; may be repeated")
	fs.Uint32VarP(&f.count, "count", "n", 0, "run `N` tasks, which see MUSTER_TASK_INDEX and MUSTER_TASK_COUNT")
	fs.StringVar(&f.split, "split", "", "make tasks of the one input: `HOW` is files, files:N (N tasks), lines:N or bytes:N (pieces of N lines, or of N bytes such as bytes:4MiB)")
	fs.StringVar(&f.reduce, "reduce", "", "`PROGRAM` that gets the outputs of all tasks under /in/<task index>/ and makes the result")
	fs.StringArrayVar(&f.reduceArgs, "reduce-arg", nil, "`ARG` for the reduction; may be repeated")
	fs.StringArrayVar(&f.env, "env", nil, "`KEY=VALUE` environment of the program; may be repeated")
	fs.StringVar(&f.stdin, "stdin", "", "`FILE` or CID for the program's standard input; - is this command's own")
	fs.StringVar(&f.seed, "seed", "", "`TEXT` that other random numbers come from")
	fs.StringVar(&f.name, "name", "", "`NAME` of the job, for people")
	fs.Float64Var(&f.cpu, "cpu", 0, "`CORES` of one task (default 1)")
	fs.StringVar(&f.memory, "memory", "", "`SIZE` of one task's memory, such as 256MiB")
	fs.StringVar(&f.disk, "disk", "", "`SIZE` of the files that one task may write")
	fs.Uint32Var(&f.gpu, "gpu", 0, "`N` devices for one task")
	fs.StringVar(&f.timeout, "timeout", "", "`DURATION` that one execution may take, such as 10m")
	fs.StringVar(&f.queueTimeout, "queue-timeout", "", "`DURATION` that the job may wait without any progress")
	fs.StringVar(&f.totalTimeout, "total-timeout", "", "`DURATION` that the whole job may take, such as 12h (default any)")
	fs.StringVar(&f.fuel, "fuel", "", "`UNITS` of fuel that one execution may use, such as 500M or 1.5G (default more than any timeout lets it)")
	fs.Uint32Var(&f.retries, "retries", 0, "try a task again up to `N` times when providers failed it (default: the node's)")
	fs.Float64Var(&f.confidence, "confidence", 0, "`P` how sure to be of each result, from 0 to below 1 (default 0.9)")
	fs.StringVar(&f.price, "max-price", "", "`CREDITS` to pay for a core-hour at most")
	fs.StringArrayVar(&f.constraints, "constraint", nil, "`EXPR` that a provider must meet, such as 'arch == amd64'; may be repeated")
	fs.StringArrayVar(&f.labels, "label", nil, "`KEY=VALUE` to find the job by; may be repeated")
	fs.BoolVar(&f.private, "private", false, "give the program to nobody but those who run it")
	fs.BoolVar(&f.local, "local", false, "run on this machine, in the same sandbox, and tell nobody")
	fs.StringVar(&f.engine, "engine", "", "with --local, run the program by `HOW`: compiler, or interpreter, which takes many times longer (default compiler)")
}

// job reads the command line (PROGRAM or SPEC, then -- and the program's
// arguments) into a job that is complete and sound as far as this machine can
// tell; paths start at dir.
func (f *jobFlags) job(cmd *cobra.Command, args []string, dir string, stdin io.Reader) (*api.Job, error) {
	if err := f.checkEngine(); err != nil {
		return nil, err
	}
	j, err := base(args[0], dir)
	if err != nil {
		return nil, err
	}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		j.Program.Args = args[dash:]
	}
	if err := f.override(cmd.Flags(), j, dir); err != nil {
		return nil, err
	}
	if err := f.readStdin(j, dir, stdin); err != nil {
		return nil, err
	}
	return j, errors.Join(jobfile.Check(j), jobfile.Missing(j))
}

// engines are what --engine takes.
var engines = []string{"compiler", "interpreter"}

func (f *jobFlags) checkEngine() error {
	switch {
	case f.engine == "":
		return nil
	case !slices.Contains(engines, f.engine):
		return usagef("--engine %q is neither compiler nor interpreter", f.engine)
	case !f.local:
		return usagef("--engine is for a run on this machine; add --local")
	}
	return nil
}

// base gives the job that the first argument alone stands for.
func base(arg, dir string) (*api.Job, error) {
	path := jobfile.Absolute(arg, dir)
	if !jobfile.IsPath(arg) {
		return &api.Job{Program: &api.Program{Wasm: arg}}, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &exitError{exitError1, fmt.Errorf("no such file: %s (the program, or the specification of a job)", path)}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	spec := strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
	switch {
	case bytes.Equal(head, []byte("\x00asm")) && !spec:
		return &api.Job{Program: &api.Program{Wasm: path}}, nil
	case !spec:
		return nil, fmt.Errorf("%s is neither a WebAssembly program nor a job specification (.yaml); with Go: GOOS=wasip1 GOARCH=wasm go build", path)
	}
	rest, err := io.ReadAll(io.LimitReader(f, jobfile.MaxFile+1))
	if err != nil {
		return nil, err
	}
	return jobfile.Parse(append(head[:n], rest...), arg, filepath.Dir(path))
}

// override puts every flag that was given in the place of the specification's
// value. Lists are replaced as a whole, variables and labels one by one.
func (f *jobFlags) override(fs *pflag.FlagSet, j *api.Job, dir string) error {
	given(fs, "name", &j.Name, f.name)
	given(fs, "out", &j.Outputs, f.outputs)
	given(fs, "count", &j.Count, f.count)
	given(fs, "retries", &j.Retries, f.retries)
	given(fs, "seed", &j.Seed, f.seed)
	given(fs, "constraint", &j.Constraints, f.constraints)
	given(fs, "private", &j.Private, f.private)
	if fs.Changed("confidence") {
		j.Confidence, j.HasConfidence = f.confidence, true
	}
	return errors.Join(
		f.overrideInputs(fs, j, dir), f.overrideReduce(fs, j, dir), f.overrideResources(fs, j),
		parsed(fs, "timeout", &j.TimeoutMs, f.timeout, jobfile.ParseDuration),
		parsed(fs, "queue-timeout", &j.QueueTimeoutMs, f.queueTimeout, jobfile.ParseDuration),
		parsed(fs, "total-timeout", &j.TotalTimeoutMs, f.totalTimeout, jobfile.ParseDuration),
		parsed(fs, "fuel", &j.Fuel, f.fuel, jobfile.ParseFuel),
		parsed(fs, "max-price", &j.MaxPrice, f.price, jobfile.ParsePrice),
		pairs("env", &j.Program.Env, f.env), pairs("label", &j.Labels, f.labels),
	)
}

func (f *jobFlags) overrideInputs(fs *pflag.FlagSet, j *api.Job, dir string) error {
	if fs.Changed("input") {
		j.Inputs = nil
	}
	for _, s := range f.inputs {
		source, target := splitInput(s)
		j.Inputs = append(j.Inputs, &api.Input{Source: jobfile.Absolute(source, dir), Target: target})
	}
	if !fs.Changed("split") {
		return nil
	}
	if len(j.Inputs) != 1 {
		return usagef("--split needs exactly one input, and there are %d; say in a job specification which one to split", len(j.Inputs))
	}
	return parsed(fs, "split", &j.Inputs[0].Split, f.split, jobfile.ParseSplit)
}

// splitInput divides SRC:DST at the last colon that a slash follows; that of
// "https://" is none.
func splitInput(s string) (source, target string) {
	i := strings.LastIndex(s, ":/")
	if i < 0 || strings.HasPrefix(s[i:], "://") {
		return s, "/in"
	}
	return s[:i], s[i+1:]
}

func (f *jobFlags) overrideReduce(fs *pflag.FlagSet, j *api.Job, dir string) error {
	if fs.Changed("reduce") {
		j.Reduce = &api.Program{Wasm: jobfile.Absolute(f.reduce, dir)}
	}
	if fs.Changed("reduce-arg") {
		if j.Reduce == nil {
			return usagef("--reduce-arg without a reduction; add --reduce PROGRAM")
		}
		j.Reduce.Args = f.reduceArgs
	}
	return nil
}

func (f *jobFlags) overrideResources(fs *pflag.FlagSet, j *api.Job) error {
	r := j.Resources
	if r == nil {
		r = &api.Resources{}
	}
	given(fs, "cpu", &r.Cpu, f.cpu)
	given(fs, "gpu", &r.Gpu, f.gpu)
	err := errors.Join(parsed(fs, "memory", &r.Memory, f.memory, jobfile.ParseSize), parsed(fs, "disk", &r.Disk, f.disk, jobfile.ParseSize))
	if r.Cpu != 0 || r.Gpu != 0 || r.Memory != 0 || r.Disk != 0 {
		j.Resources = r
	}
	return err
}

func (f *jobFlags) readStdin(j *api.Job, dir string, stdin io.Reader) error {
	switch f.stdin {
	case "":
		return nil
	case "-":
		b, err := io.ReadAll(io.LimitReader(stdin, maxStdin+1))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		if len(b) > maxStdin {
			return fmt.Errorf("standard input is larger than %s; put it into a file and use --stdin FILE", bytesText(maxStdin))
		}
		j.Program.Stdin, j.Program.StdinData, j.Program.HasStdinData = "", b, true
	default:
		j.Program.Stdin = jobfile.Absolute(f.stdin, dir)
	}
	return nil
}

// parsed sets a field from a flag that has a syntax of its own.
func parsed[T any](fs *pflag.FlagSet, name string, field *T, s string, parse func(string) (T, error)) error {
	if !fs.Changed(name) {
		return nil
	}
	v, err := parse(s)
	if err != nil {
		return usagef("--%s: %w", name, err)
	}
	*field = v
	return nil
}

// pairs adds KEY=VALUE flags to a dictionary.
func pairs(flag string, to *map[string]string, given []string) error {
	for _, s := range given {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return usagef("--%s %q is not KEY=VALUE", flag, s)
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[k] = v
	}
	return nil
}
