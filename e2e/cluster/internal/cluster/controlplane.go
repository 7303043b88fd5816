package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"asts.dev/e2e/cluster/internal/pki"
)

const (
	loopback      = "127.0.0.1"
	serviceRange  = "10.96.0.0/16"
	firstService  = "10.96.0.1"
	realNodeName  = "localhost" // resolves to loopback, for exec and logs
	stockNodeName = "127.0.0.2" // likewise, beside it
	// customisedLabel tells the controller that a node's kubelet follows changes of running Pods.
	customisedLabel = "apps.asts.dev/customised-kubelet=true"
	requestsAtOnce  = 2000
	writesAtOnce    = 1000
	auditBuffer     = 100000
)

// controlPlane has the addresses and credentials of a cluster.
type controlPlane struct {
	instance  *instance
	authority *pki.Authority
	admin     pki.Pair
	server    string
	ports     map[string]int
}

// auditPolicy logs who asked for what and how it ended, once per request.
var auditPolicy = object{
	"apiVersion": "audit.k8s.io/v1",
	"kind":       "Policy",
	"omitStages": []string{"RequestReceived"},
	"rules":      []object{{"level": "Metadata"}},
}

// admissionOn are the admission plugins that are on beside the default ones.
var admissionOn = []string{"OwnerReferencesPermissionEnforcement", "NodeRestriction"}

// portNames are the ports that a control plane needs.
var portNames = []string{Etcd, "etcd-peer", APIServer, ControllerManager, Scheduler}

func newControlPlane(i *instance) (*controlPlane, error) {
	c := &controlPlane{instance: i, ports: map[string]int{}}
	for _, name := range portNames {
		port, err := i.ports.take()
		if err != nil {
			return nil, err
		}
		c.ports[name] = port
	}
	c.server = fmt.Sprintf("https://%s:%d", loopback, c.ports[APIServer])
	if err := c.writeCredentials(); err != nil {
		return nil, err
	}
	policy, err := json.Marshal(auditPolicy)
	if err != nil {
		return nil, err
	}
	return c, i.write("audit-policy.json", policy)
}

func (c *controlPlane) writeCredentials() error {
	authority, err := pki.NewAuthority("asts-cluster")
	if err != nil {
		return err
	}
	c.authority = authority
	serving, err := authority.Issue(pki.Request{CommonName: APIServer, Hosts: []string{
		loopback, "localhost", firstService, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}})
	if err != nil {
		return err
	}
	kubeletClient, err := authority.Issue(pki.Request{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}})
	if err != nil {
		return err
	}
	public, private, err := pki.NewSigningKey()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"pki/ca.crt":                authority.Certificate,
		"pki/apiserver.crt":         serving.Certificate,
		"pki/apiserver.key":         serving.Key,
		"pki/apiserver-kubelet.crt": kubeletClient.Certificate,
		"pki/apiserver-kubelet.key": kubeletClient.Key,
		"pki/service-account.pub":   public,
		"pki/service-account.key":   private,
	}
	for name, content := range files {
		if err := c.instance.write(name, content); err != nil {
			return err
		}
	}
	c.admin, err = c.writeKubeconfig("kubeconfig", pki.Request{CommonName: "asts-admin", Organization: []string{"system:masters"}})
	if err != nil {
		return err
	}
	for _, role := range []string{ControllerManager, Scheduler} {
		if _, err := c.writeKubeconfig(role+".kubeconfig", pki.Request{CommonName: "system:" + role}); err != nil {
			return err
		}
	}
	return nil
}

// writeKubeconfig makes a client certificate and a kubeconfig that holds it.
func (c *controlPlane) writeKubeconfig(name string, request pki.Request) (pki.Pair, error) {
	pair, err := c.authority.Issue(request)
	if err != nil {
		return pki.Pair{}, err
	}
	encode := base64.StdEncoding.EncodeToString
	content, err := json.MarshalIndent(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []object{{"name": "asts", "cluster": object{
			"server": c.server, "certificate-authority-data": encode(c.authority.Certificate)}}},
		"users": []object{{"name": request.CommonName, "user": object{
			"client-certificate-data": encode(pair.Certificate), "client-key-data": encode(pair.Key)}}},
		"contexts": []object{{"name": "asts", "context": object{
			"cluster": "asts", "user": request.CommonName, "namespace": "default"}}},
		"current-context": "asts",
	}, "", "  ")
	if err != nil {
		return pki.Pair{}, err
	}
	return pair, c.instance.write(name, content)
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.instance.dir, name) }

func (c *controlPlane) auditLog() string { return c.path("audit.log") }

// roles are the control plane's programs, in the order of their start.
func (c *controlPlane) roles(api *apiClient) []*role {
	return []*role{
		c.role(Etcd, 2*time.Second, c.etcdArgs(), func() error {
			return healthy(c.etcdURL() + "/health")
		}),
		c.role(APIServer, 10*time.Second, c.apiServerArgs(), api.ready),
		c.role(ControllerManager, 5*time.Second, c.controllerManagerArgs(), c.secureHealth(ControllerManager)),
		c.role(Scheduler, 5*time.Second, c.schedulerArgs(), c.secureHealth(Scheduler)),
	}
}

func (c *controlPlane) role(name string, stopLimit time.Duration, args []string, ready func() error) *role {
	folder := c.instance.programs.kubernetes
	if name == APIServer && c.instance.options.Customised {
		folder = c.instance.programs.customised
	}
	program := filepath.Join(folder, "kubernetes")
	return &role{
		name: name, program: program, stopLimit: stopLimit, ready: ready,
		args: append(args, c.instance.options.Flags[name]...),
	}
}

func (c *controlPlane) secureHealth(name string) func() error {
	return func() error { return healthy(fmt.Sprintf("https://%s:%d/healthz", loopback, c.ports[name])) }
}

func (c *controlPlane) etcdURL() string { return fmt.Sprintf("http://%s:%d", loopback, c.ports[Etcd]) }

func (c *controlPlane) etcdArgs() []string {
	client := c.etcdURL()
	peer := fmt.Sprintf("http://%s:%d", loopback, c.ports["etcd-peer"])
	return []string{
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync",
		"--quota-backend-bytes=" + fmt.Sprint(4<<30),
		"--log-level=warn",
	}
}

func (c *controlPlane) apiServerArgs() []string {
	off := c.instance.options.WithoutAdmission
	on := slices.DeleteFunc(slices.Clone(admissionOn), func(plugin string) bool { return slices.Contains(off, plugin) })
	args := []string{
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", c.ports[APIServer]),
		"--etcd-servers=" + c.etcdURL(),
		"--endpoint-reconciler-type=none", // a loopback address is refused as an endpoint
		"--service-cluster-ip-range=" + serviceRange,
		"--client-ca-file=" + c.path("pki/ca.crt"),
		"--tls-cert-file=" + c.path("pki/apiserver.crt"),
		"--tls-private-key-file=" + c.path("pki/apiserver.key"),
		"--kubelet-client-certificate=" + c.path("pki/apiserver-kubelet.crt"),
		"--kubelet-client-key=" + c.path("pki/apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=Hostname",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("pki/service-account.pub"),
		"--service-account-signing-key-file=" + c.path("pki/service-account.key"),
		"--authorization-mode=Node,RBAC",
		"--allow-privileged",
		"--enable-admission-plugins=" + strings.Join(on, ","),
		"--audit-policy-file=" + c.path("audit-policy.json"),
		"--audit-log-path=" + c.auditLog(),
		"--audit-log-mode=batch",
		fmt.Sprintf("--audit-log-batch-buffer-size=%d", auditBuffer),
		"--audit-log-maxsize=4096",
		fmt.Sprintf("--max-requests-inflight=%d", requestsAtOnce),
		fmt.Sprintf("--max-mutating-requests-inflight=%d", writesAtOnce),
	}
	if len(off) > 0 {
		args = append(args, "--disable-admission-plugins="+strings.Join(off, ","))
	}
	return args
}

// The rate limits of the controller-manager and the scheduler are raised: with
// the default ones a start takes 5 s more and the end of each namespace some.
func (c *controlPlane) controllerManagerArgs() []string {
	kubeconfig := c.path(ControllerManager + ".kubeconfig")
	return []string{
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", c.ports[ControllerManager]),
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + c.path("pki/service-account.key"),
		"--root-ca-file=" + c.path("pki/ca.crt"),
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}
}

func (c *controlPlane) schedulerArgs() []string {
	kubeconfig := c.path(Scheduler + ".kubeconfig")
	return []string{
		"--bind-address=" + loopback,
		fmt.Sprintf("--secure-port=%d", c.ports[Scheduler]),
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}
}

// linkKubectl makes a kubectl in the cluster's folder.
func (c *controlPlane) linkKubectl() (string, error) {
	link := c.path("bin/kubectl")
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return "", err
	}
	return link, os.Symlink(filepath.Join(c.instance.programs.kubernetes, "kubernetes"), link)
}
