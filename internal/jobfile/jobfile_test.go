package jobfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/node/api"
)

const full = `
# Every key that there is.
name: wordcount
program: {wasm: ./wordcount.wasm, args: [--top, "10", 10, 1.50, true, null], env: {LANG: C, N: 1}, stdin: ./x}
inputs:
  - {source: ./books, target: /in, split: "files:16"}
  - source: https://example.org/dict.txt
    target: /dict
outputs: [/out, /log]
reduce:  {wasm: /abs/merge.wasm, args: [-v], env: {A: b}}
resources: {cpu: 1.5, memory: 256MiB, disk: 1073741824, gpu: 1}
limits: {timeout: 10m, queue_timeout: 1h30m, total_timeout: 12h, retries: 7, fuel: 1.5T}
verify: {confidence: 0.999, comparator: exact, referee_budget: 1500ms}
price: {max: 100}
constraints: ["arch == amd64", "label.region in [eu, us]"]
labels: {team: a}
seed: 42
private: true
`

func fullJob() *api.Job {
	return &api.Job{
		Name: "wordcount",
		Program: &api.Program{
			Wasm: "/d/wordcount.wasm", Args: []string{"--top", "10", "10", "1.50", "true", "null"},
			Env: map[string]string{"LANG": "C", "N": "1"}, Stdin: "/d/x",
		},
		Inputs: []*api.Input{
			{Source: "/d/books", Target: "/in", Split: "files:16"},
			{Source: "https://example.org/dict.txt", Target: "/dict"},
		},
		Outputs:   []string{"/out", "/log"},
		Reduce:    &api.Program{Wasm: "/abs/merge.wasm", Args: []string{"-v"}, Env: map[string]string{"A": "b"}},
		Resources: &api.Resources{Cpu: 1.5, Memory: 256 << 20, Disk: 1 << 30, Gpu: 1},
		TimeoutMs: 600_000, QueueTimeoutMs: 5_400_000, TotalTimeoutMs: 43_200_000, Retries: 7, Fuel: 1.5e12,
		Confidence: 0.999, HasConfidence: true, Comparator: "exact", RefereeBudgetMs: 1500,
		MaxPrice: 100, Constraints: []string{"arch == amd64", "label.region in [eu, us]"},
		Labels: map[string]string{"team": "a"}, Seed: "42", Private: true,
	}
}

func same(t *testing.T, got, want *api.Job) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", prototext.Format(got), prototext.Format(want))
	}
}

func TestParseTakesEveryKey(t *testing.T) {
	got, err := Parse([]byte(full), "job.yaml", "/d")
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, fullJob())
}

func split(how string) *api.Job {
	return &api.Job{Program: &api.Program{Wasm: "/p.wasm"}, Inputs: []*api.Input{{Source: "/d", Target: "/in", Split: how}}}
}

// noSplit ends what is said of a split that is none.
const noSplit = "is not files (a task for each file), files:N (N tasks, up to 100000), lines:N (pieces of N lines) or bytes:N (pieces of N bytes, such as bytes:4MiB)"

func TestParseSplitGivesWhatANodeTakes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "files": "files", "files:16": "files:16", "files:016": "files:16", "files:100000": "files:100000",
		"lines:1": "lines:1", "lines:1099511627776": "lines:1099511627776",
		"bytes:1": "bytes:1", "bytes:4MiB": "bytes:4194304", "bytes:1.5kB": "bytes:1500", "bytes:1PiB": "bytes:1125899906842624",
	} {
		got, err := ParseSplit(in)
		if again, err := ParseSplit(got); err != nil || again != got {
			t.Errorf("%q became %q, which becomes %q, %v", in, got, again, err)
		}
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		":", "file", "files:", "files:0", "files:100001", "files:1k", "lines", "lines:", "lines:0", "lines:-1", "lines:1MiB", "lines:1099511627777",
		"bytes", "bytes:", "bytes:0", "bytes:-1", "bytes:0.2B", "bytes:1125899906842625", "bytes:99999999999999999999", "bytes:4 potatoes", "bytes:1,5MiB", "bytes:4:4",
	} {
		if got, err := ParseSplit(in); err == nil || !strings.HasSuffix(err.Error(), noSplit) {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
}

func TestCheckHoldsWhateverAJobWasWrittenIn(t *testing.T) {
	j := split("bytes:0")
	j.Retries, j.TotalTimeoutMs = 1001, -1
	want := "`inputs[0].split`: \"bytes:0\" " + noSplit + "\n`limits.total_timeout`: must be above zero and at most 720h0m0s\n`limits.retries`: 1001 retries of one task; at most 1000"
	if err := Check(j); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	j = split("bytes:4MiB") // as another program than ours may hand it in
	j.Retries, j.TotalTimeoutMs = 1000, 1
	if err := Check(j); err != nil {
		t.Error(err)
	}
}

func TestFormatIsReadBack(t *testing.T) {
	odd := fullJob()
	odd.Program.Args = []string{"", "-", "yes", "1e3", "a: b", "#x", "x #y", "ä\t\n", `"`, "'", "[", "~", " lead", "a,b", "{}", "0x10", "/p/q", "*a", "&a", "!t", "|", ">", "%", "@", "\u2028", "<<", "?", "=", "null", "2001-01-01", ".5", "a:b"}
	odd.Program.Env = map[string]string{"K": "a: b", "lower.dot": "", "ü": "x", "1": "2"}
	odd.Labels = map[string]string{"true": "false"}
	odd.Inputs[0].Source = "/d/with space, comma: and # hash"
	for _, j := range []*api.Job{fullJob(), odd, {Program: &api.Program{Wasm: "/p.wasm"}, Count: 8, HasConfidence: true}, split("bytes:4194304"), split("bytes:1000"), split("files")} {
		got, err := Parse(Format(j), "job.yaml", "/elsewhere")
		if err != nil {
			t.Fatalf("%v in\n%s", err, Format(j))
		}
		same(t, got, j)
	}
}

func TestFormatSaysWhatAFileCannotHold(t *testing.T) {
	text := string(Format(&api.Job{Program: &api.Program{Wasm: "/p", StdinData: []byte("abc"), HasStdinData: true}}))
	if !strings.Contains(text, "# stdin: 3 bytes") {
		t.Errorf("got %q, want a comment on 3 bytes of stdin", text)
	}
}

func TestParseNamesWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"an unknown key near a known one", "name: a\nprogram: {wasm: x}\nprogam: y", "line 3, column 1: unknown key `progam`; did you mean `program`?"},
		{"swapped letters", "program: {wsam: x}", "line 1, column 11: unknown key `wsam` in `program`; did you mean `wasm`?"},
		{"an unknown key near nothing", "program: {wasm: x}\nprice: {euros: 1}", "line 2, column 9: unknown key `euros` in `price`; known are max"},
		{"an unknown key of an input", "program: {wasm: x}\ninputs:\n  - source: a\n    tagret: /x", "line 4, column 5: unknown key `tagret` in `inputs[0]`; did you mean `target`?"},
		{"a reduction has no stdin", "program: {wasm: x}\nreduce: {wasm: y, stdin: z}", "line 2, column 19: unknown key `stdin` in `reduce`; known are args, env, wasm"},
		{"nothing", "", "0 YAML documents with content; a job specification is exactly one"},
		{"a comment alone", "# x\n", "0 YAML documents with content; a job specification is exactly one"},
		{"two documents", "program: {wasm: x}\n---\nprogram: {wasm: x}", "2 YAML documents with content; a job specification is exactly one"},
		{"a list", "- a", "line 1, column 1: a job specification must be a mapping with the keys constraints, count, inputs, labels, limits, name, outputs, price, private, program, reduce, resources, seed, verify, not a list"},
		{"no program", "name: x", "line 1, column 1: `program.wasm`: is missing: which program shall run?"},
		{"a program without wasm", "program: {args: [a]}", "line 1, column 10: `program.wasm`: is missing: which program shall run?"},
		{"a program by URL", "program: {wasm: \"https://a/b\"}", "line 1, column 17: `program.wasm`: must be a file or a CID; only inputs may be URLs"},
		{"an empty value", "program: {wasm: x}\nname:", "line 2, column 7: `name` is empty; write \"\" for an empty text, or leave it out"},
		{"a mapping for a text", "program: {wasm: {a: b}}", "line 1, column 17: `program.wasm` must be a single value, not a mapping"},
		{"a text for a list", "program: {wasm: x, args: foo}", "line 1, column 26: `program.args` must be a list, not \"foo\""},
		{"a list for a dictionary", "program: {wasm: x, env: [A=b]}", "line 1, column 25: `program.env` must be a mapping, not a list"},
		{"a set key twice", "program: {wasm: x}\nname: a\nname: b", "line 3, column 1: mapping key \"name\" already defined at [2:1]"},
		{"broken YAML", "program: {wasm: x", "line 1, column 10: could not find flow mapping end token '}'"},
		{"a tab for indentation", "program:\n\twasm: x", "line 2, column 1: found character '\t' that cannot start any token"},
		{"an alias", "program: {wasm: x}\nname: *a", "line 2, column 7: aliases (*name) are not part of a job specification; quote the text if it is meant literally"},
		{"an anchor", "name: &a x\nprogram: {wasm: x}", "line 1, column 7: anchors (&name) are not part of a job specification; quote the text if it is meant literally"},
		{"a tag", "name: !!str x", "line 1, column 7: tags (!name) are not part of a job specification; quote the text if it is meant literally"},
		{"a merge key", "<<: {name: x}", "line 1, column 1: merge keys (<<) are not part of a job specification; quote the text if it is meant literally"},
		{"a binary file", "\x00asm\x01", "byte 0 is not text in UTF-8: is this a job specification?"},
		{"not UTF-8", "name: \xff", "byte 6 is not text in UTF-8: is this a job specification?"},
		{"a negative count", "program: {wasm: x}\ncount: -1", "line 2, column 8: `count`: \"-1\" is not a whole number from 0 to 4294967295"},
		{"too many tasks", "program: {wasm: x}\ncount: 100001", "line 2, column 8: `count`: 100001 tasks; a job has at most 100000"},
		{"confidence of one", "program: {wasm: x}\nverify: {confidence: 1}", "line 2, column 22: `verify.confidence`: 1 is not at least 0 and below 1, such as 0.999"},
		{"confidence in percent", "program: {wasm: x}\nverify: {confidence: 99%}", "line 2, column 22: `verify.confidence`: \"99%\" is not a number from 0 up"},
		{"infinite confidence", "program: {wasm: x}\nverify: {confidence: .nan}", "line 2, column 22: `verify.confidence`: \".nan\" is not a number from 0 up"},
		{"an unknown comparator", "program: {wasm: x}\nverify: {comparator: near}", "line 2, column 22: `verify.comparator`: \"near\" is not known; there is \"exact\""},
		{"a free price", "program: {wasm: x}\nprice: {max: 0}", "line 2, column 14: `price.max`: the price must be above 0; leave it out for no limit"},
		{"an unknown size", "program: {wasm: x}\nresources: {memory: 1 potato}", "line 2, column 21: `resources.memory`: \"1 potato\" is not a size such as 256MiB, 1.5GB, or a number of bytes"},
		{"a size with a comma", "program: {wasm: x}\nresources: {memory: \"1,5GiB\"}", "line 2, column 21: `resources.memory`: \"1,5GiB\" is not a size such as 256MiB, 1.5GB, or a number of bytes"},
		{"a huge size", "program: {wasm: x}\nresources: {disk: 9EB}", "line 2, column 19: `resources.disk`: 9000000000000000000 bytes; at most 1125899906842624"},
		{"a duration without a unit", "program: {wasm: x}\nlimits: {timeout: 10}", "line 2, column 19: `limits.timeout`: \"10\" is not a duration such as 90s, 10m or 1h30m"},
		{"a duration of nothing", "program: {wasm: x}\nlimits: {timeout: 0s}", "line 2, column 19: `limits.timeout`: \"0s\" is shorter than a millisecond; leave it out for the default"},
		{"a duration of years", "program: {wasm: x}\nlimits: {timeout: 9000h}", "line 2, column 19: `limits.timeout`: must be above zero and at most 720h0m0s"},
		{"a relative target", "program: {wasm: x}\ninputs: [{source: a, target: in}]", "line 2, column 30: `inputs[0].target`: guest path \"in\" must be absolute and clean, like /out"},
		{"a target that climbs", "program: {wasm: x}\ninputs: [{source: a, target: /in/../x}]", "line 2, column 30: `inputs[0].target`: guest path \"/in/../x\" must be absolute and clean, like /out"},
		{"one target twice", "program: {wasm: x}\ninputs:\n- {source: a}\n- {source: b, target: /in}", "line 4, column 23: `inputs[1].target`: /in is the target of two inputs"},
		{"an input without source", "program: {wasm: x}\ninputs:\n- target: /in", "line 3, column 3: `inputs[0].source`: is missing: a file, a directory, a CID or a URL"},
		{"an unknown scheme", "program: {wasm: x}\ninputs: [{source: \"s3://b/k\"}]", "line 2, column 19: `inputs[0].source`: \"s3://\" is not supported; URLs are http:// or https://"},
		{"a split into nothing", "program: {wasm: x}\ninputs: [{source: a, split: \"files:0\"}]", "line 2, column 29: `inputs[0].split`: \"files:0\" " + noSplit},
		{"a split of an unknown kind", "program: {wasm: x}\ninputs: [{source: a, split: \"words:4\"}]", "line 2, column 29: `inputs[0].split`: \"words:4\" " + noSplit},
		{"a split into pieces of nothing", "program: {wasm: x}\ninputs: [{source: a, split: \"bytes:0\"}]", "line 2, column 29: `inputs[0].split`: \"bytes:0\" " + noSplit},
		{"a total timeout without a unit", "program: {wasm: x}\nlimits: {total_timeout: 90}", "line 2, column 25: `limits.total_timeout`: \"90\" is not a duration such as 90s, 10m or 1h30m"},
		{"a total timeout of years", "program: {wasm: x}\nlimits: {total_timeout: 9000h}", "line 2, column 25: `limits.total_timeout`: must be above zero and at most 720h0m0s"},
		{"a total timeout, misspelt", "program: {wasm: x}\nlimits: {totaltimeout: 1h}", "line 2, column 10: unknown key `totaltimeout` in `limits`; did you mean `total_timeout`?"},
		{"retries below zero", "program: {wasm: x}\nlimits: {retries: -1}", "line 2, column 19: `limits.retries`: \"-1\" is not a whole number from 0 to 4294967295"},
		{"no retries", "program: {wasm: x}\nlimits: {retries: 0}", "line 2, column 19: `limits.retries`: 0 is not possible: a task that peers failed is tried again at least once; leave it out for the node's default"},
		{"retries in words", "program: {wasm: x}\nlimits: {retries: many}", "line 2, column 19: `limits.retries`: \"many\" is not a whole number from 0 to 4294967295"},
		{"fuel in words", "program: {wasm: x}\nlimits: {fuel: plenty}", "line 2, column 16: `limits.fuel`: \"plenty\" is not a whole number of units of fuel, such as 2000000, 500M or 1.5G (k, M, G and T are powers of ten)"},
		{"too much fuel", "program: {wasm: x}\nlimits: {fuel: 2000000T}", "line 2, column 16: `limits.fuel`: \"2000000T\" is more than 1152921504606846976 units of fuel"},
		{"too many retries", "program: {wasm: x}\nlimits: {retries: 1001}", "line 2, column 19: `limits.retries`: 1001 retries of one task; at most 1000"},
		{"two splits", "program: {wasm: x}\ninputs:\n- {source: a, split: files}\n- {source: b, target: /b, split: files}", "line 4, column 34: `inputs[1].split`: `inputs[0]` is split already; one input can be"},
		{"a count beside a split", "program: {wasm: x}\ncount: 2\ninputs: [{source: a, split: files}]", "line 2, column 8: `count`: and `inputs[0].split` contradict each other: the split says how many tasks there are"},
		{"an output inside another", "program: {wasm: x}\noutputs: [/out/a, /out]", "line 2, column 11: `outputs[0]`: /out/a lies in /out, which is collected already"},
		{"an output twice", "program: {wasm: x}\noutputs: [/out, /out]", "line 2, column 17: `outputs[1]`: /out lies in /out, which is collected already"},
		{"the root as output", "program: {wasm: x}\noutputs: [/]", "line 2, column 11: `outputs[0]`: guest path \"/\" must be absolute and clean, like /out"},
		{"a variable of ours", "program: {wasm: x, env: {MUSTER_TASK_INDEX: 1}}", "line 1, column 45: `program.env.MUSTER_TASK_INDEX`: is set for each task and cannot be given"},
		{"neither true nor false", "program: {wasm: x}\nprivate: yes", "line 2, column 10: `private`: \"yes\" is neither true nor false"},
		{"a long seed", "program: {wasm: x}\nseed: " + strings.Repeat("a", 65), "line 2, column 7: `seed`: 65 bytes; at most 64"},
		{"an empty constraint", "program: {wasm: x}\nconstraints: [\"\"]", "line 2, column 15: `constraints[0]`: is empty"},
		{"a label too long", "program: {wasm: x}\nlabels: {a: " + strings.Repeat("b", 65) + "}", "line 2, column 13: `labels.a`: must be one line of at most 64 bytes, key and value each, and the key not empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.yaml), "job.yaml", "/d")
			if err == nil {
				t.Fatalf("got no error, want %q", c.want)
			}
			if got, want := err.Error(), "job.yaml: "+c.want; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			var f *Fault
			if !errors.As(err, &f) {
				t.Errorf("%v is no *Fault", err)
			}
		})
	}
}

func TestParseReportsSeveralFaultsInOrder(t *testing.T) {
	_, err := Parse([]byte("b: 1\na: 2\nprogram: {wasm: x}\ncount: x\n"), "f", "/")
	want := "f: line 1, column 1: unknown key `b`; known are"
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], want) || !strings.HasPrefix(lines[2], "f: line 4") {
		t.Errorf("got %q, want three lines, the first beginning with %q", lines, want)
	}
}

func TestParseIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"a long file":   strings.Repeat("#", MaxFile+1),
		"deep brackets": "a: " + strings.Repeat("[", MaxFile/2),
		"deep braces":   strings.Repeat("{a: ", MaxFile/4),
		"deep dashes":   strings.Repeat("- ", MaxFile/2),
		"many keys":     strings.Repeat("a:\n", MaxFile/3),
	} {
		if _, err := Parse([]byte(text), "f", "/"); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestMissingSaysWhatAFileWasFor(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cid := "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	good := &api.Job{
		Program: &api.Program{Wasm: there, Stdin: cid},
		Inputs:  []*api.Input{{Source: dir}, {Source: "https://example.org/x", Target: "/x"}},
	}
	if err := Missing(good); err != nil {
		t.Errorf("got %v, want nothing missing", err)
	}
	gone := filepath.Join(dir, "gone")
	bad := &api.Job{
		Program: &api.Program{Wasm: gone, Stdin: dir},
		Inputs:  []*api.Input{{Source: gone, Target: "/data"}},
		Reduce:  &api.Program{Wasm: gone},
	}
	want := "no such file: " + gone + " (the program)\n" +
		dir + " is a directory, not a file (the program's stdin)\n" +
		"no such file: " + gone + " (the reduction's program)\n" +
		"no such file: " + gone + " (the input for /data)"
	if err := Missing(bad); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAbsoluteLeavesIDsAndURLs(t *testing.T) {
	cid := "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	for in, want := range map[string]string{"": "", "x": "/d/x", "../x": "/x", "/a/../b": "/b", cid: cid, "./" + cid: "/d/" + cid, "http://h/p": "http://h/p"} {
		if got := Absolute(in, "/d"); got != want {
			t.Errorf("Absolute(%q): got %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("program: {wasm: x}\nname: |\n  a\n  b\n"))
	f.Add([]byte("program: {wasm: x}\ninputs: [{source: a, split: \"bytes:1.5MB\"}]\nlimits: {total_timeout: 1ms, retries: 1000, fuel: 1.5G}\n"))
	f.Add([]byte("a: [b, {c: d}]\n? x\n: y\n--- !!str\n&a *a <<: {}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := Parse(data, "f", "/d")
		if err != nil {
			return
		}
		again, err := Parse(Format(j), "f", "/d")
		if err != nil {
			t.Fatalf("%v in what Format made of %q:\n%s", err, data, Format(j))
		}
		for _, in := range j.Inputs {
			in.Target = Target(in) // Format writes the default
		}
		if proto.Size(j.Resources) == 0 {
			j.Resources = nil // and leaves out what is empty
		}
		if !proto.Equal(j, again) {
			t.Fatalf("got %v, want %v, from\n%s", again, j, Format(j))
		}
	})
}
