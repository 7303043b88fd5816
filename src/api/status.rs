//! The status as the controller writes it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is seen of a set. Counts are of Pods in the set's slots and of condemned ones where said.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdvancedStatefulSetStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that exist, condemned ones included.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are Ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Pods that were Ready for `minReadySeconds`.
    #[serde(default)]
    pub available_replicas: i32,
    /// Pods on `currentRevision`.
    #[serde(default)]
    pub current_replicas: i32,
    /// Pods on `updateRevision`.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Pods on `updateRevision` that are Ready.
    #[serde(default)]
    pub updated_ready_replicas: i32,
    /// Pods on `updateRevision` that are available.
    #[serde(default)]
    pub updated_available_replicas: i32,
    /// The slots whose Pods are on `updateRevision`, as ranges: `0-2,5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ordinals: Option<String>,
    /// Name of the ControllerRevision that was rolled out last in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// Name of the ControllerRevision of the present template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<String>,
    /// The images of the template's containers, with commas between, for `kubectl get -o wide`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// How often a revision's name was taken by other data; part of the hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    /// The selector in its text form, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// The claims of each claim template, counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claims: Vec<VolumeClaimStatus>,
    /// The ledger of our own disruptions that may not be over yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disrupted: Vec<Disruption>,
    /// `Available`, `Progressing`, `Paused`, `InPlaceUpdateBlocked`, `ReplicaFailure`, and those that others wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One claim template, counted over the slots.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimStatus {
    /// Name of the claim template.
    pub volume_claim_name: String,
    /// Claims whose request is what the template asks for, or more.
    #[serde(default)]
    pub compatible_replicas: i32,
    /// Those of them whose capacity is there.
    #[serde(default)]
    pub compatible_ready_replicas: i32,
}

/// A Pod that the controller takes down while it is Ready, written before it is done.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Ordinal of the Pod.
    pub ordinal: i64,
    /// UID of the Pod that is taken down.
    pub uid: String,
    /// The resourceVersion that the disruption has as its precondition.
    pub resource_version: String,
    /// Hash of the revision that the ordinal is to be on afterwards.
    pub revision: String,
}

/// A condition in the manner of `meta/v1`, with only `type` and `status` required, and with the
/// time of the last progress, which `progressDeadlineSeconds` counts from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, in CamelCase.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in CamelCase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the spec that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When there was progress last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
}
