package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"asts.dev/e2e/cluster/internal/customise"
)

// overlay is where our own files for k8s.io/kubernetes are, below the source folder.
const overlay = "customised/_overlay"

// customisedSuffix follows the version that the customised programs say of themselves.
const customisedSuffix = "+customised"

// EnsureCustomised returns the folder with the program of the component Kubernetes in its customised
// form, which it builds from a vendored copy of the modules when its inputs changed.
func (b *Builder) EnsureCustomised() (string, error) {
	key, err := b.customisedKey()
	if err != nil {
		return "", fmt.Errorf("inputs of the customised form: %w", err)
	}
	return b.Cached("customised", key, b.compileCustomised)
}

func (b *Builder) customisedKey() (string, error) {
	stock, err := b.key(Kubernetes)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s %+v\n", stock, customise.Version, customise.Edits)
	root := filepath.Join(b.Source, filepath.FromSlash(overlay))
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil))[:16], err
}

func (b *Builder) compileCustomised(staging string) error {
	b.logf("customised: copying the modules")
	module, err := os.MkdirTemp(b.Cache, "tmp-customised-source-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(module)
	for _, pattern := range Kubernetes.Patterns {
		files, err := filepath.Glob(filepath.Join(b.Source, Kubernetes.Module, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(module, filepath.Base(file)), content, 0o644); err != nil {
				return err
			}
		}
	}
	form := Kubernetes
	form.Name, form.dir = "customised", module
	form.LDFlags = "-s -w" + stampVersion(KubernetesVersion+customisedSuffix)
	if _, err := b.goCommand(form, "mod", "vendor").Output(); err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return fmt.Errorf("go mod vendor: %w", err)
	}
	if err := customise.Tree(filepath.Join(module, "vendor"), filepath.Join(b.Source, filepath.FromSlash(overlay))); err != nil {
		return err
	}
	return b.compile(form, staging)
}
