package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/proc"
)

// named is a cluster in the background. Its folder has the files
//
//	control      a pipe: lines written into it are the supervisor's commands
//	output       what the supervisor printed: what the cluster is, and answers
//	log          its messages
//	guard.json   the identity of its guard
type named struct {
	name string
	dir  string
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

func findNamed(builder *build.Builder, name string) (named, error) {
	if !validName.MatchString(name) {
		return named{}, fmt.Errorf("the name %q must be of lower case letters, digits and dashes", name)
	}
	return named{name: name, dir: filepath.Join(builder.Cache, "clusters", name)}, nil
}

func (n named) file(name string) string { return filepath.Join(n.dir, name) }

func (n named) guard() (proc.Identity, error) {
	var guard proc.Identity
	content, err := os.ReadFile(n.file("guard.json"))
	if err != nil {
		return guard, err
	}
	return guard, json.Unmarshal(content, &guard)
}

func (n named) running() bool {
	guard, err := n.guard()
	return err == nil && guard.Alive()
}

const upLimit = 5 * time.Minute

// Up runs a cluster in the background, and returns when it is ready.
func Up(builder *build.Builder, options Options, name string, args []string) error {
	n, err := findNamed(builder, name)
	if err != nil {
		return err
	}
	if n.running() {
		return fmt.Errorf("cluster %s runs already: asts-cluster down --name %s", name, name)
	}
	// Built here, where its progress is seen.
	if _, err := Build(builder, options.Provider, options.Customised); err != nil {
		return err
	}
	if options.Dir == "" {
		args = append(slices.Clone(args), "--dir", n.file("cluster"))
	}
	guard, err := n.launch(args)
	if err != nil {
		return err
	}
	info, err := n.await(guard)
	if err != nil {
		return errors.Join(err, Down(builder, name))
	}
	fmt.Printf("export KUBECONFIG=%s\n", info.Kubeconfig)
	fmt.Fprintf(os.Stderr, "asts-cluster: %s is ready, kubectl is %s; its commands go into %s\n", name, info.Kubectl[0], n.file("control"))
	return nil
}

// launch starts the guard in a session of its own. Its input is a pipe that it
// holds open itself, so that it never ends.
func (n named) launch(args []string) (proc.Identity, error) {
	var none proc.Identity
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return none, err
	}
	os.Remove(n.file("control"))
	if err := syscall.Mkfifo(n.file("control"), 0o600); err != nil {
		return none, err
	}
	control, err := os.OpenFile(n.file("control"), os.O_RDWR, 0)
	if err != nil {
		return none, err
	}
	defer control.Close()
	output, err := os.Create(n.file("output"))
	if err != nil {
		return none, err
	}
	defer output.Close()
	log, err := os.Create(n.file("log"))
	if err != nil {
		return none, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return none, err
	}
	command := exec.Command(self, append([]string{"run"}, args...)...)
	command.Stdin, command.Stdout, command.Stderr = control, output, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return none, err
	}
	guard := proc.Identify(command.Process.Pid)
	// Reaped here when it ends early, so that await sees that it did.
	go command.Wait()
	content, err := json.Marshal(guard)
	if err != nil {
		return none, err
	}
	return guard, os.WriteFile(n.file("guard.json"), content, 0o644)
}

func (n named) await(guard proc.Identity) (Info, error) {
	for end := time.Now().Add(upLimit); time.Now().Before(end); time.Sleep(pollEvery) {
		if info, found := n.info(); found {
			return info, nil
		}
		if !guard.Alive() {
			log, _ := os.ReadFile(n.file("log"))
			return Info{}, fmt.Errorf("cluster %s did not start:\n%s", n.name, log)
		}
	}
	return Info{}, fmt.Errorf("cluster %s is not ready after %s", n.name, upLimit)
}

// info reads the first line that the supervisor printed.
func (n named) info() (Info, bool) {
	var info Info
	output, err := os.Open(n.file("output"))
	if err != nil {
		return info, false
	}
	defer output.Close()
	line, err := bufio.NewReader(output).ReadBytes('\n')
	return info, err == nil && json.Unmarshal(line, &info) == nil
}

// Down ends a cluster of Up, and removes its folder.
func Down(builder *build.Builder, name string) error {
	n, err := findNamed(builder, name)
	if err != nil {
		return err
	}
	guard, err := n.guard()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no cluster %s", name)
	}
	if err != nil {
		return err
	}
	guard.Signal(syscall.SIGTERM)
	for end := time.Now().Add(2 * forceAfter); guard.Alive(); time.Sleep(pollEvery) {
		if time.Now().After(end) {
			guard.Signal(syscall.SIGKILL)
		}
	}
	if err := CleanAbandoned(builder.Cache, builder.Log); err != nil {
		return err
	}
	return os.RemoveAll(n.dir)
}

// List tells the clusters of Up.
func List(builder *build.Builder, output io.Writer) error {
	entries, err := os.ReadDir(filepath.Join(builder.Cache, "clusters"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		n, err := findNamed(builder, entry.Name())
		if err != nil {
			continue
		}
		state := "ended"
		if n.running() {
			state = "running"
		}
		info, _ := n.info()
		fmt.Fprintf(output, "%s\t%s\t%s\t%s\n", n.name, state, info.Provider, info.Kubeconfig)
	}
	return nil
}
