package cache

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/volume/util/types"
)

// astsDropReplaced drops what a Pod's volume name stood for before it stood for this volume. Else
// one name would lead to two volumes, and containers would be given either. The caller holds the
// lock.
func (dsw *desiredStateOfWorld) astsDropReplaced(podName types.UniquePodName, current v1.UniqueVolumeName, outerName string) {
	for name, entry := range dsw.volumesToMount {
		pod, mounts := entry.podsToMount[podName]
		if name == current || !mounts || !slices.Contains(pod.outerVolumeSpecNames, outerName) {
			continue
		}
		pod.outerVolumeSpecNames = slices.DeleteFunc(slices.Clone(pod.outerVolumeSpecNames), func(other string) bool { return other == outerName })
		if len(pod.outerVolumeSpecNames) > 0 {
			entry.podsToMount[podName] = pod
			continue
		}
		delete(entry.podsToMount, podName)
		if len(entry.podsToMount) == 0 {
			delete(dsw.volumesToMount, name)
		}
	}
}
