//! The spec as users write it. Every optional field stays absent when it was not given: what it
//! then means is decided in `model::validate`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::AdvancedStatefulSetStatus;

/// A Pod template or claim template held as it was written: fields newer than this build are
/// kept, and a list of sets decodes even when one of them holds a bad template.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(transparent)]
pub struct RawObject(pub Value);

/// AdvancedStatefulSet manages Pods with stable identity and storage, and updates them in place
/// where the cluster can do it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "apps.asts.dev",
    version = "v1beta1",
    kind = "AdvancedStatefulSet",
    plural = "advancedstatefulsets",
    shortname = "asts",
    category = "all",
    namespaced,
    status = "AdvancedStatefulSetStatus",
    doc = "AdvancedStatefulSet manages Pods with stable identity and storage, and updates them in place where the cluster can do it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.labelSelector"
    ),
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct AdvancedStatefulSetSpec {
    /// How many Pods there are to be: that many ordinals from `ordinals.start` upward, with those in
    /// `reserveOrdinals` left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Which Pods belong to the set. Not empty, matches the labels of `template`, and cannot be changed.
    /// At most 100 labels and 100 expressions of 100 values.
    pub selector: LabelSelector,
    /// The Pods to make, as in `apps/v1`. Fields that this version does not know are kept. `restartPolicy` is
    /// `Always` or absent, and `activeDeadlineSeconds` is refused. At most 500 labels.
    pub template: RawObject,
    /// The governing Service, which becomes the Pods' `subdomain`: a DNS label of at most 63 characters.
    /// Cannot be added, changed or removed later; an empty one is an absent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Claims that each Pod gets, named `<template>-<set>-<ordinal>`; the controller never deletes one.
    /// A template added or removed re-creates the Pods as a rollout. Changes of size reach existing claims only with
    /// `volumeClaimUpdateStrategy`; any other change is for claims made from then on. At most 100 templates, whose
    /// names are DNS labels and unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_templates: Option<Vec<RawObject>>,
    /// `OrderedReady` makes and removes Pods one at a time, in order, waiting for each to be available;
    /// `Parallel` all at once. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_management_policy: Option<PodManagementPolicy>,
    /// How a changed template reaches the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// Seconds that a Pod must be Ready before it counts as available. Absent means 0.
    /// `updateStrategy.rollingUpdate.minReadySeconds` wins where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// Limits on scaling up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_strategy: Option<ScaleStrategy>,
    /// Ordinals that hold no Pod: numbers (`3`, `"3"`) and ranges with both ends (`"5-9"`). A Pod on one of them is
    /// removed, at most `maxUnavailable` at a time, and another ordinal takes its place. Ordinals have at most 15 digits;
    /// at most 1000 entries, and a range of any width is one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_ordinals: Option<Vec<IntOrString>>,
    /// Where the ordinals begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinals: Option<Ordinals>,
    /// What happens to claims when the set is deleted or scaled down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<ClaimRetentionPolicy>,
    /// When a grown claim template grows the claims that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_update_strategy: Option<VolumeClaimUpdateStrategy>,
    /// How many old revisions to keep that no Pod and no status names. Negative: keep all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i32>,
    /// Seconds without progress after which the condition `Progressing` becomes False with the reason
    /// `ProgressDeadlineExceeded`. The time does not run while the rollout stands by order. Must be greater than the
    /// `minReadySeconds` that applies, unless it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
    /// Hooks that hold a Pod before it is deleted, updated in place, or called normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Whether Pods are made and removed one at a time, in order, or all at once.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PodManagementPolicy {
    #[default]
    #[serde(alias = "")]
    OrderedReady,
    Parallel,
}

/// How a changed template reaches the Pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` updates Pods by itself; `OnDelete` only when they are deleted by others.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<UpdateStrategyType>,
    /// How to roll; only with the type `RollingUpdate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum UpdateStrategyType {
    #[default]
    #[serde(alias = "")]
    RollingUpdate,
    OnDelete,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdate {
    /// How many Pods stay on the old revision, from the lowest ordinal upward; with `unorderedUpdate`, the last in
    /// priority order. A number, or `"0%"` to `"100%"` of `replicas`, rounded up (below 100 % at least one Pod updates).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<IntOrString>,
    /// How many Pods may be unavailable, for any reason, when the controller takes one down: a number from 1, or
    /// `"1%"` to `"100%"` of `replicas`, rounded down, at least 1. Holds under `OrderedReady` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// No Pod changes its revision while true; repair, scaling and status go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// `InPlaceIfPossible` updates in place what can be and re-creates the other Pods; `ReCreate` always re-creates;
    /// `InPlaceOnly` never does, and says in the condition `InPlaceUpdateBlocked` what it could not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_update_policy: Option<PodUpdatePolicy>,
    /// How Pods are updated in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_update_strategy: Option<InPlaceUpdateStrategy>,
    /// Update in an order of priority instead of from the highest ordinal down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unordered_update: Option<UnorderedUpdate>,
    /// Seconds that a Pod must be Ready before it counts as available; wins over `spec.minReadySeconds`.
    /// Absent means that `spec.minReadySeconds` applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PodUpdatePolicy {
    #[default]
    #[serde(alias = "")]
    InPlaceIfPossible,
    ReCreate,
    InPlaceOnly,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InPlaceUpdateStrategy {
    /// Seconds that a Pod is NotReady through its readiness gate before its containers are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i32>,
    /// Seconds from the change of a Pod until its effect must be seen (new container started, resize done). After it,
    /// `InPlaceIfPossible` re-creates the Pod and `InPlaceOnly` reports it. At least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// How changed environment variables reach a running Pod. `Patch`: by a change of the Pod where the cluster allows
    /// it, else the Pod is re-created. `Annotations`: literal values are kept in annotations of the Pod, so that they can
    /// change on any cluster; values with a `$` stay in the spec. Pods that were made before it was set are re-created
    /// by the first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvUpdate>,
    /// Pull new images to the nodes of the Pods before any Pod is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_pull: Option<bool>,
    /// Annotations of the template whose change (also coming and going) restarts the containers, as patterns in which `*`
    /// stands for any characters. Given, the list replaces the default: `kubectl.kubernetes.io/restartedAt`, `checksum/*`, `*/checksum`,
    /// `*.reloader.stakater.com/*`, `reloader.stakater.com/*`. At most 100 patterns of 400 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_annotations: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum EnvUpdate {
    #[default]
    Patch,
    Annotations,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnorderedUpdate {
    /// Which Pods go first: one of the two forms, not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_strategy: Option<PriorityStrategy>,
}

/// Which Pods update first: exactly one of the two.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriorityStrategy {
    /// Labels to sort by: Pods with the first key go first, those with the greatest number at the end of its value
    /// before the others; Pods with none of the keys go last. At most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_priority: Option<Vec<OrderPriorityTerm>>,
    /// Weights to sort by: Pods with the greatest sum of matching weights go first. At most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_priority: Option<Vec<WeightPriorityTerm>>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPriorityTerm {
    /// Key of the label.
    pub ordered_key: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightPriorityTerm {
    /// What a Pod that matches gets, 0 to 100.
    pub weight: i32,
    /// Which Pods get it; not empty.
    pub match_selector: LabelSelector,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleStrategy {
    /// With `Parallel`, no further Pod is made while this many are not available: a number from 1, or `"1%"` to
    /// `"100%"` of `replicas`, rounded down, at least 1. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ordinals {
    /// The lowest ordinal, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i32>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetentionPolicy {
    /// `Delete` lets the claims go with the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_deleted: Option<ClaimRetention>,
    /// `Delete` lets the claims go with the Pods that scaling down removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_scaled: Option<ClaimRetention>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ClaimRetention {
    #[default]
    #[serde(alias = "")]
    Retain,
    Delete,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimUpdateStrategy {
    /// `OnDelete`: only claims made from then on have the new size. `OnPodRollingUpdate`: claims grow as their Pods are
    /// updated.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<VolumeClaimUpdateStrategyType>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum VolumeClaimUpdateStrategyType {
    #[default]
    #[serde(alias = "")]
    OnDelete,
    OnPodRollingUpdate,
}

/// Hooks that hold a Pod before it is deleted, patched, or called normal.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Holds a Pod before it is deleted, while it has any of the marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_delete: Option<LifecycleHook>,
    /// Holds a Pod before its containers are updated in place, while it has any of the marks; and afterwards, until it has all
    /// of them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_update: Option<LifecycleHook>,
    /// Holds a Pod that is new, or back in service, until it has all of the marks; then it is called normal, and can be
    /// available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_normal: Option<LifecycleHook>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleHook {
    /// Marks: labels of the Pod with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_handler: Option<std::collections::BTreeMap<String, String>>,
    /// Marks: finalizers of the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalizers_handler: Option<Vec<String>>,
    /// The Pod is NotReady through its readiness gate while it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark_pod_not_ready: Option<bool>,
}

impl JsonSchema for RawObject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RawObject".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}
