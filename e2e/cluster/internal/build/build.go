// Package build makes the programs that a cluster consists of, from published
// Go modules, and keeps them in a cache outside of the source tree.
package build

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// KubernetesVersion is the version of k8s.io/kubernetes in kubernetes/go.mod.
const KubernetesVersion = "v1.37.2"

// stampVersion sets what the programs say of themselves, also as user agents.
func stampVersion(version string) string {
	var flags strings.Builder
	for _, stamped := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		fmt.Fprintf(&flags, " -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=37", stamped, version)
	}
	return flags.String()
}

// Component is a set of programs that one Go module builds.
type Component struct {
	Name     string
	Module   string   // folder below the source folder
	Packages []string // what to build; the program is called as the last element
	LDFlags  string
	// Patterns chooses the module's files that the programs depend on.
	Patterns []string
	// dir is a copy of the module with a vendor folder, to be built instead.
	dir string
}

// The components by use.
var (
	Kubernetes = Component{
		Name: "kubernetes", Module: "kubernetes", Packages: []string{"."},
		LDFlags:  "-s -w" + stampVersion(KubernetesVersion),
		Patterns: []string{"*.go", "go.mod", "go.sum"},
	}
	Kwok = Component{
		Name: "kwok", Module: "kwok", Packages: []string{"sigs.k8s.io/kwok/cmd/kwok"},
		LDFlags: "-s -w", Patterns: []string{"go.mod", "go.sum"},
	}
	Containerd = Component{
		Name: "containerd", Module: "containerd", LDFlags: "-s -w",
		Patterns: []string{"go.mod", "go.sum"},
		Packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
		},
	}
	TestServer = Component{
		Name: "testserver", Module: ".", Packages: []string{"./testserver"}, LDFlags: "-s -w",
		Patterns: []string{"testserver/*.go", "go.mod"},
	}
)

// Builder builds components of the modules in Source into folders of Cache.
type Builder struct {
	Source string
	Cache  string
	Log    io.Writer
}

// FromEnvironment finds the source folder and the cache as the starter script
// handed them over.
func FromEnvironment() (*Builder, error) {
	source := os.Getenv("ASTS_CLUSTER_SOURCE")
	if source == "" {
		return nil, errors.New("ASTS_CLUSTER_SOURCE is not set: run the script e2e/cluster/asts-cluster")
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	return &Builder{Source: source, Cache: cache, Log: os.Stderr}, nil
}

// CacheDir is where programs, images and the state of clusters are kept.
func CacheDir() (string, error) {
	if dir := os.Getenv("ASTS_CACHE_DIR"); dir != "" {
		return dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "asts"), nil
}

func (b *Builder) logf(format string, args ...any) {
	fmt.Fprintf(b.Log, "asts-cluster: "+format+"\n", args...)
}

var goFlags = []string{"-mod=readonly", "-trimpath", "-buildvcs=false"}

// flags are the go command's for this component.
func (c Component) flags() []string {
	if c.dir == "" {
		return goFlags
	}
	return append([]string{"-mod=vendor"}, goFlags[1:]...)
}

// Ensure returns the folder with the component's programs, which it builds
// when its inputs changed.
func (b *Builder) Ensure(c Component) (string, error) {
	key, err := b.key(c)
	if err != nil {
		return "", fmt.Errorf("inputs of %s: %w", c.Name, err)
	}
	return b.Cached(c.Name, key, func(staging string) error { return b.compile(c, staging) })
}

// Cached returns the folder for name and key, made by fill when it is absent.
// It appears at once and whole; of several callers one fills it.
func (b *Builder) Cached(name, key string, fill func(staging string) error) (string, error) {
	final := filepath.Join(b.Cache, "bin-"+name+"-"+key)
	if touch(final) == nil {
		return final, nil
	}
	unlock, err := b.lock(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(final) == nil {
		return final, nil
	}
	staging, err := os.MkdirTemp(b.Cache, "tmp-"+name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(staging)
	if err := fill(staging); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := os.Chmod(staging, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(staging, final); err != nil {
		return "", err
	}
	b.prune(name, final)
	return final, nil
}

// touch notes the use of a folder, for prune.
func touch(dir string) error {
	now := time.Now()
	return os.Chtimes(dir, now, now)
}

const unusedFor = 14 * 24 * time.Hour

// prune removes what was built for older inputs and has long not been used.
func (b *Builder) prune(name, keep string) {
	dirs, _ := filepath.Glob(filepath.Join(b.Cache, "bin-"+name+"-*"))
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err == nil && dir != keep && time.Since(info.ModTime()) > unusedFor {
			os.RemoveAll(dir)
		}
	}
}

func (b *Builder) lock(name string) (func(), error) {
	dir := filepath.Join(b.Cache, "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b.logf("%s: another process is building it, waiting", name)
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return nil, err
		}
	}
	return func() { file.Close() }, nil
}

// key is a hash of everything that a component's programs are made of; the
// modules that it needs are named in go.mod and go.sum.
func (b *Builder) key(c Component) (string, error) {
	hash := sha256.New()
	version, err := exec.Command("go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	fmt.Fprintf(hash, "%s\n%q\n%q\n%q\n", version, goFlags, c.LDFlags, c.Packages)
	module := filepath.Join(b.Source, c.Module)
	var files []string
	for _, pattern := range c.Patterns {
		found, err := filepath.Glob(filepath.Join(module, pattern))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	sort.Strings(files)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		name, _ := filepath.Rel(module, file)
		fmt.Fprintf(hash, "%s %d\n", name, len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func (b *Builder) goCommand(c Component, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join(b.Source, c.Module)
	if c.dir != "" {
		cmd.Dir = c.dir
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	return cmd
}

func (b *Builder) compile(c Component, staging string) error {
	b.logf("%s: building (minutes, when it is the first time)", c.Name)
	started := time.Now()
	listed, err := b.goCommand(c, append([]string{"list", c.flags()[0], "-deps"}, c.Packages...)...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return fmt.Errorf("go list: %w", err)
	}
	progress := &progress{total: bytes.Count(listed, []byte("\n")), started: started}

	args := append([]string{"build", "-v"}, c.flags()...)
	args = append(args, "-ldflags", c.LDFlags, "-o", staging+string(filepath.Separator))
	cmd := b.goCommand(c, append(args, c.Packages...)...)
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() { b.report(c.Name, progress, stop) })
	progress.read(output)
	err = cmd.Wait()
	close(stop)
	reporting.Wait()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, progress.tail())
	}
	b.logf("%s: built in %.0f s", c.Name, time.Since(started).Seconds())
	return nil
}

const reportEvery = 10 * time.Second

func (b *Builder) report(name string, p *progress, stop <-chan struct{}) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			b.logf("%s: %s", name, p)
		}
	}
}

// progress follows what `go build -v` says: the name of each package that it
// compiles, and messages.
type progress struct {
	mu      sync.Mutex
	total   int
	started time.Time
	done    int
	newest  string
	last    []string
}

const tailLines = 60

func (p *progress) read(output io.Reader) {
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := scanner.Text()
		p.mu.Lock()
		if !strings.Contains(line, " ") && !strings.HasPrefix(line, "#") {
			p.done++
			p.newest = line
		}
		p.last = append(p.last, line)
		if len(p.last) > tailLines {
			p.last = p.last[1:]
		}
		p.mu.Unlock()
	}
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d of at most %d packages compiled after %.0f s, newest %s",
		p.done, p.total, time.Since(p.started).Seconds(), p.newest)
}

func (p *progress) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}
