package validation

import (
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/kubernetes/pkg/apis/core"
)

// astsKeepMutable puts the old values of what may change in a running Pod on this cluster into the
// new spec, just before that is compared with the old one. What may not change stays, and is
// refused by that comparison. The new values have been validated as those of a new Pod are.
func astsKeepMutable(compared, old *core.PodSpec) {
	for i := range compared.Containers {
		if i < len(old.Containers) {
			astsKeepContainer(&compared.Containers[i], &old.Containers[i])
		}
	}
	for i := range compared.InitContainers {
		if i < len(old.InitContainers) && astsStays(&compared.InitContainers[i]) && astsStays(&old.InitContainers[i]) {
			astsKeepContainer(&compared.InitContainers[i], &old.InitContainers[i])
		}
	}
	if astsVolumesMayBecome(compared.Volumes, old.Volumes) {
		compared.Volumes = old.Volumes
	}
}

// astsStays is true for an init container that runs beside the others. One that runs once has done
// its work with what it was given, so nothing of it may change.
func astsStays(container *core.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == core.ContainerRestartPolicyAlways
}

// astsKeepContainer leaves the startup probe alone: in a running Pod it has done its work.
func astsKeepContainer(compared, old *core.Container) {
	compared.Env = old.Env
	compared.EnvFrom = old.EnvFrom
	compared.VolumeMounts = old.VolumeMounts
	if astsProbeMayBecome(compared.LivenessProbe, old.LivenessProbe) {
		compared.LivenessProbe = old.LivenessProbe
	}
	if astsProbeMayBecome(compared.ReadinessProbe, old.ReadinessProbe) {
		compared.ReadinessProbe = old.ReadinessProbe
	}
}

// astsProbeMayBecome refuses another host: Pod Security judges it when a Pod is created, and does
// not look again at an update.
func astsProbeMayBecome(wanted, old *core.Probe) bool {
	host := astsProbeHost(wanted)
	return host == "" || host == astsProbeHost(old)
}

func astsProbeHost(probe *core.Probe) string {
	switch {
	case probe == nil:
		return ""
	case probe.HTTPGet != nil:
		return probe.HTTPGet.Host
	case probe.TCPSocket != nil:
		return probe.TCPSocket.Host
	}
	return ""
}

// astsVolumesMayBecome is true when each volume that comes, goes or changes is of a type that a
// running Pod can be given or lose.
func astsVolumesMayBecome(wanted, old []core.Volume) bool {
	before := make(map[string]*core.Volume, len(old))
	for i := range old {
		before[old[i].Name] = &old[i]
	}
	for i := range wanted {
		earlier, there := before[wanted[i].Name]
		delete(before, wanted[i].Name)
		switch {
		case !there:
			if !astsMayComeOrGo(&wanted[i]) {
				return false
			}
		case !apiequality.Semantic.DeepEqual(&wanted[i], earlier):
			if !astsSameSwappable(&wanted[i], earlier) {
				return false
			}
		}
	}
	for _, gone := range before {
		if !astsMayComeOrGo(gone) {
			return false
		}
	}
	return true
}

func astsMayComeOrGo(volume *core.Volume) bool {
	return volume.ConfigMap != nil || volume.Secret != nil || volume.Projected != nil ||
		volume.DownwardAPI != nil || volume.EmptyDir != nil || volume.PersistentVolumeClaim != nil
}

// astsSameSwappable is true for another source of the same type, whose files the kubelet swaps. Of
// another type under the same name it could not: running containers would keep the old folder.
func astsSameSwappable(wanted, earlier *core.Volume) bool {
	return wanted.ConfigMap != nil && earlier.ConfigMap != nil ||
		wanted.Secret != nil && earlier.Secret != nil ||
		wanted.Projected != nil && earlier.Projected != nil
}
