package live

import (
	"log/slog"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
)

const (
	root      = "../../.."
	manager   = root + "/config/chart/asts"
	resource  = root + "/config/chart/asts-crd"
	namespace = "asts-system"
)

type values = map[string]any

// Helm tells of each link that it follows.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

// helm does what the program of that name does.
type helm struct {
	t      *testing.T
	config *action.Configuration
}

const helmLimit = time.Minute

func (c *cluster) helm() *helm {
	c.t.Helper()
	settings := cli.New()
	settings.KubeConfig = c.info.Kubeconfig
	settings.SetNamespace(namespace)
	config := action.NewConfiguration()
	if err := config.Init(settings.RESTClientGetter(), namespace, "secret"); err != nil {
		c.t.Fatal(err)
	}
	return &helm{t: c.t, config: config}
}

func (h *helm) load(path string) *v2.Chart {
	h.t.Helper()
	c, err := loader.Load(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// tryInstall is `helm install NAME PATH --wait`, with the options that change gives.
func (h *helm) tryInstall(name, path string, with values, change func(*action.Install)) error {
	h.t.Helper()
	install := action.NewInstall(h.config)
	install.ReleaseName, install.Namespace = name, namespace
	install.WaitStrategy, install.Timeout = kube.StatusWatcherStrategy, helmLimit
	change(install)
	_, err := install.Run(h.load(path), with)
	return err
}

func (h *helm) install(name, path string, with values) {
	h.t.Helper()
	if err := h.tryInstall(name, path, with, func(*action.Install) {}); err != nil {
		h.t.Fatalf("install %s: %v", name, err)
	}
}

// upgrade is `helm upgrade NAME PATH --wait`.
func (h *helm) upgrade(name, path string, with values) {
	h.t.Helper()
	upgrade := action.NewUpgrade(h.config)
	upgrade.Namespace = namespace
	upgrade.WaitStrategy, upgrade.Timeout = kube.StatusWatcherStrategy, helmLimit
	if _, err := upgrade.Run(name, h.load(path), with); err != nil {
		h.t.Fatalf("upgrade %s: %v", name, err)
	}
}

// uninstall is `helm uninstall NAME --wait`.
func (h *helm) uninstall(name string) {
	h.t.Helper()
	uninstall := action.NewUninstall(h.config)
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, helmLimit
	if _, err := uninstall.Run(name); err != nil {
		h.t.Fatalf("uninstall %s: %v", name, err)
	}
}
