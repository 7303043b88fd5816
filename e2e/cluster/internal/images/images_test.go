package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func writeSet(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteSet(dir, program); err != nil {
		t.Fatal(err)
	}
	return dir
}

func readArchive(t *testing.T, name string) (manifestEntry, map[string][]byte) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content := map[string][]byte{}
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if content[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []manifestEntry
	if err := json.Unmarshal(content["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json: %v, %d entries", err, len(manifest))
	}
	return manifest[0], content
}

func TestArchiveNamesWhatItHolds(t *testing.T) {
	manifest, content := readArchive(t, filepath.Join(writeSet(t), "v2.tar"))
	layer := content[manifest.Layers[0]]
	var config imageConfig
	if err := json.Unmarshal(content[manifest.Config], &config); err != nil {
		t.Fatal(err)
	}
	if want := "sha256:" + digest(layer); len(layer) == 0 || config.RootFS.DiffIDs[0] != want {
		t.Fatalf("diff id %q, want %q", config.RootFS.DiffIDs[0], want)
	}
	if manifest.RepoTags[0] != TestRepository+":v2" {
		t.Fatalf("tags %q", manifest.RepoTags)
	}
}

func TestArchivesAreReproducible(t *testing.T) {
	first, second := writeSet(t), writeSet(t)
	for _, name := range []string{"v1.tar", "v2.tar", "v1-same.tar", "broken.tar", "pause.tar"} {
		a, _ := os.ReadFile(filepath.Join(first, name))
		b, _ := os.ReadFile(filepath.Join(second, name))
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s differs from one run to the next", name)
		}
	}
}

func TestSameImageUnderAnotherTag(t *testing.T) {
	dir := writeSet(t)
	v1, _ := readArchive(t, filepath.Join(dir, "v1.tar"))
	same, _ := readArchive(t, filepath.Join(dir, "v1-same.tar"))
	v2, _ := readArchive(t, filepath.Join(dir, "v2.tar"))
	if v1.Config != same.Config {
		t.Errorf("v1-same has another content than v1")
	}
	if v1.Config == v2.Config {
		t.Errorf("v2 has the content of v1")
	}
}
