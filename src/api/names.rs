//! Every name, label, annotation, condition type and length limit, in one place.

/// API group of the resource.
pub const GROUP: &str = "apps.asts.dev";
/// API version of the resource.
pub const VERSION: &str = "v1beta1";
/// `apiVersion` of the resource.
pub const API_VERSION: &str = "apps.asts.dev/v1beta1";
/// `kind` of the resource.
pub const KIND: &str = "AdvancedStatefulSet";

/// Pod label: the hash of the Pod's revision, and nothing else.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Pod label: the Pod's name, shortened where it is no valid label value.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Pod label: the Pod's ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// Pod label set by users: delete this Pod, within the budget and before others.
pub const SPECIFIED_DELETE_LABEL: &str = "apps.asts.dev/specified-delete";
/// Pod label of helpers that make a node pull images: the UID of the set that made them. No Pod of a set has it.
pub const PRE_PULL_LABEL: &str = "apps.asts.dev/pre-pull";
/// Annotation of helpers: the images that they are to make their node pull, a list in JSON. Admission may have others pulled
/// for these (a mirror).
pub const PRE_PULL_IMAGES_ANNOTATION: &str = "apps.asts.dev/pre-pull-images";
/// How the name of a helper Pod ends: that of no Pod of a set does, which ends in a number.
pub const HELPER_SUFFIX: &str = "-pull";
/// Labels that say something of one Pod, and so cannot be in a template.
pub const LABELS_OF_ONE_POD: [&str; 2] = [PRE_PULL_LABEL, SPECIFIED_DELETE_LABEL];
/// Annotations of helpers: injectors are to leave them alone, and nodes that are emptied need not wait for them.
pub const HELPER_ANNOTATIONS: [(&str, &str); 8] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true"),
    ("consul.hashicorp.com/connect-inject", "false"),
    ("dapr.io/enabled", "false"),
    ("kuma.io/sidecar-injection", "disabled"),
    ("linkerd.io/inject", "disabled"),
    ("openservicemesh.io/sidecar-injection", "disabled"),
    ("sidecar.istio.io/inject", "false"),
    ("vault.hashicorp.com/agent-inject", "false"),
];
/// ControllerRevision label: the hash of its data.
pub const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// Pod annotation: the bookkeeping of in-place updates, see `inplace::state`.
pub const IN_PLACE_STATE_ANNOTATION: &str = "apps.asts.dev/inplace-update-state";
/// Pod annotation: when a planned disruption was fenced off, see `inplace::patch::fence_patch`.
pub const FENCED_AT_ANNOTATION: &str = "apps.asts.dev/fenced-at";
/// Pod annotations that hold values of environment variables, by how their keys begin; see
/// `inplace::env_annotations`.
pub const ENV_ANNOTATION_PREFIX: &str = "apps.asts.dev/env-";
/// Pod label, only on sets with lifecycle hooks: where the Pod stands with them, see `model::lifecycle`.
pub const HOOK_STATE_LABEL: &str = "lifecycle.apps.asts.dev/state";
/// Pod annotation: since when the Pod is in that state, RFC 3339.
pub const HOOK_STATE_SINCE_ANNOTATION: &str = "lifecycle.apps.asts.dev/timestamp";
/// Node label, `true`: the node's kubelet is a customised one, which follows env, mounts, volumes
/// and probes of running Pods. A Pod on any other node is treated as on a stock cluster.
pub const CUSTOMISED_KUBELET_LABEL: &str = "apps.asts.dev/customised-kubelet";
/// Claim annotation: the set that the claim was made for. Two sets can ask for the same claim
/// name (`a-b` + `c`, `a` + `b-c`); this tells them apart, also beyond a label value's length.
pub const CLAIM_SET_ANNOTATION: &str = "apps.asts.dev/set";

/// Annotations of Pods that no template decides.
pub fn is_own_pod_annotation(key: &str) -> bool {
    [IN_PLACE_STATE_ANNOTATION, FENCED_AT_ANNOTATION, HOOK_STATE_SINCE_ANNOTATION].contains(&key)
        || key.starts_with(ENV_ANNOTATION_PREFIX)
}

/// ControllerRevision annotation: the claim templates that the revision's Pods have, where its data does not say it:
/// a JSON object of names, each with the size that was asked for, or null where that is not known.
pub const REVISION_CLAIMS_ANNOTATION: &str = "apps.asts.dev/volume-claims";

/// What is said where the apiserver does not know the resource.
pub const NOT_INSTALLED: &str = "advancedstatefulsets.apps.asts.dev is not installed in this cluster: kubectl apply -f \
                                 crds/advancedstatefulsets.yaml";

/// Whether an answer of an apiserver says that it does not know a resource at all. The answer to an unknown path is no
/// Status but a line of text, of which the client makes one.
pub fn is_unknown_resource(code: u16, message: &str) -> bool {
    code == 404 && (message.contains("404 page not found") || message.contains("could not find the requested resource"))
}

/// Namespace in which the manager is installed.
pub const MANAGER_NAMESPACE: &str = "asts-system";
/// Where their Lease is kept by a manager outside of a cluster that has no such namespace.
pub const FALLBACK_LEASE_NAMESPACE: &str = "kube-system";
/// Name of the Lease of the manager that leads.
pub const MANAGER_LEASE: &str = "asts-manager";
/// Annotation of that Lease: the version of the manager that holds it.
pub const MANAGER_VERSION_ANNOTATION: &str = "apps.asts.dev/manager-version";

/// Readiness gate of Pods that may be updated in place.
pub const READINESS_GATE: &str = "InPlaceUpdateReady";
/// Reason of a closed gate: containers are being, or about to be, re-created.
pub const REASON_CONTAINER_REBUILDING: &str = "ContainerRebuilding";
/// Reason of an open gate.
pub const REASON_CONTAINERS_CURRENT: &str = "ContainersCurrent";

/// Longest label value and longest hostname, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 63;
/// Longest object name, in bytes.
pub const OBJECT_NAME_BYTES_MAX: usize = 253;
/// Most that a set's name gives to a ControllerRevision's name, in bytes.
pub const REVISION_PREFIX_BYTES_MAX: usize = 223;
/// Most that a set's name gives to a helper Pod's name, in bytes.
pub const HELPER_PREFIX_BYTES_MAX: usize = 60;
/// The kubelet names a log folder `<namespace>_<pod name>_<uid>`; a file name has 255 bytes.
pub const KUBELET_LOG_FOLDER_BYTES_MAX: usize = 255;
/// Most entries of `status.disrupted`; the budget is bounded by it.
pub const DISRUPTED_MAX: usize = 400;

/// Condition types of a set.
pub mod conditions {
    /// At least `replicas - maxUnavailable` Pods are available.
    pub const AVAILABLE: &str = "Available";
    /// A rollout or scaling moves, is complete, or stands by order; False on the deadline.
    pub const PROGRESSING: &str = "Progressing";
    /// The rollout is paused.
    pub const PAUSED: &str = "Paused";
    /// Pods that cannot be updated in place under `InPlaceOnly`, with the fields and reasons.
    pub const IN_PLACE_UPDATE_BLOCKED: &str = "InPlaceUpdateBlocked";
    /// Claims that cannot grow as their template asks, each with why; only under `OnPodRollingUpdate`.
    pub const CLAIM_RESIZE_BLOCKED: &str = "ClaimResizeBlocked";
    /// Something was refused: quota, admission, forbidden, invalid.
    pub const REPLICA_FAILURE: &str = "ReplicaFailure";
}
