// Package stages writes what makes kwok behave as a kubelet, as far as a
// controller of Pods can tell.
package stages

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:embed pod-status.tmpl
var podStatus string

//go:embed node-status.tmpl
var nodeStatus string

// The annotations that tests steer a fake Pod with.
const (
	ReadyAnnotation       = "kwok.asts.dev/ready"
	PhaseAnnotation       = "kwok.asts.dev/phase"
	TerminatingAnnotation = "kwok.asts.dev/terminating-seconds"
)

const slowMilliseconds = 5000

// slowPending is true for a Pod that waits for nothing but a slow image: its
// status says everything else that there is to say.
const slowPending = `. as $pod
| ([($pod.spec.volumes // [])[] | .image.reference // empty]) as $volumes
| ([$pod.spec.containers[], ($pod.spec.initContainers // [])[]]
   | map(select([.image] + $volumes | any(contains("slow"))))) as $slow
| if ($slow | length) == 0 then false else
  ([($pod.status.containerStatuses // [])[], ($pod.status.initContainerStatuses // [])[]]) as $statuses
  | ($pod.status.conditions // []) as $conditions
  | (($pod.spec.readinessGates // []) | all(.conditionType as $gate | $conditions | any(.type == $gate and .status == "True"))) as $open
  | ($conditions | any(.type == "ContainersReady" and .status == "True")) as $containersReady
  | ($conditions | any(.type == "Ready" and .status == "True")) as $ready
  | ($slow | any(. as $container
      | ([$statuses[] | select(.name == $container.name)] | .[0]) as $status
      | $status == null or $status.image != $container.image
        or ([$status.state.waiting.reason] | inside(["ImagePullBackOff", "ContainerCreating", "PodInitializing"]))))
    and $pod.status.observedGeneration == $pod.metadata.generation
    and $ready == ($open and $containersReady)
  end | tostring`

type object = map[string]any

// Config is kwok's configuration: documents of JSON, which is YAML too. No stage
// removes Pods: kwok does it by name, whichever Pod has that name by then.
func Config() ([]byte, error) {
	documents := []object{
		{
			"apiVersion": "config.kwok.x-k8s.io/v1alpha1",
			"kind":       "KwokConfiguration",
			"options": object{
				"manageAllNodes":            true,
				"cidr":                      "10.128.0.0/16",
				"nodeLeaseDurationSeconds":  40,
				"podPlayStageParallelism":   8,
				"nodePlayStageParallelism":  4,
				"nodeLeaseParallelism":      4,
				"podsOnNodeSyncParallelism": 16,
			},
		},
		stage("node-status", "Node", nil, nil, statusPatch(nodeStatus)),
		stage("pod-status", "Pod", []object{isAbsent(".metadata.deletionTimestamp"), is(slowPending, "false")},
			nil, statusPatch("{{- $due := false -}}"+podStatus)),
		stage("pod-slow", "Pod", []object{isAbsent(".metadata.deletionTimestamp"), is(slowPending, "true")},
			object{"durationMilliseconds": slowMilliseconds}, statusPatch("{{- $due := true -}}"+podStatus)),
	}
	var config bytes.Buffer
	for _, document := range documents {
		encoded, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			return nil, err
		}
		config.WriteString("---\n")
		config.Write(encoded)
		config.WriteByte('\n')
	}
	return config.Bytes(), nil
}

func stage(name, kind string, expressions []object, delay, step object) object {
	selector := object{}
	if expressions != nil {
		selector["matchExpressions"] = expressions
	}
	spec := object{
		"resourceRef": object{"apiGroup": "v1", "kind": kind},
		"selector":    selector,
		"steps":       []object{step},
	}
	if delay != nil {
		spec["delay"] = delay
	}
	return object{
		"apiVersion": "kwok.x-k8s.io/v1alpha1",
		"kind":       "Stage",
		"metadata":   object{"name": name},
		"spec":       spec,
	}
}

// statusPatch carries the resourceVersion that the template read, so that a
// status worked out from an older state never lands on a newer one.
func statusPatch(template string) object {
	return object{"patch": object{"subresource": "status", "template": template}}
}

func is(key, value string) object {
	return object{"jq": object{"key": key, "operator": "In", "values": []string{value}}}
}

func isAbsent(key string) object {
	return object{"jq": object{"key": key, "operator": "DoesNotExist"}}
}
