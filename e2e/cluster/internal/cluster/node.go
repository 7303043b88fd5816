package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/images"
	"asts.dev/e2e/cluster/internal/pki"
	"asts.dev/e2e/cluster/internal/proc"
)

// realNode is this machine as a node: containerd and a kubelet, with folders,
// cgroups and a bridge of their own, so that there may be several.
type realNode struct {
	instance *instance
	// name is the Node's, and resolves to address, for exec and logs.
	name, address string
	// suffix tells the second node's files and roles from the first one's.
	suffix string
	// kubernetes is the folder of the kubelet's program.
	kubernetes  string
	labels      string
	bridge      string
	cgroup      string
	runc        string
	snapshotter string
	subnet      string
	kubeletPort int
	healthPort  int
}

// checkNode refuses the provider node where it cannot work, and gets what it
// needs beside the Go modules.
func checkNode(builder *build.Builder) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("the provider %s runs containers on this machine and must be started by root", Node)
	}
	if _, err := exec.LookPath("runc"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the provider %s needs the program runc: install it", Node)
	}
	fmt.Fprintln(builder.Log, "asts-cluster: installing the Debian package runc, with apt-get")
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "runc"}} {
		if output, err := exec.Command("apt-get", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, output)
		}
	}
	return nil
}

// newRealNodes makes the nodes that the options ask for: one, or a customised and a stock one.
func newRealNodes(i *instance) ([]*realNode, error) {
	first := &realNode{instance: i, name: realNodeName, address: loopback, kubernetes: i.programs.kubernetes}
	if i.options.Customised {
		first.kubernetes, first.labels = i.programs.customised, customisedLabel
	}
	nodes := []*realNode{first}
	if i.options.StockNode {
		nodes = append(nodes, &realNode{
			instance: i, name: stockNodeName, address: stockNodeName, suffix: "-stock", kubernetes: i.programs.kubernetes})
	}
	for _, n := range nodes {
		if err := n.prepare(); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// prepare makes the folders, and notes them in the record first.
func (n *realNode) prepare() error {
	i := n.instance
	var err error
	if n.runc, err = exec.LookPath("runc"); err != nil {
		return err
	}
	n.bridge = fmt.Sprintf("asts-%s%.2s", i.id, n.suffix) // an interface's name has 15 bytes at most
	n.cgroup = "asts-" + i.id + n.suffix
	i.record.RunDir = "/run/asts-" + i.id // short: the path of a socket has 108 bytes at most
	i.record.Bridges = append(i.record.Bridges, n.bridge)
	i.record.Cgroups = append(i.record.Cgroups, n.cgroup)
	if err := i.record.save(); err != nil {
		return err
	}
	for _, dir := range []string{n.run("cni"), n.run("kubelet"), n.path("containerd")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := makeCgroup(n.cgroup); err != nil {
		return err
	}
	if n.subnet, err = i.ports.takeSubnet(); err != nil {
		return err
	}
	for _, port := range []*int{&n.kubeletPort, &n.healthPort} {
		if *port, err = i.ports.take(); err != nil {
			return err
		}
	}
	n.snapshotter = snapshotterFor(n.path("containerd"))
	return nil
}

// folder holds the node's own files below the cluster's folder.
func (n *realNode) folder() string { return "node" + n.suffix }

func (n *realNode) run(name string) string {
	return filepath.Join(n.instance.record.RunDir, n.folder(), name)
}

func (n *realNode) path(name string) string {
	return filepath.Join(n.instance.dir, n.folder(), name)
}

func (n *realNode) socket() string { return n.run("containerd.sock") }

func (n *realNode) program(name string) string {
	return filepath.Join(n.instance.programs.containerd, name)
}

// takeSubnet finds addresses for Pods that no interface of the machine and no
// other cluster has.
func (p *portPool) takeSubnet() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	const first, last = 200, 250
	for second := first; second < last; second++ {
		for third := range 256 {
			_, candidate, err := net.ParseCIDR(fmt.Sprintf("10.%d.%d.0/24", second, third))
			if err != nil {
				return "", err
			}
			if overlaps(candidate, addresses) {
				continue
			}
			held, err := p.hold(fmt.Sprintf("subnet-%d-%d", second, third))
			if err != nil {
				return "", err
			}
			if held {
				return candidate.String(), nil
			}
		}
	}
	return "", errors.New("no free addresses for Pods")
}

func overlaps(subnet *net.IPNet, addresses []net.Addr) bool {
	for _, address := range addresses {
		if other, ok := address.(*net.IPNet); ok && (subnet.Contains(other.IP) || other.Contains(subnet.IP)) {
			return true
		}
	}
	return false
}

// snapshotterFor is overlayfs where the file system takes it, and else one that
// copies.
func snapshotterFor(dir string) string {
	probe, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return "native"
	}
	defer os.RemoveAll(probe)
	at := func(name string) string { return filepath.Join(probe, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			return "native"
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := syscall.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return "native"
	}
	syscall.Unmount(at("merged"), 0)
	return "overlayfs"
}

// containerdConfig is TOML; %q of a path without odd characters is a string of
// both languages.
func (n *realNode) containerdConfig() string {
	return fmt.Sprintf(`version = 3
root = %[1]q
state = %[2]q
imports = []
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = %[3]q

[ttrpc]
  address = %[9]q

[plugins."io.containerd.internal.v1.opt"]
  path = %[4]q

[plugins."io.containerd.metadata.v1.bolt"]
  no_sync = true

[plugins."io.containerd.cri.v1.images"]
  snapshotter = %[5]q
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %[6]q

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = %[10]q
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = %[7]q
      Root = %[11]q
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%[8]q]
    conf_dir = %[12]q
`,
		n.path("containerd"), n.run("containerd"), n.socket(), n.path("containerd-opt"), n.snapshotter, images.Pause,
		n.runc, n.instance.programs.containerd, n.socket()+".ttrpc", n.program("containerd-shim-runc-v2"), n.run("runc"), n.path("cni"))
}

func (n *realNode) networkConfig() object {
	return object{
		"cniVersion": "1.0.0",
		"name":       "asts",
		"plugins": []object{{
			"type": "bridge", "bridge": n.bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
			"ipam": object{
				"type": "host-local", "dataDir": n.run("cni"),
				"ranges": [][]object{{{"subnet": n.subnet}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

func (n *realNode) kubeletConfig() object {
	never := "0%"
	return object{
		"apiVersion":                  "kubelet.config.k8s.io/v1beta1",
		"kind":                        "KubeletConfiguration",
		"address":                     n.address,
		"port":                        n.kubeletPort,
		"healthzBindAddress":          loopback,
		"healthzPort":                 n.healthPort,
		"containerRuntimeEndpoint":    "unix://" + n.socket(),
		"tlsCertFile":                 n.path("pki/kubelet.crt"),
		"tlsPrivateKeyFile":           n.path("pki/kubelet.key"),
		"authentication":              object{"x509": object{"clientCAFile": n.instance.control.path("pki/ca.crt")}, "anonymous": object{"enabled": false}},
		"authorization":               object{"mode": "Webhook"},
		"failCgroupV1":                false,
		"cgroupDriver":                "cgroupfs",
		"cgroupRoot":                  "/" + n.cgroup,
		"cgroupsPerQOS":               true, // a resize of a container needs it
		"failSwapOn":                  false,
		"resolvConf":                  "",
		"makeIPTablesUtilChains":      false,
		"syncFrequency":               "10s",
		"podLogsDir":                  n.path("pod-logs"),
		"volumePluginDir":             n.path("volume-plugins"),
		"registryPullQPS":             0,
		"eventRecordQPS":              0,
		"kubeAPIQPS":                  200,
		"kubeAPIBurst":                400,
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"evictionHard": object{
			"memory.available": never, "nodefs.available": never, "nodefs.inodesFree": never,
			"imagefs.available": never, "imagefs.inodesFree": never,
		},
	}
}

func (n *realNode) writeConfig() error {
	serving, err := n.instance.control.authority.Issue(pki.Request{CommonName: n.name, Hosts: []string{n.name, n.address}})
	if err != nil {
		return err
	}
	network, err := json.Marshal(n.networkConfig())
	if err != nil {
		return err
	}
	kubelet, err := json.MarshalIndent(n.kubeletConfig(), "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"containerd.toml":   []byte(n.containerdConfig()),
		"cni/asts.conflist": network,
		"kubelet.json":      kubelet,
		"pki/kubelet.crt":   serving.Certificate,
		"pki/kubelet.key":   serving.Key,
	}
	for name, content := range files {
		if err := n.instance.write(filepath.Join(n.folder(), name), content); err != nil {
			return err
		}
	}
	_, err = n.instance.control.writeKubeconfig(filepath.Join(n.folder(), "kubelet.kubeconfig"), pki.Request{
		CommonName: "system:node:" + n.name, Organization: []string{"system:nodes"}})
	return err
}

func (n *realNode) containerdRole() *role {
	return &role{
		name: Containerd + n.suffix, program: n.program("containerd"), stopLimit: 5 * time.Second,
		args:  append([]string{"--config=" + n.path("containerd.toml")}, n.instance.options.Flags[Containerd]...),
		ready: func() error { return accepts(n.socket()) },
	}
}

func (n *realNode) kubeletRole() *role {
	args := []string{
		"--config=" + n.path("kubelet.json"),
		"--kubeconfig=" + n.path("kubelet.kubeconfig"),
		"--hostname-override=" + n.name,
		"--root-dir=" + n.run("kubelet"),
		"--cert-dir=" + n.path("pki"),
	}
	if n.labels != "" {
		args = append(args, "--node-labels="+n.labels)
	}
	return &role{
		name: Kubelet + n.suffix, calledAs: Kubelet, program: filepath.Join(n.kubernetes, "kubernetes"), stopLimit: 5 * time.Second,
		args:  append(args, n.instance.options.Flags[Kubelet]...),
		ready: func() error { return healthy(fmt.Sprintf("http://%s:%d/healthz", loopback, n.healthPort)) },
	}
}

// importImages hands the archives of the test images to containerd.
func (n *realNode) importImages() error {
	archives, err := filepath.Glob(filepath.Join(n.instance.programs.images, "*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := n.importImage(archive); err != nil {
			return fmt.Errorf("image %s: %w\n%s", archive, err, n.instance.logTail("ctr"))
		}
	}
	return nil
}

func (n *realNode) importImage(archive string) error {
	log, err := os.OpenFile(n.instance.logFile("ctr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	return n.instance.supervisor.Run(proc.Spec{
		Path: n.program("ctr"),
		Args: []string{"--address", n.socket(), "--namespace", "k8s.io", "images", "import", "--snapshotter", n.snapshotter, archive},
		Env:  n.instance.childEnv(), Output: log, ParentDeath: syscall.SIGKILL,
	})
}

// startRuntime starts containerd and gives it the images.
func (n *realNode) startRuntime(ctx context.Context, containerd *role) error {
	if err := n.instance.start(ctx, containerd); err != nil {
		return err
	}
	return n.importImages()
}
