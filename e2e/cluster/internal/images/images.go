// Package images packs container images by hand, with no registry and no
// container engine.
package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
)

// Image is what an archive holds: one layer under one or more names.
type Image struct {
	Tags       []string
	Files      []File
	Entrypoint []string
	Env        []string
}

// File is an entry of the layer; with Link it is a symbolic link, with a mode
// that says so it is a directory.
type File struct {
	Path    string
	Mode    int64
	Content []byte
	Link    string
	Dir     bool
}

type imageConfig struct {
	Created      string        `json:"created"`
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Config       processConfig `json:"config"`
	RootFS       rootFS        `json:"rootfs"`
}

type processConfig struct {
	Entrypoint []string `json:"Entrypoint"`
	Env        []string `json:"Env,omitempty"`
	WorkingDir string   `json:"WorkingDir"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifestEntry struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// Write writes the image as a docker archive. The same image gives the same
// bytes.
func Write(w io.Writer, image Image) error {
	layer, err := packLayer(image.Files)
	if err != nil {
		return err
	}
	config, err := json.Marshal(imageConfig{
		Created:      "1970-01-01T00:00:00Z",
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       processConfig{Entrypoint: image.Entrypoint, Env: image.Env, WorkingDir: "/"},
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return err
	}
	configName := digest(config) + ".json"
	layerName := digest(layer) + "/layer.tar"
	manifest, err := json.Marshal([]manifestEntry{{Config: configName, RepoTags: image.Tags, Layers: []string{layerName}}})
	if err != nil {
		return err
	}
	return writeTar(w, []File{
		{Path: configName, Mode: 0o644, Content: config},
		{Path: path.Dir(layerName), Mode: 0o755, Dir: true},
		{Path: layerName, Mode: 0o644, Content: layer},
		{Path: "manifest.json", Mode: 0o644, Content: manifest},
	})
}

// WriteFile writes the image's archive to a file.
func WriteFile(name string, image Image) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := Write(file, image); err != nil {
		file.Close()
		return fmt.Errorf("image %v: %w", image.Tags, err)
	}
	return file.Close()
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func packLayer(files []File) ([]byte, error) {
	var layer bytes.Buffer
	err := writeTar(&layer, files)
	return layer.Bytes(), err
}

func writeTar(w io.Writer, files []File) error {
	archive := tar.NewWriter(w)
	for _, file := range files {
		header := &tar.Header{Name: file.Path, Mode: file.Mode, Typeflag: tar.TypeReg, Size: int64(len(file.Content)), Format: tar.FormatUSTAR}
		switch {
		case file.Dir:
			header.Typeflag, header.Name = tar.TypeDir, file.Path+"/"
		case file.Link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, file.Link, 0o777
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(file.Content); err != nil {
			return err
		}
	}
	return archive.Close()
}
