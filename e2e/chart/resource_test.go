package chart

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

const resourceID = "CustomResourceDefinition <nil>/advancedstatefulsets.apps.asts.dev"

func TestTheResourceIsTheOneOfMakeCrdsAndIsKept(t *testing.T) {
	made := objects{}
	text, err := os.ReadFile(root + "/crds/advancedstatefulsets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	made.add(t, string(text))

	charts := release{name: "asts-crd"}.render(t, load(t, resource))
	got := charts.one(t, resourceID)
	annotations, _ := got.at(t, "metadata", "annotations").(map[string]any)
	if annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("Helm would delete it: its annotations are %v", annotations)
	}
	delete(annotations, "helm.sh/resource-policy")
	delete(got.at(t, "metadata", "labels").(map[string]any), "app.kubernetes.io/name")
	withoutHelm(map[string]any(got))
	for _, key := range []string{"annotations", "labels"} {
		if left, _ := got.metadata()[key].(map[string]any); len(left) == 0 {
			delete(got.metadata(), key)
		}
	}
	if want := made.one(t, resourceID); !reflect.DeepEqual(got, want) {
		t.Error("the chart's resource is another than that of crds/")
	}
	if len(charts) != 1 {
		t.Errorf("the chart has %d objects", len(charts))
	}
}

func TestTheManagersChartHasNoResource(t *testing.T) {
	c := load(t, manager)
	if got := c.CRDObjects(); len(got) > 0 {
		t.Errorf("crds/ has %d", len(got))
	}
	if len(c.Dependencies()) > 0 {
		t.Error("with a dependency, uninstalling the manager uninstalls more than the manager")
	}
	for id := range managerOf(t, nil) {
		if strings.HasPrefix(id, "CustomResourceDefinition") {
			t.Error(id)
		}
	}
}

// What `helm package` makes has the files in it, not the links.
func TestPackedChartsRenderTheSame(t *testing.T) {
	everything := values{"metrics": values{"rules": values{"enabled": true}}}
	for path, with := range map[string]values{manager: everything, resource: nil} {
		c := load(t, path)
		packed, err := util.Save(c, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		r := release{name: "asts", values: with}
		if !reflect.DeepEqual(r.render(t, load(t, packed)), r.render(t, c)) {
			t.Errorf("%s is another chart once it is packed", path)
		}
	}
}

func TestALinkThatWasNotFollowedIsSaid(t *testing.T) {
	everything := values{"metrics": values{"rules": values{"enabled": true}}}
	for path, with := range map[string]values{manager: everything, resource: nil} {
		for i, file := range load(t, path).Files {
			if !strings.HasPrefix(file.Name, "files/") {
				continue
			}
			absent := load(t, path)
			absent.Files = slices.Delete(absent.Files, i, i+1)
			unfollowed := load(t, path)
			unfollowed.Files[i] = &common.File{Name: file.Name, Data: []byte("../../../elsewhere.yaml")}
			r := release{name: "asts", values: with}
			for what, c := range map[string]error{"absent": second(r.texts(absent)), "unfollowed": second(r.texts(unfollowed))} {
				if c == nil || !strings.Contains(c.Error(), file.Name+" is not in the chart: copy it with its links followed") {
					t.Errorf("%s, %s: %v", file.Name, what, c)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestNotesWarnOfDeletingTheResource(t *testing.T) {
	const warning = "with it goes every AdvancedStatefulSet, and with the sets every one of their Pods"
	for _, path := range []string{manager, resource} {
		if got := notes(t, release{name: "asts"}, path); !strings.Contains(strings.Join(strings.Fields(got), " "), warning) {
			t.Errorf("%s:\n%s", path, got)
		}
	}
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	const missing = "is not in this cluster"
	if got := notes(t, release{name: "asts"}, manager); !strings.Contains(got, missing) || !strings.Contains(got, "all namespaces") {
		t.Errorf("without the resource:\n%s", got)
	}
	with := values{"namespaces": []any{"a", "b"}}
	if got := notes(t, release{name: "asts", values: with, hasResource: true}, manager); strings.Contains(got, missing) || !strings.Contains(got, "works in a, b.") {
		t.Errorf("with the resource:\n%s", got)
	}
}
