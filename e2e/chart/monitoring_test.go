package chart

import (
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

func TestAlertsAreQueriesThatPrometheusTakes(t *testing.T) {
	all := kustomize(t, root+"/config/monitoring").one(t, "PrometheusRule asts-system/asts-manager")
	rules := all.at(t, "spec", "groups", 0, "rules").([]any)
	for _, rule := range rules {
		rule := object(rule.(map[string]any))
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(rule.at(t, "expr").(string)); err != nil {
			t.Errorf("%v: %v", rule["alert"], err)
		}
		for _, path := range [][]any{{"for"}, {"labels", "severity"}, {"annotations", "summary"}, {"annotations", "description"}} {
			rule.at(t, path...)
		}
	}
	if len(rules) == 0 {
		t.Error("there are no alerts")
	}
}

func TestTheMonitorFindsTheService(t *testing.T) {
	service := kustomize(t, root+"/config/default").one(t, "Service asts-system/asts-manager-metrics")
	monitor := kustomize(t, root+"/config/monitoring").one(t, "ServiceMonitor asts-system/asts-manager")
	labels := service.at(t, "metadata", "labels").(map[string]any)
	for key, want := range monitor.at(t, "spec", "selector", "matchLabels").(map[string]any) {
		if labels[key] != want {
			t.Errorf("the Service has %s=%v, the ServiceMonitor wants %v", key, labels[key], want)
		}
	}
	if got, want := monitor.at(t, "spec", "endpoints", 0, "port"), service.at(t, "spec", "ports", 0, "name"); got != want {
		t.Errorf("the ServiceMonitor reads the port %v, the Service has %v", got, want)
	}
}
