package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"asts.dev/e2e/cluster/internal/proc"
)

// Record is what must be known of a cluster to remove what it leaves, kept in
// a file for the case that its supervisor cannot do so itself.
type Record struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Dir      string `json:"dir,omitempty"`
	// RemoveDir is true for a temporary folder that is not to be kept.
	RemoveDir bool `json:"removeDir,omitempty"`
	// RunDir is the short folder of sockets and mounts of real nodes.
	RunDir      string          `json:"runDir,omitempty"`
	Bridges     []string        `json:"bridges,omitempty"`
	Cgroups     []string        `json:"cgroups,omitempty"`
	KindCluster string          `json:"kindCluster,omitempty"`
	Supervisors []proc.Identity `json:"supervisors"`
	Processes   []proc.Identity `json:"processes"`

	file string
}

// NewID makes the short name of a cluster, unique on this machine.
func NewID() string {
	random := make([]byte, 3)
	rand.Read(random)
	return hex.EncodeToString(random)
}

// marker is set in the environment of each process of the cluster.
func marker(id string) string { return "ASTS_CLUSTER_INSTANCE=" + id }

func recordFile(cache, id string) string {
	return filepath.Join(cache, "instances", id+".json")
}

func readRecord(file string) (*Record, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	record := &Record{file: file}
	return record, json.Unmarshal(content, record)
}

// save writes the record, whole or not at all.
func (r *Record) save() error {
	if err := os.MkdirAll(filepath.Dir(r.file), 0o755); err != nil {
		return err
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	temporary := r.file + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, r.file)
}

func (r *Record) supervised() bool {
	for _, supervisor := range r.Supervisors {
		if supervisor.Alive() {
			return true
		}
	}
	return false
}

// refuseDirInUse is an error when a running cluster has that folder.
func refuseDirInUse(cache, dir string) error {
	if dir == "" {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(cache, "instances", "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if record, err := readRecord(file); err == nil && record.Dir == dir && record.supervised() {
			return fmt.Errorf("%s is the folder of cluster %s, which runs", dir, record.ID)
		}
	}
	return nil
}

// CleanAbandoned removes what clusters left whose supervisors are gone.
func CleanAbandoned(cache string, log io.Writer) error {
	files, err := filepath.Glob(filepath.Join(cache, "instances", "*.json"))
	if err != nil {
		return err
	}
	var failed error
	for _, file := range files {
		record, err := readRecord(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", file, err))
			continue
		}
		if record.supervised() {
			continue
		}
		fmt.Fprintf(log, "asts-cluster: removing what cluster %s left\n", record.ID)
		failed = errors.Join(failed, record.clean())
	}
	return failed
}

const mountRounds = 20

// clean ends all processes of the cluster and removes everything that it made
// outside of its folder, and that folder where it is temporary.
func (r *Record) clean() error {
	var failed error
	if r.KindCluster != "" {
		failed = deleteKind(r.KindCluster)
	}
	for _, process := range r.Processes {
		process.Signal(syscall.SIGKILL)
	}
	proc.KillMarked(marker(r.ID))
	if r.RunDir != "" {
		failed = errors.Join(failed, r.cleanNode())
	}
	if r.RemoveDir && r.Dir != "" {
		failed = errors.Join(failed, os.RemoveAll(r.Dir))
	}
	if failed != nil {
		return fmt.Errorf("clean up of cluster %s: %w", r.ID, failed)
	}
	return os.Remove(r.file)
}

// deleteKind removes a cluster of kind. It does not wait for its child, as a
// program that supervises processes has it waited for elsewhere.
func deleteKind(name string) error {
	command := exec.Command("kind", "delete", "cluster", "--name", name)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Start(); err != nil {
		return fmt.Errorf("kind delete cluster: %w", err)
	}
	for child := proc.Identify(command.Process.Pid); child.Alive(); {
		time.Sleep(pollEvery)
	}
	return nil
}

// unmountBelow removes the mounts in a folder, the deepest first.
func unmountBelow(dirs ...string) error {
	for range mountRounds {
		points := mountPoints(dirs)
		if len(points) == 0 {
			return nil
		}
		for i := len(points) - 1; i >= 0; i-- {
			if err := syscall.Unmount(points[i], 0); err != nil {
				syscall.Unmount(points[i], syscall.MNT_DETACH)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("still mounted: %s", strings.Join(mountPoints(dirs), " "))
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func mountPoints(dirs []string) []string {
	content, _ := os.ReadFile("/proc/self/mounts")
	var points []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		point := unescapeMount.Replace(fields[1])
		for _, dir := range dirs {
			if dir != "" && (point == dir || strings.HasPrefix(point, dir+"/")) {
				points = append(points, point)
				break
			}
		}
	}
	return points
}
