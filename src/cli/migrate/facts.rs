//! Small questions about objects as the apiserver gives them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Api;
use kube::api::{DynamicObject, ListParams, ObjectMeta};
use serde_json::Value;

use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::model::{Ordinal, Selector};

pub fn uid(metadata: &ObjectMeta) -> &str {
    metadata.uid.as_deref().unwrap_or_default()
}

pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

pub fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    controller(metadata).is_some_and(|owner| owner.uid == uid)
}

pub fn integer(object: &DynamicObject, pointer: &str) -> Option<i64> {
    object.data.pointer(pointer).and_then(Value::as_i64)
}

pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str)
}

/// Whether the status speaks of the present spec.
pub fn is_observed(object: &DynamicObject) -> bool {
    let seen = integer(object, "/status/observedGeneration");
    seen.is_some() && seen >= object.metadata.generation
}

/// What the manager says that it cannot do.
pub fn failure(object: &DynamicObject) -> Option<&str> {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array)?;
    let is = |one: &&Value| one["type"] == names::conditions::REPLICA_FAILURE && one["status"] == "True";
    conditions.iter().find(is)?.get("message")?.as_str()
}

/// Whether a deletion is under way.
pub fn is_terminating(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub fn revision_label(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::REVISION_LABEL)).map_or("", String::as_str)
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// The ordinal of a Pod of the set of this name.
pub fn ordinal(pod: &Pod, set: &str) -> Option<Ordinal> {
    let digits = name(pod).strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: Ordinal = digits.parse().ok()?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

/// `spec.selector`.
pub fn selector(object: &DynamicObject) -> Result<Selector, CliError> {
    let selector = object.data.pointer("/spec/selector").cloned().unwrap_or_default();
    let wrong = |error: String| CliError::Failed(format!("spec.selector: {error}"));
    let selector: LabelSelector = serde_json::from_value(selector).map_err(|error| wrong(error.to_string()))?;
    Selector::parse(&selector).map_err(wrong)
}

/// The labels of `spec.template`.
pub fn template_labels(object: &DynamicObject) -> BTreeMap<String, String> {
    let labels = object.data.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}

/// The Pods that the selector and the name make the set's, by ordinal, whoever owns them.
pub async fn pods(session: &Session, set: &DynamicObject) -> Result<BTreeMap<Ordinal, Pod>, CliError> {
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
    let list = api.list(&ListParams::default().labels(&selector(set)?.to_text())).await?;
    let set_name = set.metadata.name.clone().unwrap_or_default();
    Ok(list.items.into_iter().filter_map(|pod| Some((ordinal(&pod, &set_name)?, pod))).collect())
}

/// The first few names, for a line.
pub fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let more = names.len().saturating_sub(SHOWN_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// `1 Pod`, `2 Pods`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_belongs_by_its_name() {
        let of = |pod_name: &str| {
            let metadata = ObjectMeta { name: Some(pod_name.into()), ..ObjectMeta::default() };
            ordinal(&Pod { metadata, ..Pod::default() }, "web")
        };
        assert_eq!((of("web-0"), of("web-12")), (Some(0), Some(12)));
        for other in ["web", "web-", "web-00", "web-x", "web-a-1", "webs-1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn few_names_are_shown() {
        assert_eq!(some_of(["a", "b"]), "a, b");
        assert_eq!(some_of(["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
        assert_eq!((counted(1, "Pod"), counted(0, "Pod")), ("1 Pod".into(), "0 Pods".into()));
    }
}
