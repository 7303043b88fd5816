//! What a client has seen of the objects of one side, and of each object what matters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::script::{Ask, OWNER, Which};
use crate::inplace::with_defaults;
use crate::sim::facts;
use crate::sim::store::{Guard, Kind};

const WRONG_UID: &str = "00000000-0000-4000-8000-000000000000";
const WRONG_VERSION: &str = "4000000000";
/// What admission adds to Pods, or fills in beside the defaults of a template.
const BESIDES: [&str; 6] =
    ["tolerations", "priority", "preemptionPolicy", "serviceAccount", "serviceAccountName", "enableServiceLinks"];

#[derive(Clone, Default)]
struct Seen {
    uid: Box<str>,
    version: Box<str>,
    /// How many objects of this name there were.
    lives: u32,
}

#[derive(Default)]
pub struct View {
    seen: BTreeMap<(Kind, &'static str), Seen>,
}

impl View {
    pub fn guard(&self, ask: &Ask) -> Guard {
        let seen = self.seen.get(&(ask.kind, ask.name)).cloned().unwrap_or_default();
        let chosen = |which: Which, right: &str, wrong: &str| match which {
            Which::Absent => None,
            Which::Right => (!right.is_empty()).then(|| right.into()),
            Which::Wrong => Some(wrong.into()),
        };
        Guard { uid: chosen(ask.uid, &seen.uid, WRONG_UID), version: chosen(ask.version, &seen.version, WRONG_VERSION) }
    }

    /// The body with the owner's UID in it.
    pub fn filled(&self, body: &Value, prefix: &str) -> Value {
        let owner = self.seen.get(&(Kind::Set, OWNER)).map(|seen| &*seen.uid).unwrap_or_default();
        let text = body.to_string().replace("$owner", owner).replace("$prefix-", prefix);
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Remembers an object as it is now, and tells what matters of it.
    pub fn look(&mut self, ask: &Ask, object: Option<Value>, prefix: &str) -> Value {
        let Some(object) = object else { return Value::Null };
        let seen = self.seen.entry((ask.kind, ask.name)).or_default();
        let (uid, version) = (facts::text(&object, "/metadata/uid"), facts::text(&object, "/metadata/resourceVersion"));
        let is_new = seen.uid != uid;
        let moved = !is_new && seen.version != version;
        seen.lives += u32::from(is_new);
        (seen.uid, seen.version) = (uid, version);
        let lives = seen.lives;
        let mut matters = self.matters(ask.kind, &object, prefix);
        (matters["life"], matters["moved"]) = (lives.into(), moved.into());
        matters
    }

    /// What matters of the answer to a dry run. Its generation nobody asks for.
    pub fn tried(&self, ask: &Ask, answer: &Value, prefix: &str) -> Value {
        if let Some(template) = answer.get("template") {
            return template_made(template);
        }
        let mut matters = self.matters(ask.kind, answer, prefix);
        drop(matters["metadata"].as_object_mut().map(|metadata| metadata.remove("generation")));
        matters
    }

    fn matters(&self, kind: Kind, object: &Value, prefix: &str) -> Value {
        let mut matters = json!({"metadata": self.metadata(kind, object, prefix)});
        for field in ["spec", "status", "revision", "data"] {
            let value = object.get(field).cloned().unwrap_or_default();
            matters[field] = match (kind, field) {
                (Kind::Pod, "spec") => pod_spec(&value),
                (Kind::Pod, "status") => pod_status(object),
                (Kind::Claim, "spec") => json!({"accessModes": value["accessModes"], "resources": value["resources"]}),
                _ => value,
            };
        }
        matters
    }

    fn metadata(&self, kind: Kind, object: &Value, prefix: &str) -> Value {
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        let mut kept = Map::new();
        for field in ["labels", "annotations", "deletionGracePeriodSeconds"] {
            let value = metadata.get(field).filter(|value| value.as_object().is_none_or(|map| !map.is_empty()));
            kept.insert(field.to_owned(), value.cloned().unwrap_or_default());
        }
        let mut finalizers: Vec<&str> =
            facts::list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
        finalizers.sort_unstable();
        kept.insert("finalizers".to_owned(), finalizers.into());
        kept.insert("terminating".to_owned(), metadata.get("deletionTimestamp").is_some().into());
        if matches!(kind, Kind::Pod | Kind::Set) {
            kept.insert("generation".to_owned(), metadata["generation"].clone());
        }
        let owner = self.seen.get(&(Kind::Set, OWNER)).map(|seen| seen.uid.clone()).unwrap_or_default();
        let owners = facts::list(object, "/metadata/ownerReferences").iter().cloned().map(|mut reference| {
            if facts::text(&reference, "/uid") == owner {
                reference["uid"] = "$owner".into();
            }
            reference["name"] = facts::text(&reference, "/name").trim_start_matches(prefix).into();
            reference
        });
        kept.insert("ownerReferences".to_owned(), owners.collect());
        kept.into()
    }
}

fn pod_spec(spec: &Value) -> Value {
    let mut spec = with_defaults(&json!({"spec": spec}))["spec"].take();
    let Some(fields) = spec.as_object_mut() else { return spec };
    fields.retain(|field, _| !BESIDES.contains(&field.as_str()));
    let is_token = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    let mut empty = Vec::new();
    for (field, value) in fields.iter_mut() {
        let Some(list) = value.as_array_mut() else { continue };
        match field.as_str() {
            "volumes" => list.retain(|volume| !is_token(&volume["name"])),
            "containers" => {
                for container in list.iter_mut().filter_map(Value::as_object_mut) {
                    if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                        mounts.retain(|mount| !is_token(&mount["name"]));
                        if mounts.is_empty() {
                            container.remove("volumeMounts");
                        }
                    }
                }
            }
            _ => {}
        }
        if list.is_empty() {
            empty.push(field.clone());
        }
    }
    fields.retain(|field, _| !empty.contains(field));
    spec
}

/// A template with its defaults, but for one that the store makes up and one that only Pods get.
fn template_made(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(spec) = template["spec"].as_object_mut() {
        spec.retain(|field, _| !matches!(field.as_str(), "fieldOfTomorrow" | "enableServiceLinks"));
    }
    without_empty(&template)
}

/// An empty list or map means the same as none.
fn without_empty(value: &Value) -> Value {
    let is_empty = |value: &Value| {
        value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(field, value)| (field.clone(), without_empty(value)));
            kept.filter(|(_, value)| !is_empty(value)).collect()
        }
        Value::Array(list) => list.iter().map(without_empty).collect(),
        _ => value.clone(),
    }
}

fn pod_status(pod: &Value) -> Value {
    let conditions: BTreeMap<Box<str>, [Box<str>; 2]> = facts::list(pod, "/status/conditions")
        .iter()
        .map(|one| (facts::text(one, "/type"), [facts::text(one, "/status"), facts::text(one, "/reason")]))
        .collect();
    json!({"phase": facts::text(pod, "/status/phase"), "conditions": conditions})
}

/// Where two objects differ, and what stands there in each.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    let nothing = Value::Null;
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let below = |key: &String| {
                let (one, other) = (one.get(key).unwrap_or(&nothing), other.get(key).unwrap_or(&nothing));
                differences(one, other).into_iter().map(|text| format!("/{key}{text}")).collect::<Vec<_>>()
            };
            keys.into_iter().flat_map(below).collect()
        }
        _ if one == other => Vec::new(),
        _ => vec![format!(": {one} in the store, {other} in the apiserver")],
    }
}
