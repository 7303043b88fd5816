// Package krew installs the plugin as its users do: packed by config/krew/pack, by krew itself.
package krew

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// From where the archives would be had. Nothing is fetched: krew is given the archive.
const address = "https://example.com/releases/download"

// plugin is the released kubectl-asts: one static file.
func plugin(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ASTS_PLUGIN")
	if path == "" {
		t.Skip("ASTS_PLUGIN names no kubectl-asts; make plugin builds one")
	}
	return path
}

func run(t *testing.T, environment []string, name string, arguments ...string) string {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func TestThePluginNeedsNoLibrary(t *testing.T) {
	file, err := elf.Open(plugin(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("it asks for a loader: it is not static")
		}
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs the libraries %v (%v)", libraries, err)
	}
}

func TestKrewInstallsThePlugin(t *testing.T) {
	folder, root := t.TempDir(), t.TempDir()
	system := runtime.GOOS + "-" + runtime.GOARCH
	run(t, nil, "../../config/krew/pack", folder, address, system+"="+plugin(t))
	manifest := filepath.Join(folder, "asts.yaml")
	run(t, nil, "go", "tool", "validate-krew-manifest", "-manifest", manifest, "-skip-install")

	environment := []string{"KREW_ROOT=" + root, "KREW_NO_UPGRADE_CHECK=1"}
	archive := filepath.Join(folder, "kubectl-asts-"+system+".tar.gz")
	told := run(t, environment, "go", "tool", "krew", "install", "--manifest="+manifest, "--archive="+archive)
	if !strings.Contains(told, "Installed plugin: asts") || !strings.Contains(told, "kubectl_complete-asts") {
		t.Errorf("krew said:\n%s", told)
	}
	version := run(t, nil, filepath.Join(root, "bin", "kubectl-asts"), "version", "--client")
	if !strings.Contains(version, "0.1.0") {
		t.Errorf("the plugin that krew installed said:\n%s", version)
	}
}

// The same binary is the same archive, so a sum that was published stays right.
func TestTheSameBinaryIsTheSameArchive(t *testing.T) {
	system := runtime.GOOS + "-" + runtime.GOARCH
	var archives [2][]byte
	for turn := range archives {
		folder := t.TempDir()
		run(t, nil, "../../config/krew/pack", folder, address, system+"="+plugin(t))
		archive, err := os.ReadFile(filepath.Join(folder, "kubectl-asts-"+system+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		archives[turn] = archive
	}
	if string(archives[0]) != string(archives[1]) {
		t.Error("two archives of one binary differ")
	}
}
