//! The template that a running Pod seems to have been made from, for Pods whose revision nobody
//! knows. What admission and the cluster add is left out; what differs beyond that is kept, so
//! that it decides as any other difference does.

use serde_json::{Map, Value, json};

use super::defaults::with_defaults;
use super::env_annotations::with_literals;
use super::quantity::same_quantity;
use crate::api::names;

type Object = Map<String, Value>;

/// Fields of a Pod's spec that admission fills in: the Pod's value counts only where `like` has one.
const FILLED_IN: &[&str] =
    &["imagePullSecrets", "nodeSelector", "overhead", "preemptionPolicy", "priority", "priorityClassName", "resources"];
/// Fields that no template has.
const NEVER_IN_A_TEMPLATE: &[&str] = &["ephemeralContainers", "nodeName"];
/// Fields that the controller or the scheduler changes, whatever the template says.
const TAKEN_FROM_THE_TEMPLATE: &[&str] = &["hostname", "subdomain", "schedulingGates"];
/// Annotations that say that resources were filled in: by a LimitRange, by a vertical autoscaler.
const RESOURCES_FILLED_IN: &[&str] = &["kubernetes.io/limit-ranger", "vpaUpdates"];
/// Tolerations that admission adds.
const ADDED_TOLERATIONS: &[&str] =
    &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/memory-pressure"];
/// Mounts that admission adds: the service account's token, and tokens for cloud accounts.
const TOKEN_MOUNTS: &[&str] = &[
    "/var/run/secrets/kubernetes.io/serviceaccount",
    "/var/run/secrets/eks.amazonaws.com/serviceaccount",
    "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount",
    "/var/run/secrets/azure/tokens",
];
/// Volumes likewise, by how their names begin.
const TOKEN_VOLUMES: &[&str] = &["kube-api-access-", "aws-iam-token", "eks-pod-identity-token", "azure-identity-token"];
/// Environment variables that come with such tokens.
const TOKEN_VARIABLES: &[&str] = &["AWS_", "AZURE_"];

/// The template of `pod` (a whole Pod) in the shape of the template `like`: where
/// [`super::differences`] of the two is empty, the Pod is what `like` makes. A container that the
/// Pod does not have is missing in the result. Never fails.
pub fn template_of_pod(pod: &Value, like: &Value) -> Value {
    let about = About {
        name: pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        resources_filled_in: object(pod, "metadata")
            .and_then(|metadata| metadata.get("annotations")?.as_object())
            .is_some_and(|annotations| RESOURCES_FILLED_IN.iter().any(|key| annotations.contains_key(*key))),
    };
    let (pod, like) = (with_defaults(&with_literals(pod)), with_defaults(like));
    let mut template = Object::new();
    if let Some(metadata) = object(&like, "metadata") {
        let found = object(&pod, "metadata");
        let metadata = metadata.iter().filter_map(|(key, wanted)| {
            let found = found.and_then(|metadata| metadata.get(key));
            Some((key.clone(), same_keys(found?, wanted)))
        });
        template.insert("metadata".into(), metadata.collect());
    }
    if let (Some(found), Some(wanted)) = (object(&pod, "spec"), object(&like, "spec")) {
        template.insert("spec".into(), about.spec_of(found, wanted).into());
    }
    template.into()
}

/// What is to be known of the Pod beside its spec.
struct About {
    name: String,
    resources_filled_in: bool,
}

impl About {
    fn spec_of(&self, found: &Object, wanted: &Object) -> Object {
        let mut spec = Object::new();
        for (key, value) in found {
            let wanted_value = wanted.get(key);
            let kept = match (key.as_str(), wanted_value) {
                ("containers" | "initContainers", _) => self.containers_of(value, wanted_value),
                ("volumes", _) => self.volumes_of(value, wanted_value),
                ("readinessGates", _) => gates_of(value),
                ("tolerations", _) => without(value, wanted_value, "key", |key| ADDED_TOLERATIONS.contains(&key)),
                ("nodeSelector" | "overhead", Some(wanted)) => same_keys(value, wanted),
                ("resources", Some(wanted)) => resources_of(value, wanted),
                // The apiserver writes the keys' values into the selectors.
                ("affinity" | "topologySpreadConstraints", Some(wanted)) if has_label_keys(wanted) => wanted.clone(),
                (key, None) if FILLED_IN.contains(&key) => continue,
                (key, _) if NEVER_IN_A_TEMPLATE.contains(&key) => continue,
                _ => value.clone(),
            };
            spec.insert(key.clone(), kept);
        }
        for key in TAKEN_FROM_THE_TEMPLATE {
            match wanted.get(*key) {
                Some(value) => drop(spec.insert((*key).to_owned(), value.clone())),
                None => drop(spec.remove(*key)),
            }
        }
        spec
    }

    /// The Pod's containers that `like` has too; injected ones are left out.
    fn containers_of(&self, found: &Value, wanted: Option<&Value>) -> Value {
        list(Some(found))
            .filter_map(|container| {
                let wanted = find_by(wanted, "name", container)?.as_object()?;
                Some(Value::from(self.container_of(container.as_object()?, wanted)))
            })
            .collect()
    }

    fn container_of(&self, found: &Object, wanted: &Object) -> Object {
        let mut container = Object::new();
        for (key, value) in found {
            let wanted_value = wanted.get(key);
            let kept = match (key.as_str(), wanted_value) {
                ("resources", Some(wanted)) if self.resources_filled_in => resources_of(value, wanted),
                ("resources", None) if self.resources_filled_in => continue,
                // Older servers fill it in.
                ("resizePolicy", None) => continue,
                ("volumeMounts", _) => {
                    without(value, wanted_value, "mountPath", |path| TOKEN_MOUNTS.contains(&path.trim_end_matches('/')))
                }
                ("env", _) => without(value, wanted_value, "name", |name| {
                    TOKEN_VARIABLES.iter().any(|variable| name.starts_with(variable))
                }),
                _ => value.clone(),
            };
            container.insert(key.clone(), kept);
        }
        container
    }

    /// The Pod's volumes without tokens, and with what the template says where a claim of this
    /// Pod's own stands in its place.
    fn volumes_of(&self, found: &Value, wanted: Option<&Value>) -> Value {
        list(Some(found))
            .filter_map(|volume| {
                let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
                let claim = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str);
                let own_claim = claim.is_some_and(|claim| claim == format!("{name}-{}", self.name));
                let wanted = find_by(wanted, "name", volume);
                match wanted {
                    Some(wanted) if own_claim => Some(wanted.clone()),
                    None if own_claim || TOKEN_VOLUMES.iter().any(|start| name.starts_with(start)) => None,
                    _ => Some(volume.clone()),
                }
            })
            .collect()
    }
}

fn has_label_keys(terms: &Value) -> bool {
    terms.to_string().contains("atchLabelKeys\"")
}

/// Amounts that `like` does not speak of come from a LimitRange.
fn resources_of(found: &Value, wanted: &Value) -> Value {
    let (Some(found), Some(wanted)) = (found.as_object(), wanted.as_object()) else {
        return found.clone();
    };
    let mut resources = Object::new();
    for (key, amounts) in found {
        match (key.as_str(), wanted.get(key)) {
            ("limits" | "requests", Some(wanted)) => drop(resources.insert(key.clone(), amounts_of(amounts, wanted))),
            ("limits" | "requests", None) => {}
            _ => drop(resources.insert(key.clone(), amounts.clone())),
        }
    }
    resources.into()
}

/// Equal amounts take the spelling of `like`.
fn amounts_of(found: &Value, wanted: &Value) -> Value {
    let mut amounts = same_keys(found, wanted);
    for (name, amount) in amounts.as_object_mut().into_iter().flatten() {
        if let Some(wanted) = wanted.get(name).filter(|wanted| same_quantity(wanted, amount)) {
            *amount = wanted.clone();
        }
    }
    amounts
}

fn gates_of(found: &Value) -> Value {
    list(Some(found)).filter(|gate| **gate != json!({"conditionType": names::READINESS_GATE})).cloned().collect()
}

/// The list without entries that admission is known to add and `like` does not have.
fn without(found: &Value, wanted: Option<&Value>, key: &str, is_added: impl Fn(&str) -> bool) -> Value {
    list(Some(found))
        .filter(|entry| {
            let added = entry.get(key).and_then(Value::as_str).is_some_and(&is_added);
            !added || find_by(wanted, key, entry).is_some()
        })
        .cloned()
        .collect()
}

/// The entries of a map whose keys `wanted` has too; what is no map stays as it is.
fn same_keys(found: &Value, wanted: &Value) -> Value {
    match (found.as_object(), wanted.as_object()) {
        (Some(found), Some(wanted)) => found
            .iter()
            .filter(|(key, _)| wanted.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        _ => found.clone(),
    }
}

fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Object> {
    value.get(key)?.as_object()
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn find_by<'a>(entries: Option<&'a Value>, key: &str, like: &Value) -> Option<&'a Value> {
    let wanted = like.get(key)?;
    list(entries).find(|entry| entry.get(key) == Some(wanted))
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
