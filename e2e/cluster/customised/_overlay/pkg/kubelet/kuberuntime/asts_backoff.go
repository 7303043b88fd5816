package kuberuntime

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
)

// astsBackoffKey gives a container whose environment or mounts have changed a back-off of its own,
// so that a mended one starts at once.
func astsBackoffKey(key string, container *v1.Container) string {
	return key + "-" + strconv.FormatUint(kubecontainer.HashContainer(container), 16)
}
