package kubelet

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
)

// astsFreshMounts gives the previous statuses of containers that have been re-created since the
// mounts of the spec. Statuses are made from the previous ones, whose mounts are taken as fixed.
func (kl *Kubelet) astsFreshMounts(ctx context.Context, pod *v1.Pod, runtime *kubecontainer.PodStatus,
	previous []v1.ContainerStatus, containers []v1.Container) []v1.ContainerStatus {
	fresh := slices.Clone(previous)
	for i := range fresh {
		newest := runtime.FindContainerStatusByName(fresh[i].Name)
		if newest == nil || newest.ID.String() == fresh[i].ContainerID {
			continue
		}
		for _, container := range containers {
			if container.Name == fresh[i].Name {
				fresh[i].VolumeMounts = kl.astsMountsOf(ctx, pod, container.VolumeMounts)
			}
		}
	}
	return fresh
}

func (kl *Kubelet) astsMountsOf(ctx context.Context, pod *v1.Pod, mounts []v1.VolumeMount) []v1.VolumeMountStatus {
	recursive := kl.runtimeClassSupportsRecursiveReadOnlyMounts(klog.FromContext(ctx), pod)
	var statuses []v1.VolumeMountStatus
	for _, mount := range mounts {
		status := v1.VolumeMountStatus{Name: mount.Name, MountPath: mount.MountPath, ReadOnly: mount.ReadOnly}
		if mount.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if enabled, err := resolveRecursiveReadOnly(mount, recursive); err == nil && enabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			status.RecursiveReadOnly = &mode
		}
		statuses = append(statuses, status)
	}
	return statuses
}
