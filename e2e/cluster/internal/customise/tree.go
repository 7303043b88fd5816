package customise

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tree customises the vendor folder of a module that needs k8s.io/kubernetes: it copies the files
// of overlay to it and makes all edits. A tree that is customised already stays as it is.
func Tree(vendor, overlay string) error {
	if err := checkVersion(filepath.Join(vendor, "modules.txt")); err != nil {
		return err
	}
	root := filepath.Join(vendor, filepath.FromSlash(Module))
	if err := copyOverlay(overlay, root); err != nil {
		return err
	}
	for _, edit := range Edits {
		file := filepath.Join(root, filepath.FromSlash(edit.File))
		source, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", edit.name(), errAnchor, err)
		}
		edited, err := edit.apply(source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, edited, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// checkVersion refuses any other version than the one that the edits were tried with.
func checkVersion(list string) error {
	content, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "#" || fields[1] != Module {
			continue
		}
		if len(fields) > 3 || fields[2] != Version {
			return fmt.Errorf("%s is %s, and the customised form is made for %s alone", Module, strings.Join(fields[2:], " "), Version)
		}
		return nil
	}
	return fmt.Errorf("%s does not name %s", list, Module)
}

// copyOverlay adds our files. Each joins a package that is there.
func copyOverlay(overlay, root string) error {
	return filepath.WalkDir(overlay, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(overlay, path)
		if err != nil {
			return err
		}
		target := filepath.Join(root, name)
		if _, err := os.Stat(filepath.Dir(target)); err != nil {
			return fmt.Errorf("%s joins a package that is not there: %w", name, err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}
