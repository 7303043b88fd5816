//! Objects of the store → the facts that a decision sees.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::api::names;
use crate::control::cache::Watched;
use crate::control::cache::pod::PodObject;
use crate::control::cache::watched::is_our_group;
use crate::inplace::quantity::quantity_bytes;
use crate::model::claim::ClaimOwner;
use crate::model::{ClaimFacts, OwnerFacts, PodFacts, RevisionFacts, SetFacts};

/// What a pointer without escapes and indices points at: `Value::pointer` makes new texts on its way.
pub fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, field| value.get(field))
}

pub fn text(value: &Value, pointer: &str) -> Box<str> {
    at(value, pointer).and_then(Value::as_str).unwrap_or_default().into()
}

pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
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

/// As the manager reads it, so that checks and planner speak of the same.
pub fn pod(value: &Value) -> PodFacts {
    let Ok(object) = PodObject::deserialize(value) else { return PodFacts::default() };
    let helper = value.pointer("/metadata/labels").is_some_and(|labels| labels.get(names::PRE_PULL_LABEL).is_some());
    if helper && let Some(facts) = object.clone().into_facts() { facts } else { object.whole() }
}

fn labels(value: &Value) -> std::collections::BTreeMap<Box<str>, Box<str>> {
    let map = value.pointer("/metadata/labels").and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

pub fn claim(value: &Value) -> ClaimFacts {
    let owners = list(value, "/metadata/ownerReferences").iter().map(|owner| ClaimOwner {
        kind: text(owner, "/kind"),
        name: text(owner, "/name"),
        uid: text(owner, "/uid"),
        controller: owner.get("controller") == Some(&Value::Bool(true)),
        our_group: is_our_group(&text(owner, "/apiVersion")),
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
