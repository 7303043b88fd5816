package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"asts.dev/e2e/cluster/internal/images"
	"asts.dev/e2e/cluster/internal/proc"
)

// instance is one running cluster of the providers local and node.
type instance struct {
	environment
	dir        string
	record     *Record
	supervisor *proc.Supervisor
	ports      *portPool
	control    *controlPlane
	api        *apiClient
	roles      []*role
	nodes      []string
	kubectl    string

	recordMu sync.Mutex
}

const (
	namespaceLimit = 30 * time.Second
	nodesLimit     = 90 * time.Second
)

// stateFile in a cluster's folder tells that its content may be replaced.
const stateFile = "cluster.json"

// prepareDir makes the cluster's folder: empty, or what an ended cluster left.
func prepareDir(options Options, id string) (dir string, temporary bool, err error) {
	if options.Dir == "" {
		dir, err = os.MkdirTemp("", "asts-cluster-"+id+"-")
		return dir, true, err
	}
	dir, err = filepath.Abs(options.Dir)
	if err != nil {
		return "", false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", false, err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
			return "", false, fmt.Errorf("%s is not empty and no cluster's folder", dir)
		}
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return "", false, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	// Ours from now on, also when the start fails.
	return dir, false, os.WriteFile(filepath.Join(dir, stateFile), nil, 0o600)
}

func newInstance(env environment, record *Record, dir string) (*instance, error) {
	i := &instance{environment: env, dir: dir, record: record}
	var err error
	if i.supervisor, err = proc.NewSupervisor(); err != nil {
		return nil, err
	}
	if i.ports, err = newPortPool(); err != nil {
		return nil, err
	}
	for _, name := range []string{"logs", "pki", "volumes"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	if i.control, err = newControlPlane(i); err != nil {
		return nil, err
	}
	if i.kubectl, err = i.control.linkKubectl(); err != nil {
		return nil, err
	}
	i.api, err = newAPIClient(i.control.server, i.control.authority.Certificate, i.control.admin)
	return i, err
}

// write writes a file of the cluster that only its owner may read.
func (i *instance) write(name string, content []byte) error {
	file := filepath.Join(i.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}

func (i *instance) childEnv() []string {
	return append(os.Environ(), marker(i.id))
}

// remember notes a process in the record.
func (i *instance) remember(pid int) error {
	i.recordMu.Lock()
	defer i.recordMu.Unlock()
	i.record.Processes = append(i.record.Processes, proc.Identify(pid))
	return i.record.save()
}

// up starts everything and waits until Pods can run.
func (i *instance) up(ctx context.Context) error {
	control := i.control.roles(i.api)
	var nodes []*realNode
	i.roles = control
	if i.options.Provider == Node {
		var err error
		if nodes, err = newRealNodes(i); err != nil {
			return err
		}
		for _, node := range nodes {
			if err := node.writeConfig(); err != nil {
				return err
			}
			i.nodes = append(i.nodes, node.name)
			i.roles = append(i.roles, node.containerdRole(), node.kubeletRole())
		}
	} else {
		fake, err := i.kwokRole()
		if err != nil {
			return err
		}
		i.nodes = kwokNodeNames(i.options.KwokNodes)
		i.roles = append(i.roles, fake)
	}
	return i.startRoles(ctx, nodes)
}

// startRoles starts the roles, as many at once as do not need each other.
func (i *instance) startRoles(ctx context.Context, nodes []*realNode) error {
	const apiServers, others = 2, 4 // of the roles: etcd and the apiserver, then two more of the control plane
	first := []func() error{func() error { return i.startEach(ctx, i.roles[:apiServers]) }}
	last := slices.Clone(i.roles[apiServers:])
	if i.options.Provider == Node {
		last = last[:others-apiServers]
		for number, node := range nodes {
			containerd, kubelet := i.roles[others+2*number], i.roles[others+2*number+1]
			first = append(first, func() error { return node.startRuntime(ctx, containerd) })
			last = append(last, kubelet)
		}
	}
	if err := together(first...); err != nil {
		return err
	}
	if i.options.Provider == Local {
		if err := createKwokNodes(i.api, i.nodes); err != nil {
			return err
		}
	}
	starts := make([]func() error, len(last))
	for n, role := range last {
		starts[n] = func() error { return i.start(ctx, role) }
	}
	if err := together(starts...); err != nil {
		return err
	}
	if err := poll(ctx, namespaceLimit, "the default namespace is not ready", i.api.namespaceReady); err != nil {
		return err
	}
	return poll(ctx, nodesLimit, "the nodes are not ready", func() error { return i.api.nodesReady(i.nodes) })
}

func (i *instance) startEach(ctx context.Context, roles []*role) error {
	for _, role := range roles {
		if err := i.start(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

// together does several things at once.
func together(jobs ...func() error) error {
	failures := make([]error, len(jobs))
	var running sync.WaitGroup
	for n, job := range jobs {
		running.Go(func() { failures[n] = job() })
	}
	running.Wait()
	return errors.Join(failures...)
}

// down ends everything. The apiserver gets time to write its audit log.
func (i *instance) down() {
	for n := len(i.roles) - 1; n >= 0; n-- {
		switch role := i.roles[n]; role.name {
		case APIServer, Etcd:
			role.stop()
		default:
			role.kill()
		}
	}
}

func (i *instance) info() Info {
	info := Info{
		Kubeconfig: filepath.Join(i.dir, "kubeconfig"),
		Server:     i.control.server,
		Etcd:       i.control.etcdURL(),
		CA:         filepath.Join(i.dir, "pki/ca.crt"),
		Dir:        i.dir,
		Kubectl:    []string{i.kubectl},
		AuditLog:   i.control.auditLog(),
		Volumes:    filepath.Join(i.dir, "volumes"),
		Provider:   i.options.Provider,
		Nodes:      i.nodes,
		Images:     images.Names(),
		PIDs:       map[string]int{},
	}
	for _, role := range i.roles {
		if role.process != nil && !role.process.Ended() {
			info.PIDs[role.name] = role.process.PID
		}
	}
	return info
}

func (i *instance) find(name string) (*role, error) {
	for _, role := range i.roles {
		if role.name == name {
			return role, nil
		}
	}
	return nil, fmt.Errorf("this cluster has no role %q", name)
}
