package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keyType is the PEM type of the file that holds a node's identity: the 32-byte
// seed of an Ed25519 key.
const keyType = "MUSTER NODE KEY"

// ErrKeyFile is wrapped by every refusal of a key file.
var ErrKeyFile = errors.New("unusable key file")

// LoadOrCreateKey reads a node's identity from path, or draws one and writes it
// there with mode 0600, whole or not at all. It refuses a file that anybody but
// its owner may read, and one that holds something else, with an error that
// wraps [ErrKeyFile] and says what to do.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	switch err := createKey(path, key); {
	case errors.Is(err, fs.ErrExist): // another process was faster
		return loadKey(path)
	case err != nil:
		return nil, fmt.Errorf("write key file %s: %w", path, err)
	}
	return key, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeyFile, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o, so others can read this node's identity; run: chmod 600 %s", ErrKeyFile, path, mode, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != keyType || len(block.Bytes) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: %s does not hold a %q; restore it from a backup, or move it away to get a new identity", ErrKeyFile, path, keyType)
	}
	return ed25519.NewKeyFromSeed(block.Bytes), nil
}

// createKey writes a temporary file and links it into place, so that a crash
// leaves no half key and a concurrent creator is not overwritten.
func createKey(path string, key ed25519.PrivateKey) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: key.Seed()}))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
