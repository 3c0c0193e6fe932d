package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Daemons are killed and started again while a mesh works: a small run of what
// `make soak` does at length.
func TestAMeshThatIsKilledAgainAndAgainLosesNothing(t *testing.T) {
	t.Parallel()
	t.Log("NOT CHECKED: thousands of tasks; make soak does")
	const seed, tasks = 1, 120
	cmd := exec.Command(filepath.Join(built.bin, "soak"), "-seed", fmt.Sprint(seed), "-tasks", fmt.Sprint(tasks), "-batch", "60", "-brief",
		"-pause", "3s", "-limit", "110s", "-muster", built.muster, "-guest", guest(t, "wordcount"), "-native", filepath.Join(built.bin, "wordcount"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + userDir(), "TMPDIR=" + tempDir()}
	defer timeoutKill(cmd)()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("soak: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "ok\n") {
		t.Errorf("soak did not say ok")
	}
	t.Logf("\n%s", out)
}
