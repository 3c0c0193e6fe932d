package counts

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// text returns the tally as Write writes it.
func text(t *testing.T, tally *Tally) string {
	t.Helper()
	var b bytes.Buffer
	if err := tally.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTasksAddUpToTheWhole(t *testing.T) {
	tree := fstest.MapFS{
		"a.txt":      {Data: []byte("one two two")},
		"b/c.txt":    {Data: []byte("Two three")},
		"b/d/e.data": {Data: []byte("three, three: four")},
	}
	var whole Tally
	if files, err := whole.ScanAll(tree); files != 3 || err != nil {
		t.Fatalf("got %d files and error %v, want 3 and none", files, err)
	}

	outputs := t.TempDir()
	task := 0
	for name, file := range tree { // any order: the sum must not depend on it
		var part Tally
		if _, err := part.ScanAll(fstest.MapFS{name: file}); err != nil {
			t.Fatal(err)
		}
		if err := part.Save(outputs + "/" + string(rune('0'+task)) + "/out"); err != nil {
			t.Fatal(err)
		}
		task++
	}
	var sum Tally
	if files, err := sum.ReadAll(os.DirFS(outputs)); files != 3 || err != nil {
		t.Fatalf("got %d files and error %v, want 3 and none", files, err)
	}
	if got, want := text(t, &sum), text(t, &whole); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadAllSkipsOtherFilesAndNamesTheBrokenOne(t *testing.T) {
	tree := fstest.MapFS{
		"0/out/notes.txt":   {Data: []byte("not a tally")},
		"1/out/" + FileName: {Data: []byte("broken")},
	}
	var tally Tally
	files, err := tally.ReadAll(tree)
	if files != 1 || err == nil || !strings.HasPrefix(err.Error(), "1/out/"+FileName+": line 1") {
		t.Errorf("got %d files and error %v, want 1 and the place of the broken line", files, err)
	}
}
