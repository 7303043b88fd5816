package stages

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"text/template/parse"
)

type document struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		ResourceRef struct{ Kind string }
		Selector    *struct{}
		Steps       []struct {
			Delete bool
			Patch  struct{ Subresource, Template string }
		}
	}
}

func documents(t *testing.T) []document {
	t.Helper()
	config, err := Config()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(config, []byte("---\n"), nil)))
	var all []document
	for {
		var one document
		err := decoder.Decode(&one)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

func TestEachStageDoesOneThing(t *testing.T) {
	stages := 0
	for _, one := range documents(t) {
		if one.Kind != "Stage" {
			continue
		}
		stages++
		if one.Spec.Selector == nil {
			t.Errorf("%s selects nothing", one.Metadata.Name)
		}
		if len(one.Spec.Steps) != 1 {
			t.Fatalf("%s has %d steps", one.Metadata.Name, len(one.Spec.Steps))
		}
		step := one.Spec.Steps[0]
		if step.Delete || step.Patch.Template == "" {
			t.Errorf("%s must patch, and leave the removal of Pods to the deleter", one.Metadata.Name)
		}
	}
	if stages != 3 {
		t.Errorf("%d stages", stages)
	}
}

func TestTemplatesParseAndCheckTheVersion(t *testing.T) {
	for _, one := range documents(t) {
		for _, step := range one.Spec.Steps {
			if step.Patch.Template == "" {
				continue
			}
			tree := parse.New(one.Metadata.Name)
			tree.Mode = parse.SkipFuncCheck
			if _, err := tree.Parse(step.Patch.Template, "", "", map[string]*parse.Tree{}); err != nil {
				t.Error(err)
			}
			if !strings.Contains(step.Patch.Template, ".metadata.resourceVersion") {
				t.Errorf("%s writes whatever was written meanwhile", one.Metadata.Name)
			}
		}
	}
}
