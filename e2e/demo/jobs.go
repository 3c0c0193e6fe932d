package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

const topWords = "10"

// countWords counts the words of Go's own source on the mesh, and again on this
// machine without it.
func (d *demo) countWords(ctx context.Context) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	fmt.Fprintf(d.out, "\nCount the words of %s in 16 tasks, then add them up:\n\n", src)
	got, err := d.job(ctx, "examples/wordcount/job.yaml", "-i", src+":/in", "--split", "files:16",
		"--reduce-arg", "-top", "--reduce-arg", topWords)
	if err != nil {
		return err
	}
	d.quote(got)
	began := time.Now()
	check := exec.CommandContext(ctx, "go", "run", "./examples/wordcount/check", "-in", src, "-top", topWords)
	check.Env, check.Stderr = mesh.Environ(), d.err
	want, err := check.Output()
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if got != string(want) {
		return fmt.Errorf("the mesh counted\n%sand this machine\n%s", got, want)
	}
	fmt.Fprintf(d.out, "\n  A separate native program counts the same on this machine alone (%s).\n", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// render renders the picture.
func (d *demo) render(ctx context.Context) error {
	fmt.Fprintf(d.out, "\nRender a picture in 16 strips, then put them together:\n\n")
	// Four rays per pixel instead of nine: a demonstration should not take long.
	if _, err := d.job(ctx, "examples/raytrace/job.yaml", "--", "-width", "640", "-height", "400", "-samples", "2"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(d.results, "raytrace", "out", "picture.png"), filepath.Join(d.dir, "picture.png"))
}

// job runs a job as a user would and gives what it printed.
func (d *demo) job(ctx context.Context, spec string, args ...string) (stdout string, err error) {
	dir := filepath.Join(d.results, filepath.Base(filepath.Dir(spec)))
	args = append([]string{"run", spec, "-d", dir}, args...)
	fmt.Fprintf(d.out, "  $ muster %s\n", strings.Join(args, " "))
	began := time.Now()
	var out bytes.Buffer
	run := d.mesh.Command(ctx, d.requester, args...)
	run.Stdout, run.Stderr = &out, d.err
	if err := run.Run(); err != nil {
		return "", err
	}
	took := time.Since(began)
	job, err := d.describe(ctx)
	if err != nil {
		return "", err
	}
	d.tally.add(job)
	fmt.Fprintf(d.out, "  %s in %s: %s\n", job.Job.State, took.Round(100*time.Millisecond), verdict(job.Job))
	return out.String(), nil
}

// describe gives all that the requester knows of its newest job.
func (d *demo) describe(ctx context.Context) (*api.DescribeJobResponse, error) {
	b, err := d.mesh.Command(ctx, d.requester, "job", "list", "--limit", "1", "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("job list: %w", explain(err))
	}
	var newest []struct{ ID string }
	if err := json.Unmarshal(b, &newest); err != nil || len(newest) != 1 {
		return nil, fmt.Errorf("job list: %d jobs: %w", len(newest), err)
	}
	b, err = d.mesh.Command(ctx, d.requester, "job", "describe", "-o", "json", newest[0].ID).Output()
	if err != nil {
		return nil, fmt.Errorf("job describe: %w", explain(err))
	}
	job := &api.DescribeJobResponse{}
	return job, protojson.Unmarshal(b, job)
}

func explain(err error) error {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %s", err, ended.Stderr)
	}
	return err
}

// verdict says how sure the results are, and why.
func verdict(j *api.JobSummary) string {
	return fmt.Sprintf("%d of %d tasks verified; %s; that gives confidence %.4g, and %.4g was wanted.",
		j.Verified, j.Tasks, j.How, j.ConfidenceReached, j.ConfidenceWanted)
}

func (d *demo) quote(text string) {
	fmt.Fprintln(d.out)
	for line := range strings.Lines(text) {
		fmt.Fprintf(d.out, "  | %s", line)
	}
}
