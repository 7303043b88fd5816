//! Objects of the store → the facts that a decision sees.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::names;
use crate::inplace::env_annotations::variables_in_annotations;
use crate::inplace::quantity::quantity_bytes;
use crate::model::claim::ClaimOwner;
use crate::model::pod::{ReadyFacts, Running};
use crate::model::{
    ClaimFacts, ContainerFacts, ContainerKind, Gate, OwnerFacts, PodFacts, PodPhase, RevisionFacts, SetFacts,
};

pub fn text(value: &Value, pointer: &str) -> Box<str> {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().into()
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    value.pointer(pointer)?.as_str()?.parse().ok()
}

pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn condition<'a>(value: &'a Value, type_: &str) -> Option<&'a Value> {
    list(value, "/status/conditions").iter().find(|one| one.get("type").and_then(Value::as_str) == Some(type_))
}

fn condition_is(value: &Value, type_: &str, status: &str) -> bool {
    condition(value, type_).is_some_and(|one| one.get("status").and_then(Value::as_str) == Some(status))
}

pub fn controller(value: &Value) -> Option<OwnerFacts> {
    let owner = list(value, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    Some(OwnerFacts {
        api_version: text(owner, "/apiVersion"),
        kind: text(owner, "/kind"),
        name: text(owner, "/name"),
        uid: text(owner, "/uid"),
    })
}

pub fn set(value: &Value) -> Result<SetFacts, String> {
    let spec =
        serde_json::from_value(value.get("spec").cloned().unwrap_or_default()).map_err(|error| error.to_string())?;
    let status = match value.get("status") {
        Some(status) => serde_json::from_value(status.clone()).map_err(|error| error.to_string())?,
        None => crate::api::AdvancedStatefulSetStatus::default(),
    };
    Ok(SetFacts {
        namespace: text(value, "/metadata/namespace"),
        name: text(value, "/metadata/name"),
        uid: text(value, "/metadata/uid"),
        resource_version: text(value, "/metadata/resourceVersion"),
        generation: value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        terminating: value.pointer("/metadata/deletionTimestamp").is_some(),
        spec: Arc::new(spec),
        status: Arc::new(status),
    })
}

pub fn pod(value: &Value) -> PodFacts {
    PodFacts {
        namespace: text(value, "/metadata/namespace"),
        name: text(value, "/metadata/name"),
        uid: text(value, "/metadata/uid"),
        resource_version: text(value, "/metadata/resourceVersion"),
        generation: value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
        observed_generation: value.pointer("/status/observedGeneration").and_then(Value::as_i64),
        created_at: time(value, "/metadata/creationTimestamp"),
        deletion: time(value, "/metadata/deletionTimestamp"),
        controller: controller(value),
        labels: labels(value),
        finalizers: list(value, "/metadata/finalizers")
            .iter()
            .filter_map(|name| name.as_str().map(Box::from))
            .collect(),
        node: Some(text(value, "/spec/nodeName")).filter(|node| !node.is_empty()),
        phase: match &*text(value, "/status/phase") {
            "Running" => PodPhase::Running,
            "Succeeded" => PodPhase::Succeeded,
            "Failed" => PodPhase::Failed,
            "Unknown" => PodPhase::Unknown,
            _ => PodPhase::Pending,
        },
        started_at: time(value, "/status/startTime"),
        ready: condition(value, "Ready").map(|ready| ReadyFacts {
            status: ready.get("status").and_then(Value::as_str) == Some("True"),
            since: time(ready, "/lastTransitionTime"),
        }),
        containers_ready: condition_is(value, "ContainersReady", "True"),
        unschedulable: condition(value, "PodScheduled")
            .is_some_and(|one| &*text(one, "/status") == "False" && &*text(one, "/reason") == "Unschedulable"),
        gate: gate(value),
        containers: list(value, "/spec/containers").iter().map(|spec| container(value, spec)).collect(),
        resize: None,
        helper: None,
        in_place_state: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(names::IN_PLACE_STATE_ANNOTATION)?.as_str())
            .map(Box::from),
        hook_state_since: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(names::HOOK_STATE_SINCE_ANNOTATION)?.as_str())
            .and_then(|text| text.parse().ok()),
    }
}

fn labels(value: &Value) -> std::collections::BTreeMap<Box<str>, Box<str>> {
    let map = value.pointer("/metadata/labels").and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

fn gate(value: &Value) -> Gate {
    let asked = list(value, "/spec/readinessGates")
        .iter()
        .any(|gate| gate.get("conditionType").and_then(Value::as_str) == Some(names::READINESS_GATE));
    match condition(value, names::READINESS_GATE) {
        _ if !asked => Gate::Absent,
        None => Gate::Unset,
        Some(one) if &*text(one, "/status") == "True" => Gate::Open,
        Some(one) => Gate::Closed { since: time(one, "/lastTransitionTime"), reason: text(one, "/reason") },
    }
}

fn container(pod: &Value, spec: &Value) -> ContainerFacts {
    let name = text(spec, "/name");
    let nothing = Value::Null;
    let status =
        list(pod, "/status/containerStatuses").iter().find(|status| text(status, "/name") == name).unwrap_or(&nothing);
    let filled = |pointer: &str| Some(text(status, pointer)).filter(|text| !text.is_empty());
    let flag = |pointer: &str| status.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    ContainerFacts {
        kind: ContainerKind::Main,
        image: text(spec, "/image"),
        resources: None,
        status_resources: None,
        container_id: filled("/containerID"),
        status_image: filled("/image"),
        image_id: filled("/imageID"),
        running: status.pointer("/state/running").map(|_| Running { since: time(status, "/state/running/startedAt") }),
        waiting_reason: filled("/state/waiting/reason"),
        ready: flag("/ready"),
        started: flag("/started"),
        restart_count: status
            .pointer("/restartCount")
            .and_then(Value::as_i64)
            .and_then(|count| i32::try_from(count).ok())
            .unwrap_or(0),
        env_in_annotations: variables_in_annotations(spec),
        name,
    }
}

pub fn claim(value: &Value) -> ClaimFacts {
    let owners = list(value, "/metadata/ownerReferences").iter().map(|owner| ClaimOwner {
        kind: text(owner, "/kind"),
        name: text(owner, "/name"),
        uid: text(owner, "/uid"),
        controller: owner.get("controller") == Some(&Value::Bool(true)),
    });
    let made_for = value
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(names::CLAIM_SET_ANNOTATION)?.as_str())
        .map(Box::from);
    ClaimFacts {
        name: text(value, "/metadata/name"),
        uid: text(value, "/metadata/uid"),
        resource_version: text(value, "/metadata/resourceVersion"),
        terminating: value.pointer("/metadata/deletionTimestamp").is_some(),
        labels: labels(value),
        made_for,
        owners: owners.collect(),
        requested_bytes: value.pointer("/spec/resources/requests/storage").and_then(quantity_bytes),
        capacity_bytes: value.pointer("/status/capacity/storage").and_then(quantity_bytes),
        file_system_pending: condition_is(value, "FileSystemResizePending", "True"),
        growth_error: None,
    }
}

pub fn revision(value: &Value) -> RevisionFacts {
    let name = text(value, "/metadata/name");
    let label = value.pointer("/metadata/labels").and_then(|labels| labels.get(names::HASH_LABEL)?.as_str());
    RevisionFacts {
        hash: label.or_else(|| name.rsplit_once('-').map(|(_, hash)| hash)).unwrap_or_default().into(),
        uid: text(value, "/metadata/uid"),
        resource_version: text(value, "/metadata/resourceVersion"),
        number: value.get("revision").and_then(Value::as_i64).unwrap_or(0),
        controller: controller(value),
        terminating: value.pointer("/metadata/deletionTimestamp").is_some(),
        data: Arc::new(value.get("data").cloned().unwrap_or_default()),
        noted_claims: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(names::REVISION_CLAIMS_ANNOTATION)?.as_str())
            .map(Box::from),
        name,
    }
}
