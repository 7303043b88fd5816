package chart

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Labels that Helm's users expect and that kustomize's do not have.
var labelsOfHelm = []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}

// withoutHelm removes, at any depth, what tells a chart's objects from the same ones of kustomize.
func withoutHelm(what any) any {
	switch what := what.(type) {
	case map[string]any:
		for _, label := range labelsOfHelm {
			delete(what, label)
		}
		// The default for an image with a tag.
		if what["imagePullPolicy"] == "IfNotPresent" {
			delete(what, "imagePullPolicy")
		}
		for _, value := range what {
			withoutHelm(value)
		}
	case []any:
		for _, value := range what {
			withoutHelm(value)
		}
	}
	return what
}

func mustBeSame(t *testing.T, charts, bases objects) {
	t.Helper()
	for id, want := range bases {
		got := charts.one(t, id)
		withoutHelm(map[string]any(got))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the chart has\n%s\nand kustomize\n%s", show(t, got), show(t, want))
		}
	}
	for id := range charts {
		if _, ok := bases[id]; !ok {
			t.Errorf("the chart alone has %s", id)
		}
	}
}

func TestDefaultsMakeWhatKustomizeMakes(t *testing.T) {
	bases := kustomize(t, root+"/config/default")
	// Helm makes namespaces by --create-namespace.
	delete(bases, "Namespace <nil>/asts-system")
	mustBeSame(t, managerOf(t, nil), bases)
}

func TestMonitoringIsThatOfKustomize(t *testing.T) {
	with := values{"metrics": values{"serviceMonitor": values{"enabled": true}, "rules": values{"enabled": true}}}
	charts := managerOf(t, with)
	for id := range managerOf(t, nil) {
		delete(charts, id)
	}
	mustBeSame(t, charts, kustomize(t, root+"/config/monitoring"))
}

const managerRole = "Role a/asts-manager"

func TestNamespacesGetARoleEachAndNothingOfTheCluster(t *testing.T) {
	charts := managerOf(t, values{"namespaces": []any{"a", "b"}, "userRoles": values{"create": false}})
	var want []any
	clusterRole := kustomize(t, root+"/config/rbac").one(t, "ClusterRole <nil>/asts-manager")
	for _, rule := range clusterRole.at(t, "rules").([]any) {
		resources := rule.(map[string]any)["resources"].([]any)
		if !slices.Contains(resources, "nodes") {
			want = append(want, rule)
		} else if len(resources) > 1 {
			t.Errorf("the rule for nodes speaks of others too, which a Role would lack: %v", resources)
		}
	}
	for _, id := range []string{managerRole, "Role b/asts-manager"} {
		if got := charts.one(t, id).at(t, "rules"); !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%s has\n%s\nwant\n%s", id, show(t, got), show(t, want))
		}
	}
	binding := charts.one(t, "RoleBinding b/asts-manager")
	subject := map[string]any{"kind": "ServiceAccount", "name": "asts-manager", "namespace": namespace}
	if got := binding.at(t, "subjects", 0); !reflect.DeepEqual(got, any(subject)) {
		t.Errorf("the RoleBinding is for %v", got)
	}
	for id, o := range charts {
		if o.metadata()["namespace"] == nil {
			t.Errorf("%s belongs to the cluster", id)
		}
	}
	arguments := argumentsOf(t, charts)
	if !slices.Contains(arguments, "--namespace=a") || !slices.Contains(arguments, "--namespace=b") {
		t.Errorf("the manager's arguments are %q", arguments)
	}
}

func container(t *testing.T, all objects) object {
	t.Helper()
	return all.one(t, "Deployment asts-system/asts-manager").at(t, "spec", "template", "spec", "containers", 0).(map[string]any)
}

func argumentsOf(t *testing.T, all objects) []string {
	t.Helper()
	var arguments []string
	for _, argument := range container(t, all).at(t, "args").([]any) {
		arguments = append(arguments, argument.(string))
	}
	return arguments
}

// flagsOfTheManager reads the names of the fields that clap makes flags of.
func flagsOfTheManager(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile(root + "/src/bin/asts-manager.rs")
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(source), "struct Arguments {")
	fields, _, _ = strings.Cut(fields, "\n}")
	var flags []string
	for _, field := range regexp.MustCompile(`(?m)^    (\w+): `).FindAllStringSubmatch(fields, -1) {
		flags = append(flags, "--"+strings.ReplaceAll(field[1], "_", "-"))
	}
	return flags
}

func TestEachFlagOfTheManagerHasAValue(t *testing.T) {
	arguments := argumentsOf(t, managerOf(t, values{
		"namespaces":                []any{"a"},
		"inPlace":                   "env,probes",
		"injectorAnnotations":       []any{"mesh.example.com/*"},
		"leaderElection":            values{"name": "shared", "namespace": "leases", "leaseDurationSeconds": 30},
		"log":                       values{"format": "text", "level": "warn,asts=debug"},
		"bindAddress":               "[::]",
		"podDisruptionBudget":       values{"maxUnavailable": "50%"},
		"topologySpreadConstraints": []any{},
	}))
	want := []string{
		"--leader-elect=true", "--metrics-address=[::]:8080", "--health-address=[::]:8081", "--log-format=text",
		"--lease-name=shared", "--lease-namespace=leases", "--lease-duration=30", "--log-level=warn,asts=debug",
		"--in-place=env,probes", "--namespace=a", "--injector-annotations=mesh.example.com/*",
	}
	if !slices.Equal(arguments, want) {
		t.Errorf("the arguments are\n%q\nwant\n%q", arguments, want)
	}
	// In the Pod it is the service account that speaks.
	got := []string{"--kubeconfig"}
	for _, argument := range arguments {
		flag, _, _ := strings.Cut(argument, "=")
		got = append(got, flag)
	}
	flags := flagsOfTheManager(t)
	slices.Sort(got)
	slices.Sort(flags)
	if !slices.Equal(got, flags) {
		t.Errorf("the chart gives %q, the manager has %q", got, flags)
	}
}

func TestTheLeaseOfTheFlagsIsTheOneOfTheRole(t *testing.T) {
	for _, c := range []struct {
		release, lease, flag string
		election             values
	}{
		{"asts", "asts-manager", "", values{}},
		{"blue", "blue-manager", "--lease-name=blue-manager", values{}},
		{"blue", "asts-manager", "", values{"name": "asts-manager"}},
	} {
		all := release{name: c.release, values: values{"leaderElection": c.election}}.render(t, load(t, manager))
		name := c.release + "-manager"
		role := all.one(t, "Role asts-system/"+name+"-leader-election")
		if got := role.at(t, "rules", 1, "resourceNames", 0); got != c.lease {
			t.Errorf("%s: the Role is for the Lease %v, want %s", c.release, got, c.lease)
		}
		arguments := fmt.Sprint(all.one(t, "Deployment asts-system/"+name).at(t, "spec", "template", "spec", "containers", 0, "args"))
		if has := strings.Contains(arguments, "--lease-name"); has != (c.flag != "") || !strings.Contains(arguments, c.flag) {
			t.Errorf("%s: the arguments are %s, want %q in them", c.release, arguments, c.flag)
		}
	}
}

func TestValuesOfThePodReachIt(t *testing.T) {
	all := managerOf(t, values{
		"image":             values{"repository": "mirror.example.com/asts-manager", "digest": "sha256:" + strings.Repeat("0a", 32), "pullPolicy": "Always"},
		"imagePullSecrets":  []any{values{"name": "mirror"}},
		"replicas":          3,
		"runAsUser":         1000680000,
		"resources":         values{"limits": values{"memory": "1Gi"}},
		"nodeSelector":      values{"pool": "system"},
		"tolerations":       []any{values{"key": "system", "operator": "Exists"}},
		"affinity":          values{"nodeAffinity": values{}},
		"priorityClassName": "system-cluster-critical",
		"podAnnotations":    values{"note": "yes"},
		"podLabels":         values{"team": "db"},
	})
	deployment := all.one(t, "Deployment asts-system/asts-manager")
	for _, want := range []struct {
		value any
		path  []any
	}{
		{3.0, []any{"spec", "replicas"}},
		{"yes", []any{"spec", "template", "metadata", "annotations", "note"}},
		{"db", []any{"spec", "template", "metadata", "labels", "team"}},
	} {
		if got := deployment.at(t, want.path...); got != want.value {
			t.Errorf("%v is %v, want %v", want.path, got, want.value)
		}
	}
	pod := object(deployment.at(t, "spec", "template", "spec").(map[string]any))
	for _, want := range []struct {
		value any
		path  []any
	}{
		{"mirror.example.com/asts-manager@sha256:" + strings.Repeat("0a", 32), []any{"containers", 0, "image"}},
		{"Always", []any{"containers", 0, "imagePullPolicy"}},
		{"1Gi", []any{"containers", 0, "resources", "limits", "memory"}},
		{"50m", []any{"containers", 0, "resources", "requests", "cpu"}},
		{"mirror", []any{"imagePullSecrets", 0, "name"}},
		{1000680000.0, []any{"securityContext", "runAsUser"}},
		{"system", []any{"nodeSelector", "pool"}},
		{"system", []any{"tolerations", 0, "key"}},
		{"system-cluster-critical", []any{"priorityClassName"}},
	} {
		if got := pod.at(t, want.path...); got != want.value {
			t.Errorf("%v is %v, want %v", want.path, got, want.value)
		}
	}
	pod.at(t, "affinity", "nodeAffinity")
}

func TestTheClusterMayChooseTheUser(t *testing.T) {
	context := managerOf(t, values{"runAsUser": nil}).one(t, "Deployment asts-system/asts-manager").
		at(t, "spec", "template", "spec", "securityContext").(map[string]any)
	if len(context) != 2 || context["runAsNonRoot"] != true {
		t.Errorf("the Pod's security context is %v", context)
	}
}

func TestWhatIsSwitchedOffIsNotMade(t *testing.T) {
	all := managerOf(t, values{
		"replicas":            1,
		"leaderElection":      values{"enabled": false},
		"metrics":             values{"service": values{"enabled": false}},
		"serviceAccount":      values{"create": false, "name": "mine"},
		"userRoles":           values{"create": false},
		"podDisruptionBudget": values{"enabled": false},
	})
	var ids []string
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	want := []string{"ClusterRole <nil>/asts-manager", "ClusterRoleBinding <nil>/asts-manager", "Deployment asts-system/asts-manager"}
	if !slices.Equal(ids, want) {
		t.Errorf("there are %q", ids)
	}
	if got := all.one(t, want[1]).at(t, "subjects", 0, "name"); got != "mine" {
		t.Errorf("the rights are for %v", got)
	}
	if got := argumentsOf(t, all)[0]; got != "--leader-elect=false" {
		t.Errorf("the first argument is %s", got)
	}
}

func TestUserRolesMayBeAggregated(t *testing.T) {
	all := managerOf(t, values{"userRoles": values{"aggregate": true}})
	for _, role := range []string{"view", "edit", "admin"} {
		labels := all.one(t, "ClusterRole <nil>/asts-"+role).at(t, "metadata", "labels").(map[string]any)
		if labels["rbac.authorization.k8s.io/aggregate-to-"+role] != "true" {
			t.Errorf("%s has the labels %v", role, labels)
		}
	}
}

func TestLongestAndOddestNamesOfReleasesMakeValidNames(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for _, name := range []string{strings.Repeat("x", 53), "team.blue", strings.Repeat("x", 46) + "-long"} {
		for id, o := range (release{name: name}).render(t, load(t, manager)) {
			if kind := o["kind"]; kind == "Service" || kind == "Deployment" {
				if got := o.metadata()["name"].(string); !valid.MatchString(got) {
					t.Errorf("%s of the release %s has a name that no Service may have", id, name)
				}
			}
		}
	}
}
