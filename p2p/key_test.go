package p2p

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestKeyIsCreatedOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	keys := make([][]byte, 8)
	var g errgroup.Group
	for i := range keys {
		g.Go(func() (err error) {
			keys[i], err = LoadOrCreateKey(path)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !bytes.Equal(k, keys[0]) {
			t.Error("two processes drew different identities")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeyFileRefusals(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := LoadOrCreateKey(good); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		mode    os.FileMode
		say     string
	}{
		"readable by the group": {b, 0o640, "chmod 600"},
		"writable by others":    {b, 0o602, "chmod 600"},
		"empty":                 {nil, 0o600, "backup"},
		"cut short":             {b[:len(b)/2], 0o600, "backup"},
		"other type":            {bytes.ReplaceAll(b, []byte("MUSTER NODE"), []byte("SOME OTHER!")), 0o600, "backup"},
	} {
		path := filepath.Join(dir, "bad")
		if err := os.WriteFile(path, c.content, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path); !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: got %v, want ErrKeyFile that says %q", name, err, c.say)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.content) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := LoadOrCreateKey(dir); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a folder: got %v, want ErrKeyFile", err)
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "no", "such", "folder")); err == nil {
		t.Error("created a key in a folder that is not there")
	}
}
