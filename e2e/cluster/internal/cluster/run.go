package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/proc"
)

// Two processes run a cluster. The guard starts the supervisor, which does the
// work. When the supervisor is killed its children go with it, their orphans
// become the guard's, and the guard removes what is left. When the guard is
// killed the supervisor ends in order and does so itself.

// supervisorEnv tells the supervisor the cluster's id, and that it is one.
const supervisorEnv = "ASTS_CLUSTER_SUPERVISOR"

// forceAfter is how long the guard lets the supervisor end in order.
const forceAfter = 40 * time.Second

// Run runs a cluster until it is told to end, by a signal or by the end of the
// standard input.
func Run(builder *build.Builder, options Options) error {
	if id := os.Getenv(supervisorEnv); id != "" {
		os.Unsetenv(supervisorEnv)
		return supervise(builder, options, id)
	}
	if err := options.Check(); err != nil {
		return err
	}
	if err := CleanAbandoned(builder.Cache, builder.Log); err != nil {
		fmt.Fprintln(builder.Log, "asts-cluster:", err)
	}
	if _, err := Build(builder, options.Provider, options.Customised); err != nil {
		return err
	}
	return guard(builder)
}

func guard(builder *build.Builder) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	children, err := proc.NewSupervisor()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	id := NewID()
	supervisor, err := children.Start(proc.Spec{
		Path: self, Args: os.Args[1:], Env: append(os.Environ(), supervisorEnv+"="+id),
		Input: os.Stdin, Stdout: os.Stdout, Output: os.Stderr,
		ParentDeath: syscall.SIGTERM, SameGroup: true,
	})
	if err != nil {
		return err
	}
	for !supervisor.Ended() {
		select {
		case <-supervisor.Done():
		case <-signals:
			supervisor.Stop(forceAfter)
		}
	}
	proc.KillDescendants()
	if record, err := readRecord(recordFile(builder.Cache, id)); err == nil {
		fmt.Fprintln(builder.Log, "asts-cluster: the supervisor ended without cleaning up:", supervisor.Ending())
		if err := record.clean(); err != nil {
			return err
		}
	}
	if supervisor.ExitCode() != 0 {
		return errSilent
	}
	return nil
}

// errSilent ends the guard with an error that the supervisor has told already.
var errSilent = errors.New("")

// supervise starts the cluster, tells about it, and ends it.
func supervise(builder *build.Builder, options Options, id string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	// Nobody may read what is printed any more: that is no reason to end
	// without cleaning up.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		cancel()
	}()

	made, err := Build(builder, options.Provider, options.Customised)
	if err != nil {
		return err
	}
	if err := refuseDirInUse(builder.Cache, options.Dir); err != nil {
		return err
	}
	dir, temporary, err := prepareDir(options, id)
	if err != nil {
		return err
	}
	record := &Record{
		ID: id, Provider: options.Provider, Dir: dir, RemoveDir: temporary && !options.Keep,
		Supervisors: []proc.Identity{proc.Identify(os.Getpid()), proc.Identify(os.Getppid())},
		file:        recordFile(builder.Cache, id),
	}
	if err := record.save(); err != nil {
		return err
	}
	env := environment{options: options, id: id, builder: builder, programs: made, log: builder.Log}
	if options.Provider == Kind {
		err = runKind(ctx, env, record)
	} else {
		err = runOwn(ctx, env, record)
	}
	return errors.Join(err, record.clean())
}

func runOwn(ctx context.Context, env environment, record *Record) error {
	started := time.Now()
	i, err := newInstance(env, record, record.Dir)
	if err != nil {
		return err
	}
	defer proc.KillDescendants()
	defer i.down()
	if err := i.up(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Fprintf(env.log, "asts-cluster: ready after %.1f s, %s\n", time.Since(started).Seconds(), record.Dir)
	return i.serve(ctx)
}

// serve prints what the cluster is, and obeys until told to end.
func (i *instance) serve(ctx context.Context) error {
	info := i.info()
	encoded, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := i.write(stateFile, encoded); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%s\n", encoded)
	return untilTold(ctx, func() error { return i.obey(ctx, os.Stdin, os.Stdout) })
}

// untilTold returns when the context ends or obey does.
func untilTold(ctx context.Context, obey func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- obey() }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// Silent says whether an error has been told already.
func Silent(err error) bool { return errors.Is(err, errSilent) }

// drain reads commands that a provider does not take.
func drain(input io.Reader) error {
	_, err := io.Copy(io.Discard, input)
	return err
}
