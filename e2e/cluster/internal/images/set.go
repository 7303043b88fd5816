package images

import (
	"os"
	"path/filepath"
)

// The names of the images, as a registry would call them.
const (
	TestRepository = "docker.io/library/asts-test"
	Pause          = "docker.io/library/asts-pause:v1"
)

// Names are the test images that a cluster has.
func Names() []string {
	return []string{TestRepository + ":v1", TestRepository + ":v2", TestRepository + ":v1-same", TestRepository + ":broken"}
}

// commands are the names under which the test program does something else than
// to serve, for `kubectl exec`.
var commands = []string{"cat", "env", "sleep", "true", "false"}

// WriteSet writes the archives of all images into a folder: the test program
// under several versions, and what holds the namespaces of a Pod.
func WriteSet(dir, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entry := []string{"/testserver"}
	set := map[string]Image{
		"v1.tar":      {Tags: []string{TestRepository + ":v1"}, Files: testFiles(content, "v1"), Entrypoint: entry},
		"v2.tar":      {Tags: []string{TestRepository + ":v2"}, Files: testFiles(content, "v2"), Entrypoint: entry},
		"v1-same.tar": {Tags: []string{TestRepository + ":v1-same"}, Files: testFiles(content, "v1"), Entrypoint: entry},
		"broken.tar":  {Tags: []string{TestRepository + ":broken"}, Files: testFiles(content, "broken"), Entrypoint: []string{"/testserver", "false"}},
		"pause.tar":   {Tags: []string{Pause}, Files: testFiles(content, "pause"), Entrypoint: []string{"/testserver", "pause"}},
	}
	for name, image := range set {
		if err := WriteFile(filepath.Join(dir, name), image); err != nil {
			return err
		}
	}
	return nil
}

func testFiles(program []byte, version string) []File {
	files := []File{
		{Path: "bin", Mode: 0o755, Dir: true},
		{Path: "etc", Mode: 0o755, Dir: true},
		{Path: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{Path: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Path: "tmp", Mode: 0o1777, Dir: true},
		{Path: "testserver", Mode: 0o755, Content: program},
		{Path: "version", Mode: 0o644, Content: []byte(version + "\n")},
	}
	for _, name := range commands {
		files = append(files, File{Path: "bin/" + name, Link: "/testserver"})
	}
	return files
}
