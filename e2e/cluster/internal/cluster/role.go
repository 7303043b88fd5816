package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"asts.dev/e2e/cluster/internal/proc"
)

// role is a program of the cluster: how it is started, and its process.
type role struct {
	name    string
	program string
	// calledAs is by what name the program is started, where that is not the role's.
	calledAs string
	args     []string
	// stopLimit is how long it may take to end when asked to.
	stopLimit time.Duration
	ready     func() error
	// prepare is done before each start.
	prepare func() error
	// started is told of each new process.
	started func(context.Context, *proc.Process) error
	process *proc.Process
}

const (
	readyLimit   = 60 * time.Second
	pauseLimit   = 10 * time.Second
	logTailBytes = 3000
)

func (i *instance) logFile(name string) string {
	return filepath.Join(i.dir, "logs", name+".log")
}

// start starts a role and waits until it is ready.
func (i *instance) start(ctx context.Context, r *role) error {
	if r.process != nil && !r.process.Ended() {
		return fmt.Errorf("%s runs already", r.name)
	}
	if r.prepare != nil {
		if err := r.prepare(); err != nil {
			return fmt.Errorf("prepare %s: %w", r.name, err)
		}
	}
	log, err := os.OpenFile(i.logFile(r.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	process, err := i.supervisor.Start(proc.Spec{
		Path: r.program, Name: cmp.Or(r.calledAs, r.name), Args: r.args, Dir: i.dir,
		Env: i.childEnv(), Output: log, ParentDeath: syscall.SIGKILL,
	})
	if err != nil {
		return err
	}
	r.process = process
	if err := i.remember(process.PID); err != nil {
		return err
	}
	if r.started != nil {
		if err := r.started(ctx, process); err != nil {
			return err
		}
	}
	return i.awaitReady(ctx, r)
}

func (i *instance) awaitReady(ctx context.Context, r *role) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	process := r.process
	go func() {
		select {
		case <-process.Done():
			cancel(errors.New(process.Ending()))
		case <-ctx.Done():
		}
	}()
	if err := poll(ctx, readyLimit, r.name+" is not ready", r.ready); err != nil {
		if process.Ended() {
			err = fmt.Errorf("%s: %s", r.name, process.Ending())
		}
		return fmt.Errorf("%w\nlast lines of %s:\n%s", err, i.logFile(r.name), i.logTail(r.name))
	}
	return nil
}

func (i *instance) logTail(name string) string {
	content, err := os.ReadFile(i.logFile(name))
	if err != nil {
		return err.Error()
	}
	if len(content) > logTailBytes {
		content = content[len(content)-logTailBytes:]
	}
	return strings.TrimSpace(string(content))
}

// kill ends a role at once.
func (r *role) kill() {
	if r.process != nil {
		r.process.Kill()
	}
}

// stop asks a role to end.
func (r *role) stop() {
	if r.process != nil {
		r.process.Stop(r.stopLimit)
	}
}

// pause stops a role where it stands, and returns when it stands.
func (r *role) pause(ctx context.Context) error {
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	process := proc.Identify(r.process.PID)
	return poll(ctx, pauseLimit, r.name+" does not stop", func() error {
		if process.Stopped() || !process.Alive() {
			return nil
		}
		return errors.New("it runs")
	})
}

func (r *role) signal(signal syscall.Signal) error {
	if r.process == nil {
		return errors.New("not running")
	}
	return r.process.Signal(signal)
}
