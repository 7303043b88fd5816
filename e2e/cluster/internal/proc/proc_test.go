package proc

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSupervisorEndsWhatItStarted(t *testing.T) {
	supervisor, err := NewSupervisor()
	if err != nil {
		t.Fatal(err)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	if err := supervisor.Run(Spec{Path: sh, Args: []string{"-c", "exit 0"}}); err != nil {
		t.Fatal(err)
	}
	err = supervisor.Run(Spec{Path: sh, Args: []string{"-c", "exit 3"}})
	if err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Fatalf("a failed program: %v", err)
	}

	// The shell leaves a grandchild, which becomes ours.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	mark := "ASTS_PROC_TEST=" + strconv.Itoa(os.Getpid())
	err = supervisor.Run(Spec{Path: sh, Args: []string{"-c", "sleep 100 & echo $!"}, Env: append(os.Environ(), mark), Stdout: write})
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 32)
	n, _ := read.Read(buffer)
	orphan, err := strconv.Atoi(strings.TrimSpace(string(buffer[:n])))
	if err != nil {
		t.Fatal(err)
	}
	identity := Identify(orphan)
	if !identity.Alive() {
		t.Fatal("the orphan does not run")
	}
	if found := marked(mark); len(found) != 1 || found[0] != orphan {
		t.Fatalf("marked %v, want %d", found, orphan)
	}
	if found := descendants(); len(found) != 1 || found[0] != orphan {
		t.Fatalf("descendants %v, want %d", found, orphan)
	}
	KillDescendants()
	if identity.Alive() {
		t.Fatal("the orphan still runs")
	}

	process, err := supervisor.Start(Spec{Path: sh, Args: []string{"-c", "trap '' TERM; sleep 100"}, ParentDeath: syscall.SIGKILL})
	if err != nil {
		t.Fatal(err)
	}
	process.Signal(syscall.SIGSTOP)
	process.Stop(100 * time.Millisecond)
	if !process.Ended() {
		t.Fatal("a paused process that ignores SIGTERM still runs")
	}
	KillDescendants()
}
