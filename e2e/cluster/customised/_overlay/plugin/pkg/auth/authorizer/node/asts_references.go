package node

import (
	corev1 "k8s.io/api/core/v1"
)

// astsUnlessChanged is the earlier form of a Pod, or nil when its spec has changed since: the node
// authorizer then takes up what the Pod refers to as it does for a new Pod.
func astsUnlessChanged(earlier, now interface{}) interface{} {
	before, isPod := earlier.(*corev1.Pod)
	if !isPod || before == nil {
		return earlier
	}
	if after, isPod := now.(*corev1.Pod); isPod && after.Generation != before.Generation {
		return nil
	}
	return earlier
}
