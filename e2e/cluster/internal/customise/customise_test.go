package customise

import (
	"errors"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `package p

func Other() int { return 1 }

func (m *manager) Work(a int, b string) (int, error) {
	total := 0
	if a > 1 {
		total++
	}
	for a > 0 {
		a--
	}
	if total > 5 {
		return 0, nil
	}
	return total, nil
}

func Work() map[string]string {
	made := map[string]string{"a": "b"}
	return made
}
`

func edited(t *testing.T, edit Edit) string {
	t.Helper()
	edit.File = "p.go"
	once, err := edit.apply([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	twice, err := edit.apply(once)
	if err != nil {
		t.Fatal(err)
	}
	if string(once) != string(twice) {
		t.Errorf("made twice:\n%s", twice)
	}
	neat, err := format.Source(once)
	if err != nil {
		t.Fatalf("%v:\n%s", err, once)
	}
	return string(neat)
}

func TestPlaces(t *testing.T) {
	method := Edit{Receiver: "manager", Function: "Work", Line: "m.astsSee(a, total)", Uses: []string{"m", "a", "total"}}
	for place, want := range map[Place]string{
		AtStart:          "(int, error) {\n\tm.astsSee(a, total)\n\ttotal := 0\n",
		BeforeLastIf:     "\tm.astsSee(a, total)\n\tif total > 5 {\n",
		BeforeLastReturn: "\tm.astsSee(a, total)\n\treturn total, nil\n}\n",
		InLoop:           "\tfor a > 0 {\n\t\tm.astsSee(a, total)\n\t\ta--\n",
	} {
		edit := method
		edit.Place = place
		got := edited(t, edit)
		if !strings.Contains(got, want) || strings.Count(got, "astsSee") != 1 {
			t.Errorf("place %d: no %q in\n%s", place, want, got)
		}
	}
	got := edited(t, Edit{Function: "Work", Place: WrapReturn, Line: "astsMore(RETURNED, 1)"})
	if !strings.Contains(got, "return astsMore(made, 1)\n") {
		t.Error(got)
	}
}

func TestMissingAnchors(t *testing.T) {
	for want, edit := range map[string]Edit{
		"manager.Gone: anchor not found: there are 0":                {Receiver: "manager", Function: "Gone"},
		"other.Work: anchor not found: there are 0":                  {Receiver: "other", Function: "Work"},
		"Work: anchor not found: the name made2 is not declared":     {Function: "Work", Uses: []string{"made2"}},
		"Work: anchor not found: it has 0 loops":                     {Function: "Work", Place: InLoop},
		"Work: anchor not found: it has no if":                       {Function: "Work", Place: BeforeLastIf},
		"manager.Work: anchor not found: it returns 2 values":        {Receiver: "manager", Function: "Work", Place: WrapReturn},
		"Other: anchor not found: the name total is not declared in": {Function: "Other", Uses: []string{"total"}},
	} {
		edit.File, edit.Line = "p.go", "astsSee()"
		if edit.Place == WrapReturn {
			edit.Line = "astsSee(RETURNED)"
		}
		_, err := edit.apply([]byte(sample))
		if !errors.Is(err, errAnchor) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "p.go: ") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A vendor folder in which every function that is edited is there, and nothing else.
func fakeTree(t *testing.T) string {
	t.Helper()
	vendor := t.TempDir()
	sources := map[string]string{}
	for _, edit := range Edits {
		if sources[edit.File] == "" {
			sources[edit.File] = "package p\n"
		}
		head := "func "
		var parameters []string
		of := edit.Uses
		if edit.Receiver != "" {
			name := "r"
			if !strings.Contains(edit.Function, "updatePod") {
				name, of = of[0], of[1:]
			}
			head += "(" + name + " *" + edit.Receiver + ") "
		}
		for _, name := range of {
			parameters = append(parameters, name+" int")
		}
		sources[edit.File] += head + edit.Function + "(" + strings.Join(parameters, ", ") + ") int {\nif true {}\nfor { break }\nreturn 1\n}\n"
	}
	for name, content := range sources {
		write(t, filepath.Join(vendor, Module, name), content)
	}
	write(t, filepath.Join(vendor, "modules.txt"), "# k8s.io/kubelet v0.37.2\n# "+Module+" "+Version+"\n## explicit\n")
	return vendor
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

const overlay = "../../customised/_overlay"

func TestTreeIsEditedOnce(t *testing.T) {
	vendor := fakeTree(t)
	var first string
	for range 2 {
		if err := Tree(vendor, overlay); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, edit := range Edits {
			content, err := os.ReadFile(filepath.Join(vendor, Module, edit.File))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(content), edit.call()+"(") != 1 {
				t.Errorf("%s calls %s not once:\n%s", edit.File, edit.call(), content)
			}
			all.Write(content)
		}
		if first != "" && first != all.String() {
			t.Error("a second round changed something")
		}
		first = all.String()
	}
	if _, err := os.Stat(filepath.Join(vendor, Module, "pkg/kubelet/prober/asts_follow.go")); err != nil {
		t.Error(err)
	}
}

func TestTreeRefusesWhatItDoesNotKnow(t *testing.T) {
	vendor := fakeTree(t)
	list := filepath.Join(vendor, "modules.txt")
	for content, want := range map[string]string{
		"# k8s.io/kubernetes v1.37.3\n":                         "is v1.37.3, and the customised form is made for v1.37.2 alone",
		"# k8s.io/kubernetes v1.37.2 => example.com/k v1.0.0\n": "=> example.com/k",
		"# k8s.io/kubelet v0.37.2\n":                            "does not name k8s.io/kubernetes",
	} {
		write(t, list, content)
		if err := Tree(vendor, overlay); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	write(t, list, "# "+Module+" "+Version+"\n")
	write(t, filepath.Join(vendor, Module, "pkg/kubelet/prober/worker.go"), "package p\n\nfunc (w *worker) run() int { return 1 }\n")
	if err := Tree(vendor, overlay); err == nil || !strings.Contains(err.Error(), "pkg/kubelet/prober/worker.go: worker.doProbe: anchor not found") {
		t.Errorf("got %v", err)
	}
}

// Each function of ours that a line calls is in a file of ours, and the other way round.
func TestLinesAndFilesMatch(t *testing.T) {
	for _, edit := range Edits {
		files, err := filepath.Glob(filepath.Join(overlay, filepath.Dir(edit.File), "asts_*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(content), edit.call()+"(")
		}
		if !found {
			t.Errorf("no file beside %s has %s", edit.File, edit.call())
		}
	}
}
