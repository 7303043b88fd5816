package volumemanager

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/volumemanager/cache"
	"k8s.io/kubernetes/pkg/volume/util"
	volumetypes "k8s.io/kubernetes/pkg/volume/util/types"
)

const (
	astsSwapPause = 50 * time.Millisecond
	astsSwapLimit = 20 * time.Second
)

// astsSwapped has the volumes of each Pod whose files are known to be there.
var astsSwapped = struct {
	sync.Mutex
	volumes map[types.UID][]v1.Volume
}{volumes: map[types.UID][]v1.Volume{}}

// astsAwaitSwap waits, after a change of the volumes of a Pod, until their files are those of the
// new sources, so that no container is re-created to read the old ones. With a source that cannot be
// read it fails, and containers stay as they are until there is one.
func (vm *volumeManager) astsAwaitSwap(ctx context.Context, pod *v1.Pod, earlier error) error {
	if earlier != nil {
		return earlier
	}
	astsSwapped.Lock()
	before, known := astsSwapped.volumes[pod.UID]
	astsSwapped.Unlock()
	if known && apiequality.Semantic.DeepEqual(before, pod.Spec.Volumes) {
		return nil
	}
	if known {
		seen := false // twice in a row: between two steps of the populator all looks done once
		err := wait.PollUntilContextTimeout(ctx, astsSwapPause, astsSwapLimit, false, func(ctx context.Context) (bool, error) {
			earlier := seen
			seen = vm.astsFilesAreOf(ctx, pod)
			return seen && earlier, nil
		})
		if err != nil {
			return fmt.Errorf("the files of the changed volumes are not there: %w", err)
		}
	}
	pods := vm.desiredStateOfWorld.GetPods()
	astsSwapped.Lock()
	defer astsSwapped.Unlock()
	for uid := range astsSwapped.volumes {
		if !pods[volumetypes.UniquePodName(uid)] {
			delete(astsSwapped.volumes, uid)
		}
	}
	astsSwapped.volumes[pod.UID] = pod.Spec.Volumes
	return nil
}

// astsFilesAreOf is true when every volume that this form of the Pod uses has been taken up and
// mounted since.
func (vm *volumeManager) astsFilesAreOf(ctx context.Context, pod *v1.Pod) bool {
	expected := sets.New(getExpectedVolumes(pod)...)
	podName := util.GetUniquePodName(pod)
	for _, wanted := range vm.desiredStateOfWorld.GetVolumesToMount() {
		if wanted.PodName != podName || !slices.ContainsFunc(wanted.OuterVolumeSpecNames, expected.Has) {
			continue
		}
		if wanted.Pod.Generation < pod.Generation {
			return false
		}
		mounted, _, err := vm.actualStateOfWorld.PodExistsInVolume(
			klog.FromContext(ctx), podName, wanted.VolumeName, wanted.DesiredPersistentVolumeSize, wanted.SELinuxLabel)
		if !mounted || cache.IsRemountRequiredError(err) {
			return false
		}
		expected.Delete(wanted.OuterVolumeSpecNames...)
	}
	return expected.Len() == 0
}
