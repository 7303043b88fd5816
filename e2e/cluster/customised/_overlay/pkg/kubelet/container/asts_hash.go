package container

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
)

// astsWithMutable adds to the fields by which a running container is compared with its spec those
// that can change here: a container that was started with others is re-created.
func astsWithMutable(fields map[string]string, container *v1.Container) map[string]string {
	mutable := struct {
		Env          []v1.EnvVar        `json:"env,omitempty"`
		EnvFrom      []v1.EnvFromSource `json:"envFrom,omitempty"`
		VolumeMounts []v1.VolumeMount   `json:"volumeMounts,omitempty"`
	}{container.Env, container.EnvFrom, container.VolumeMounts}
	if text, err := json.Marshal(mutable); err == nil {
		fields["asts"] = string(text)
	}
	return fields
}
