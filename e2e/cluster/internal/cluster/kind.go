package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"asts.dev/e2e/cluster/internal/images"
)

// runKind has the user's kind make a cluster, and removes it at the end.
func runKind(ctx context.Context, env environment, record *Record) error {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return fmt.Errorf("the provider %s needs kubectl: %w", Kind, err)
	}
	if _, err := exec.LookPath("kind"); err != nil {
		return fmt.Errorf("the provider %s needs kind: %w", Kind, err)
	}
	kubeconfig := filepath.Join(record.Dir, "kubeconfig")
	record.KindCluster = "asts-" + env.id
	if err := record.save(); err != nil {
		return err
	}
	kind := func(args ...string) error {
		command := exec.CommandContext(ctx, "kind", append(args, "--name", record.KindCluster)...)
		command.Stdout, command.Stderr = env.log, env.log
		if err := command.Run(); err != nil {
			return fmt.Errorf("kind %s: %w", strings.Join(args, " "), err)
		}
		return nil
	}
	if err := kind("create", "cluster", "--kubeconfig", kubeconfig, "--wait", "120s"); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(env.programs.images, "*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := kind("load", "image-archive", archive); err != nil {
			return err
		}
	}
	info, err := kindInfo(ctx, kubectl, kubeconfig)
	if err != nil {
		return err
	}
	info.Dir = record.Dir
	if err := json.NewEncoder(os.Stdout).Encode(info); err != nil {
		return err
	}
	return untilTold(ctx, func() error { return drain(os.Stdin) })
}

func kindInfo(ctx context.Context, kubectl, kubeconfig string) (Info, error) {
	ask := func(args ...string) (string, error) {
		output, err := exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig", kubeconfig}, args...)...).Output()
		return strings.TrimSpace(string(output)), err
	}
	server, serverErr := ask("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
	nodes, nodesErr := ask("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}")
	return Info{
		Kubeconfig: kubeconfig, Server: server, Kubectl: []string{kubectl}, Provider: Kind,
		Nodes: strings.Fields(nodes), Images: images.Names(), PIDs: map[string]int{},
	}, errors.Join(serverErr, nodesErr)
}
