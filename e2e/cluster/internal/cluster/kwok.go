package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/deleter"
	"asts.dev/e2e/cluster/internal/proc"
	"asts.dev/e2e/cluster/internal/stages"
)

const maxKwokNodes = 1000

func kwokNodeNames(count int) []string {
	names := make([]string, count)
	for n := range names {
		names[n] = fmt.Sprintf("kwok-%d", n)
	}
	return names
}

// kwokNode is a fake node with room for whatever tests put on it.
func kwokNode(name string, number int) object {
	room := object{"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "1000"}
	return object{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata": object{
			"name":        name,
			"annotations": object{"kwok.x-k8s.io/node": "fake"},
			"labels": object{
				"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, "type": "kwok",
				"topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", number%3),
			},
		},
		"status": object{
			"capacity":    room,
			"allocatable": room,
			"addresses": []object{
				{"type": "InternalIP", "address": fmt.Sprintf("10.127.%d.%d", number/250, number%250+1)},
				{"type": "Hostname", "address": name},
			},
			"nodeInfo": object{
				"architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": build.KubernetesVersion,
				"containerRuntimeVersion": "kwok://0.8.0", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
				"machineID": "", "osImage": "kwok", "systemUUID": "",
			},
		},
	}
}

// kwokRole is the program that plays the kubelets.
func (i *instance) kwokRole() (*role, error) {
	config, err := stages.Config()
	if err != nil {
		return nil, err
	}
	if err := i.write("kwok.yaml", config); err != nil {
		return nil, err
	}
	port, err := i.ports.take()
	if err != nil {
		return nil, err
	}
	args := []string{
		"--kubeconfig=" + filepath.Join(i.dir, "kubeconfig"),
		"--config=" + filepath.Join(i.dir, "kwok.yaml"),
		fmt.Sprintf("--server-address=%s:%d", loopback, port),
	}
	return &role{
		name: Kwok, program: filepath.Join(i.programs.kwok, "kwok"), stopLimit: 2 * time.Second,
		args:    append(args, i.options.Flags[Kwok]...),
		prepare: i.dropLeases,
		started: i.startDeleter,
		ready:   func() error { return healthy(fmt.Sprintf("http://%s:%d/healthz", loopback, port)) },
	}, nil
}

// startDeleter starts what removes deleted Pods beside a new kwok. It ends with
// that kwok, and removes nothing while that one is paused.
func (i *instance) startDeleter(ctx context.Context, kwok *proc.Process) error {
	log, err := os.OpenFile(i.logFile("kwok-deleter"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-kwok.Done()
		cancel()
	}()
	identity := proc.Identify(kwok.PID)
	remover := deleter.New(deleter.Config{
		Server: i.api.server, TLS: i.api.tls, Log: log,
		Paused: func() bool { return kwok.Ended() || identity.Stopped() },
	})
	go func() {
		defer log.Close()
		remover.Run(ctx)
	}()
	return nil
}

// dropLeases removes the leases of an earlier kwok, which a new one would wait
// for. Without an apiserver there is nothing to be done, and it does wait.
func (i *instance) dropLeases() error {
	if i.api.ready() != nil {
		return nil
	}
	return i.api.do(http.MethodDelete, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", nil, nil)
}

func createKwokNodes(api *apiClient, names []string) error {
	for number, name := range names {
		if err := api.do(http.MethodPost, "/api/v1/nodes", kwokNode(name, number), nil); err != nil {
			return err
		}
	}
	return nil
}
