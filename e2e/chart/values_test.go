package chart

import (
	"strings"
	"testing"
)

func TestBadValuesAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range []struct {
		values values
		want   []string
	}{
		{values{"replica": 3}, []string{"'replica'", "not allowed"}},
		{values{"replicas": -1}, []string{"/replicas"}},
		{values{"replicas": "three"}, []string{"/replicas", "want integer"}},
		{values{"image": values{"repository": ""}}, []string{"/image/repository"}},
		{values{"image": values{"digest": "0a0a"}}, []string{"/image/digest"}},
		{values{"image": values{"pullPolicy": "Sometimes"}}, []string{"/image/pullPolicy", "'IfNotPresent'"}},
		{values{"image": "asts-manager:0.1.0"}, []string{"/image", "want object"}},
		{values{"namespaces": "team-a"}, []string{"/namespaces", "want array"}},
		{values{"namespaces": []any{"Team_A"}}, []string{"/namespaces/0"}},
		{values{"namespaces": []any{"a", "a"}}, []string{"/namespaces"}},
		{values{"inPlace": "everything"}, []string{"/inPlace", "stock"}},
		{values{"inPlace": "env,ports"}, []string{"/inPlace"}},
		{values{"leaderElection": values{"leaseDurationSeconds": 1}}, []string{"/leaderElection/leaseDurationSeconds", "minimum"}},
		{values{"leaderElection": values{"enabled": "false"}}, []string{"/leaderElection/enabled", "want boolean"}},
		{values{"log": values{"format": "xml"}}, []string{"/log/format", "'text', 'json'"}},
		{values{"bindAddress": "::"}, []string{"/bindAddress"}},
		{values{"metrics": values{"serviceMonitor": values{"interval": "often"}}}, []string{"/metrics/serviceMonitor/interval"}},
		{values{"podDisruptionBudget": values{"maxUnavailable": "150%"}}, []string{"/podDisruptionBudget/maxUnavailable"}},
		{values{"resources": values{"limit": values{}}}, []string{"/resources", "'limit'"}},
		{values{"runAsUser": 0}, []string{"/runAsUser"}},
		{values{"tolerations": []any{values{"efect": "NoSchedule"}}}, []string{"/tolerations/0", "'efect'"}},
		{values{"affinity": values{"nodeAffinities": values{}}}, []string{"/affinity", "'nodeAffinities'"}},
		{values{"leaderElection": values{"enabled": false}}, []string{"replicas: more than one needs leaderElection.enabled"}},
		{values{"serviceAccount": values{"create": false}}, []string{"serviceAccount.name: name the ServiceAccount"}},
		{
			values{"metrics": values{"service": values{"enabled": false}, "serviceMonitor": values{"enabled": true}}},
			[]string{"set metrics.service.enabled too"},
		},
	} {
		_, err := release{name: "asts", values: c.values}.texts(load(t, manager))
		if err == nil {
			t.Errorf("%v is accepted", c.values)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v is refused without a word of %s: %v", c.values, want, err)
			}
		}
	}
}

func TestTheChartOfTheResourceHasNoValues(t *testing.T) {
	_, err := release{name: "asts-crd", values: values{"replicas": 2}}.texts(load(t, resource))
	if err == nil || !strings.Contains(err.Error(), "'replicas' not allowed") {
		t.Errorf("a value got the answer %v", err)
	}
}

func TestAChartThatDependsOnThisOneMaySwitchIt(t *testing.T) {
	managerOf(t, values{"enabled": true, "global": values{"domain": "example.com"}})
}
