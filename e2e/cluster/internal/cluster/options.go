// Package cluster starts, supervises and removes clusters.
package cluster

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"asts.dev/e2e/cluster/internal/build"
)

// The providers.
const (
	Local = "local" // a control plane, and nodes of kwok
	Node  = "node"  // a control plane, and this machine as its node
	Kind  = "kind"  // the user's kind
)

// Options say which cluster to start.
type Options struct {
	Provider string
	// Dir is the cluster's folder; a temporary one when empty.
	Dir string
	// Keep leaves a temporary folder at the end.
	Keep      bool
	KwokNodes int
	// Customised runs the customised apiserver, and on a real node the
	// customised kubelet.
	Customised bool
	// StockNode adds a second real node with a stock kubelet.
	StockNode bool
	// Flags are added to those of a role.
	Flags map[string][]string
	// WithoutAdmission are admission plugins to switch off.
	WithoutAdmission []string
}

// The roles.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
	Kubelet           = "kubelet"
	Containerd        = "containerd"
	StockKubelet      = "kubelet-stock" // of a second node in a customised cluster
	StockContainerd   = "containerd-stock"
)

var allRoles = []string{Etcd, APIServer, ControllerManager, Scheduler, Kwok, Kubelet, Containerd, StockKubelet, StockContainerd}

// AddFlag takes ROLE:FLAG=VALUE.
func (o *Options) AddFlag(setting string) error {
	role, flag, found := strings.Cut(setting, ":")
	if !found || flag == "" || !slices.Contains(allRoles, role) {
		return fmt.Errorf("%q is not ROLE:FLAG=VALUE with a role of %s", setting, strings.Join(allRoles, ", "))
	}
	if o.Flags == nil {
		o.Flags = map[string][]string{}
	}
	o.Flags[role] = append(o.Flags[role], "--"+strings.TrimLeft(flag, "-"))
	return nil
}

// Check refuses options that no cluster can have.
func (o *Options) Check() error {
	if !slices.Contains([]string{Local, Node, Kind}, o.Provider) {
		return fmt.Errorf("provider %q is none of %s, %s, %s", o.Provider, Local, Node, Kind)
	}
	if o.KwokNodes < 1 || o.KwokNodes > maxKwokNodes {
		return fmt.Errorf("%d kwok nodes: must be from 1 to %d", o.KwokNodes, maxKwokNodes)
	}
	if o.Provider == Kind && o.Customised {
		return fmt.Errorf("the provider %s has no customised form", Kind)
	}
	if o.StockNode && (o.Provider != Node || !o.Customised) {
		return errors.New("a stock node is added to a customised cluster of the provider node alone")
	}
	if o.Provider == Kind && (len(o.Flags) > 0 || len(o.WithoutAdmission) > 0) {
		return fmt.Errorf("the provider %s takes no flags for roles and no admission plugins", Kind)
	}
	return nil
}

// Info is what a started cluster prints: one line of JSON.
type Info struct {
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	Etcd       string         `json:"etcd"`
	CA         string         `json:"ca"`
	Dir        string         `json:"dir"`
	Kubectl    []string       `json:"kubectl"`
	AuditLog   string         `json:"auditLog"`
	Volumes    string         `json:"volumes"`
	Provider   string         `json:"provider"`
	Nodes      []string       `json:"nodes"`
	Images     []string       `json:"images"`
	PIDs       map[string]int `json:"pids"`
}

// programs are the folders of what a cluster runs.
type programs struct {
	kubernetes, kwok, containerd, images string
	// customised is empty where a cluster is all stock.
	customised string
}

// Build makes what a provider needs.
func Build(builder *build.Builder, provider string, customised bool) (programs, error) {
	var made programs
	if provider == Node {
		if err := checkNode(builder); err != nil {
			return made, err
		}
	}
	components := map[*string]func() (string, error){&made.images: func() (string, error) { return buildImages(builder) }}
	if provider != Kind {
		components[&made.kubernetes] = func() (string, error) { return builder.Ensure(build.Kubernetes) }
	}
	if customised {
		components[&made.customised] = builder.EnsureCustomised
	}
	switch provider {
	case Local:
		components[&made.kwok] = func() (string, error) { return builder.Ensure(build.Kwok) }
	case Node:
		components[&made.containerd] = func() (string, error) { return builder.Ensure(build.Containerd) }
	}
	for target, make := range components {
		dir, err := make()
		if err != nil {
			return programs{}, err
		}
		*target = dir
	}
	return made, nil
}

// environment is everything that a cluster is started with.
type environment struct {
	options  Options
	id       string
	builder  *build.Builder
	programs programs
	log      io.Writer
}
