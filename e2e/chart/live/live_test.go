// Package live installs and uninstalls the charts on a real apiserver, with Helm's own library.
package live

import (
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
)

const (
	definition = "advancedstatefulsets.apps.asts.dev"
	set        = `{"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "metadata": {"name": "web"}, "spec": {
		"selector": {"matchLabels": {"app": "web"}},
		"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}}}}`
)

// owned is a Pod that goes with its owner.
func owned(name, apiVersion, kind, owner, uid string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q, "ownerReferences": [
		{"apiVersion": %q, "kind": %q, "name": %q, "uid": %q}]}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}}`,
		name, apiVersion, kind, owner, uid)
}

// stock is what must outlive the charts: kinds and names.
var stock = [][2]string{{"crd", definition}, {"asts", "web"}, {"pod", "web-0"}}

func (c *cluster) uids() []string {
	c.t.Helper()
	var uids []string
	for _, what := range stock {
		uid := c.uid(what[0], what[1])
		if uid == "" {
			c.t.Fatalf("there is no %s %s", what[0], what[1])
		}
		uids = append(uids, uid)
	}
	return uids
}

// collected waits until the garbage collector has done what was due before: another Pod, whose
// owner goes now, is gone.
func (c *cluster) collected() {
	c.t.Helper()
	c.kubectl("create", "configmap", "owner")
	c.create(owned("collected", "v1", "ConfigMap", "owner", c.uid("configmap", "owner")), "create", "-f", "-")
	c.kubectl("delete", "configmap", "owner")
	c.eventually("the garbage collector works", func() bool { return c.uid("pod", "collected") == "" })
}

func (c *cluster) mustHaveLeft(before []string, after string) {
	c.t.Helper()
	c.collected()
	if now := c.uids(); strings.Join(now, " ") != strings.Join(before, " ") {
		c.t.Errorf("%s the resource, the set and the Pod are others: %v, before %v", after, now, before)
	}
}

func TestTheChartsOnARealApiserver(t *testing.T) {
	c := start(t)
	h := c.helm()
	step := func(name string, do func()) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { c.t, h.t = t, t; do() }) {
			t.FailNow()
		}
	}

	step("a restricted namespace admits the manager", func() {
		c.kubectl("apply", "-k", "config/namespace")
		h.install("asts-crd", resource, nil)
		h.install("asts", manager, nil)
		if got := c.kubectl("get", "deployment", "asts-manager", "-n", namespace, "-o", "jsonpath={.status.readyReplicas}"); got != "2" {
			t.Errorf("%s managers are ready", got)
		}
	})
	step("it has its rights everywhere", func() {
		for _, right := range [][]string{
			{"create", "pods", "-n", "default"},
			{"update", "advancedstatefulsets.apps.asts.dev", "--subresource=status", "-n", "default"},
			{"watch", "nodes"},
			{"update", "leases.coordination.k8s.io/asts-manager", "-n", namespace},
		} {
			if !c.may(right...) {
				c.t.Errorf("the manager may not %v", right)
			}
		}
		if c.may("get", "secrets", "-n", "default") {
			c.t.Error("the manager may read secrets")
		}
	})

	var before []string
	step("sets can be made", func() {
		c.create(set, "create", "-f", "-")
		c.create(owned("web-0", "apps.asts.dev/v1beta1", "AdvancedStatefulSet", "web", c.uid("asts", "web")), "create", "-f", "-")
		before = c.uids()
	})
	step("an upgrade narrows it to a namespace", func() {
		c.kubectl("create", "namespace", "team")
		h.upgrade("asts-crd", resource, nil)
		h.upgrade("asts", manager, values{"namespaces": []any{"team"}, "replicas": 1, "userRoles": values{"create": false}})
		if !c.may("create", "pods", "-n", "team") || c.may("create", "pods", "-n", "default") || c.may("watch", "nodes") {
			c.t.Error("the manager's rights are not those of one namespace")
		}
		c.mustHaveLeft(before, "after an upgrade")
	})
	step("uninstalling the manager leaves sets and Pods", func() {
		h.uninstall("asts")
		if got := c.kubectl("get", "deployments,serviceaccounts,services,roles,rolebindings,poddisruptionbudgets", "-A", "-o", "name",
			"-l", "app.kubernetes.io/instance=asts"); got != "" {
			c.t.Errorf("left are %s", got)
		}
		c.mustHaveLeft(before, "after the manager's chart")
	})
	step("uninstalling the resource leaves it, sets and Pods", func() {
		h.uninstall("asts-crd")
		c.mustHaveLeft(before, "after the resource's chart")
	})
	step("both are installed again beside what is there", func() {
		h.install("asts-crd", resource, nil)
		h.install("asts", manager, nil)
		c.mustHaveLeft(before, "after a second installation")
	})
	step("a release of another name takes the resource over when told to", func() {
		h.uninstall("asts-crd")
		err := h.tryInstall("other", resource, nil, func(*action.Install) {})
		if err == nil || !strings.Contains(err.Error(), "ownership") {
			c.t.Errorf("without being told to: %v", err)
		}
		if err := h.tryInstall("other", resource, nil, func(install *action.Install) { install.TakeOwnership = true }); err != nil {
			c.t.Error(err)
		}
		c.mustHaveLeft(before, "after another release took the resource over")
	})
}

func TestChartsTakeOverWhatKubectlInstalled(t *testing.T) {
	c := start(t)
	h := c.helm()
	c.kubectl("apply", "-f", "crds/advancedstatefulsets.yaml")
	c.kubectl("apply", "-k", "config/default")
	c.eventually("sets can be asked for", func() bool { _, err := c.try("", "get", "asts"); return err == nil })
	c.create(set, "create", "-f", "-")
	c.create(owned("web-0", "apps.asts.dev/v1beta1", "AdvancedStatefulSet", "web", c.uid("asts", "web")), "create", "-f", "-")
	before := c.uids()

	// For the apiserver the fields are kubectl's.
	take := func(install *action.Install) { install.TakeOwnership, install.ForceConflicts = true, true }
	if err := h.tryInstall("asts-crd", resource, nil, take); err != nil {
		t.Fatal(err)
	}
	c.mustHaveLeft(before, "after the chart took the resource over")
	h.uninstall("asts-crd")
	c.mustHaveLeft(before, "after the chart of the resource went")
	// With the namespace.
	c.kubectl("delete", "-k", "config/default")
	c.mustHaveLeft(before, "after the manager went as it had come")
}
