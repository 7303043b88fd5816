// Package proc starts the processes of a cluster so that none outlives it, and
// finds and ends what they left. A process is only ever ended by its id.
package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const prSetChildSubreaper = 36

// Supervisor is the parent of processes, and of the orphans among their
// descendants. There must be only one in a program, and nothing else in that
// program may wait for children.
type Supervisor struct {
	mu       sync.Mutex
	children map[int]*Process
	spawn    chan func()
}

// Process is a child.
type Process struct {
	PID  int
	done chan struct{}

	status syscall.WaitStatus
}

// Spec says what to start.
type Spec struct {
	Path string
	Args []string // without the program's name
	Name string   // the program's name, when it is not the path
	Dir  string
	Env  []string
	// Output gets what the process prints; Input is its standard input.
	Output *os.File
	Stdout *os.File
	Input  *os.File
	// ParentDeath is the signal that it gets when this program ends.
	ParentDeath syscall.Signal
	// SameGroup leaves it in this program's process group, where a terminal
	// lets it read and reaches it with signals.
	SameGroup bool
}

// NewSupervisor makes this program adopt its descendants' orphans, and waits
// for whatever ends.
func NewSupervisor() (*Supervisor, error) {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return nil, fmt.Errorf("become a child subreaper: %w", errno)
	}
	s := &Supervisor{children: map[int]*Process{}, spawn: make(chan func())}
	go s.spawnThread()
	go s.reap()
	return s, nil
}

// spawnThread starts all processes from one thread that never ends: the kernel
// sends the parent-death signal at the end of the thread that forked.
func (s *Supervisor) spawnThread() {
	runtime.LockOSThread()
	for start := range s.spawn {
		start()
	}
}

// Start starts a process.
func (s *Supervisor) Start(spec Spec) (*Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	if spec.Input != nil {
		files[0] = spec.Input.Fd()
	}
	if spec.Output != nil {
		files[1], files[2] = spec.Output.Fd(), spec.Output.Fd()
	}
	if spec.Stdout != nil {
		files[1] = spec.Stdout.Fd()
	}
	name := spec.Name
	if name == "" {
		name = spec.Path
	}
	attributes := &syscall.ProcAttr{
		Dir: spec.Dir, Env: spec.Env, Files: files,
		Sys: &syscall.SysProcAttr{Pdeathsig: spec.ParentDeath, Setpgid: !spec.SameGroup},
	}
	var process *Process
	finished := make(chan struct{})
	s.spawn <- func() {
		defer close(finished)
		s.mu.Lock()
		defer s.mu.Unlock()
		var pid int
		pid, err = syscall.ForkExec(spec.Path, append([]string{name}, spec.Args...), attributes)
		if err == nil {
			process = &Process{PID: pid, done: make(chan struct{})}
			s.children[pid] = process
		}
	}
	<-finished
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	return process, nil
}

// Run starts a process and waits for its end.
func (s *Supervisor) Run(spec Spec) error {
	process, err := s.Start(spec)
	if err != nil {
		return err
	}
	<-process.Done()
	if process.status.ExitStatus() != 0 {
		return fmt.Errorf("%s %s: %s", filepath.Base(spec.Path), strings.Join(spec.Args, " "), process.Ending())
	}
	return nil
}

const reapEvery = 20 * time.Millisecond

// reap waits for every child, also for the adopted ones. It asks in short
// intervals as Wait4 would block the program's other waits for good, and
// signals of several children may arrive as one.
func (s *Supervisor) reap() {
	for {
		for s.reapOne() {
		}
		time.Sleep(reapEvery)
	}
}

func (s *Supervisor) reapOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err != nil || pid <= 0 {
		return errors.Is(err, syscall.EINTR)
	}
	if child, ours := s.children[pid]; ours {
		child.status = status
		delete(s.children, pid)
		close(child.done)
	}
	return true
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Ending says how the process ended.
func (p *Process) Ending() string {
	if p.status.Signaled() {
		return "ended by signal " + p.status.Signal().String()
	}
	return "exit code " + strconv.Itoa(p.status.ExitStatus())
}

// ExitCode is the code that the process ended with.
func (p *Process) ExitCode() int { return p.status.ExitStatus() }

// Signal sends a signal.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.Ended() {
		return errors.New("not running")
	}
	return syscall.Kill(p.PID, signal)
}

// Wait waits for the end, for a limited time.
func (p *Process) Wait(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	if !p.Ended() {
		syscall.Kill(p.PID, syscall.SIGKILL)
		<-p.done
	}
}

// Stop asks the process to end, and makes it end after the time limit. A
// paused process is woken, as it could not end otherwise.
func (p *Process) Stop(limit time.Duration) {
	if p.Ended() {
		return
	}
	syscall.Kill(p.PID, syscall.SIGTERM)
	syscall.Kill(p.PID, syscall.SIGCONT)
	if !p.Wait(limit) {
		p.Kill()
	}
}
