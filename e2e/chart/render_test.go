// Package chart tests the charts of config/chart and the monitoring of config/monitoring with the
// libraries of Helm, kustomize and Prometheus themselves.
package chart

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root     = "../.."
	manager  = root + "/config/chart/asts"
	resource = root + "/config/chart/asts-crd"
)

// Helm tells of each link that it follows.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

type values = map[string]any

// object is a Kubernetes object as YAML gives it.
type object map[string]any

func (o object) id() string {
	metadata := o.metadata()
	return fmt.Sprintf("%v %v/%v", o["kind"], metadata["namespace"], metadata["name"])
}

func (o object) metadata() map[string]any {
	metadata, _ := o["metadata"].(map[string]any)
	return metadata
}

// at goes down by keys of maps and indices of lists.
func (o object) at(t *testing.T, path ...any) any {
	t.Helper()
	var here any = map[string]any(o)
	for _, step := range path {
		var there any
		switch step := step.(type) {
		case string:
			if fields, ok := here.(map[string]any); ok {
				there = fields[step]
			}
		case int:
			if items, ok := here.([]any); ok && step < len(items) {
				there = items[step]
			}
		}
		if there == nil {
			t.Fatalf("%s has no %v of %v", o.id(), step, path)
		}
		here = there
	}
	return here
}

type objects map[string]object

func (os objects) one(t *testing.T, id string) object {
	t.Helper()
	found, ok := os[id]
	if !ok {
		t.Fatalf("no %s among %v", id, slices.Sorted(maps.Keys(os)))
	}
	return found
}

func (os objects) add(t *testing.T, text string) {
	t.Helper()
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		var o object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(o) == 0 {
			continue
		}
		if _, twice := os[o.id()]; twice {
			t.Fatalf("%s is there twice", o.id())
		}
		os[o.id()] = o
	}
}

// release is one run of Helm over a chart.
type release struct {
	name   string
	values values
	// hasResource says that the cluster knows AdvancedStatefulSets already.
	hasResource bool
}

const namespace = "asts-system"

// texts are the rendered files.
func (r release) texts(c *chart.Chart) (map[string]string, error) {
	capabilities := common.DefaultCapabilities.Copy()
	if r.hasResource {
		capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), "apps.asts.dev/v1beta1")
	}
	options := common.ReleaseOptions{Name: r.name, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, r.values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, all)
}

func load(t *testing.T, path string) *chart.Chart {
	t.Helper()
	c, err := loader.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r release) render(t *testing.T, c *chart.Chart) objects {
	t.Helper()
	texts, err := r.texts(c)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for path, text := range texts {
		if filepath.Ext(path) == ".yaml" {
			all.add(t, text)
		}
	}
	return all
}

// managerOf renders the manager's chart under the names of config/default.
func managerOf(t *testing.T, with values) objects {
	t.Helper()
	return release{name: "asts", values: with}.render(t, load(t, manager))
}

func notes(t *testing.T, r release, path string) string {
	t.Helper()
	c := load(t, path)
	texts, err := r.texts(c)
	if err != nil {
		t.Fatal(err)
	}
	return texts[c.Name()+"/templates/NOTES.txt"]
}

func kustomize(t *testing.T, path string) objects {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	all.add(t, string(text))
	return all
}

func show(t *testing.T, what any) string {
	t.Helper()
	text, err := yaml.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
