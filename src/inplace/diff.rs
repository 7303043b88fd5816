//! The difference of two templates, by meaning: lists by their keys, images normalised, quantities
//! by amount.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::circumstance::{Around, Surroundings};
use super::defaults::with_defaults;
use super::image::same_reference;
use super::quantity::same_quantity;
use super::table::{Class, row_for};
use crate::model::FieldKind;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Such as `spec.containers[app].image` or `metadata.labels[tier]`.
    pub path: String,
    /// On a cluster that can do it.
    pub class: Class,
    /// What the cluster must be able to do; `None`: every Kubernetes can, or nothing can.
    pub needs: Option<FieldKind>,
    /// The container or volume that the field is in.
    pub entry: Option<Entry>,
    /// Why the field has this class, as users read it.
    pub reason: String,
    /// Why the Pod is re-created where the cluster lacks what is needed, as users read it.
    pub cannot: String,
    /// `None`: the field was not there.
    pub old: Option<Value>,
    /// `None`: the field is not there any more.
    pub new: Option<Value>,
}

/// An entry of one of the spec's lists that have names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `containers`, `initContainers` or `volumes`.
    pub list: &'static str,
    pub name: Box<str>,
}

/// Every field that differs between two templates (`{"metadata": …, "spec": …}`), both defaulted
/// first, in a stable order. Empty exactly when the templates mean the same.
pub fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (with_defaults(old), with_defaults(new));
    differences_of_defaulted(&old, &new)
}

/// The same of two templates that are defaulted already.
pub(super) fn differences_of_defaulted(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Found { differences: Vec::new(), surroundings: Surroundings::of(old, new), around: None };
    found.compare(&Place::default(), Some(old), Some(new));
    found.differences
}

/// How the entries of a list are told apart.
enum ListKind {
    /// By these fields; the order means nothing.
    Keyed(&'static [&'static str]),
    /// By these fields; the order means something.
    Ordered(&'static [&'static str]),
    /// Environment variables: by name; the order means something where one refers to others.
    Environment,
    /// As a whole; the order means nothing.
    Set,
    /// As a whole.
    Plain,
}

/// The kind of a list by its place, with brackets emptied.
fn list_kind(shape: &str) -> ListKind {
    match shape {
        "spec.initContainers" => return ListKind::Ordered(&["name"]),
        "spec.containers" | "spec.ephemeralContainers" | "spec.volumes" => return ListKind::Keyed(&["name"]),
        "spec.imagePullSecrets" | "spec.schedulingGates" | "spec.resourceClaims" => {
            return ListKind::Keyed(&["name"]);
        }
        "spec.hostAliases" => return ListKind::Keyed(&["ip"]),
        "spec.readinessGates" => return ListKind::Keyed(&["conditionType"]),
        "spec.securityContext.sysctls" | "spec.dnsConfig.options" => return ListKind::Keyed(&["name"]),
        "spec.tolerations" | "spec.topologySpreadConstraints" | "spec.securityContext.supplementalGroups" => {
            return ListKind::Set;
        }
        "metadata.finalizers" => return ListKind::Set,
        _ => {}
    }
    let in_container = shape.split_once("ontainers[].").map(|(_, field)| field);
    match in_container {
        Some("env") => ListKind::Environment,
        Some("volumeMounts") => ListKind::Keyed(&["mountPath"]),
        Some("volumeDevices") => ListKind::Keyed(&["devicePath"]),
        Some("ports") => ListKind::Keyed(&["containerPort", "protocol"]),
        Some("resizePolicy") => ListKind::Keyed(&["resourceName"]),
        Some("resources.claims") => ListKind::Keyed(&["name"]),
        Some("securityContext.capabilities.add" | "securityContext.capabilities.drop") => ListKind::Set,
        _ => ListKind::Plain,
    }
}

/// Objects whose keys are users' own words, not fields.
const FREE_MAPS: &[&str] =
    &["labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "overhead", "volumeAttributes"];
/// Objects that are gone through entry by entry also where one side has none.
const GONE_THROUGH: &[&str] = &[
    "metadata",
    "metadata.labels",
    "metadata.annotations",
    "spec",
    "spec.nodeSelector",
    "spec.containers[].resources",
    "spec.containers[].resources.limits",
    "spec.containers[].resources.requests",
    "spec.initContainers[].resources",
    "spec.initContainers[].resources.limits",
    "spec.initContainers[].resources.requests",
];
/// Lists that are gone through entry by entry also where one side has none.
const LISTS_GONE_THROUGH: &[&str] = &[
    "spec.containers",
    "spec.initContainers",
    "spec.volumes",
    "spec.containers[].env",
    "spec.containers[].volumeMounts",
    "spec.initContainers[].env",
    "spec.initContainers[].volumeMounts",
];

/// Where in the template.
#[derive(Clone, Default)]
struct Place {
    /// With the entries' keys: `spec.containers[app].image`.
    path: String,
    /// With empty brackets: `spec.containers[].image`.
    shape: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let holder = self.shape.rsplit('.').next().unwrap_or_default();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if FREE_MAPS.contains(&holder) || !plain {
            return self.entry(name);
        }
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{name}", self.path), shape: format!("{}{dot}{name}", self.shape) }
    }

    fn entry(&self, key: &str) -> Self {
        Self { path: format!("{}[{key}]", self.path), shape: format!("{}[]", self.shape) }
    }
}

type Object = Map<String, Value>;

struct Found<'a> {
    differences: Vec<Difference>,
    surroundings: Surroundings,
    /// The container or volume that is being gone through.
    around: Option<Around<'a>>,
}

impl<'a> Found<'a> {
    fn compare(&mut self, place: &Place, old: Option<&'a Value>, new: Option<&'a Value>) {
        if old == new {
            return;
        }
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => self.compare_objects(place, Some(old), Some(new)),
            (Some(Value::Object(old)), None) if GONE_THROUGH.contains(&place.shape.as_str()) => {
                self.compare_objects(place, Some(old), None);
            }
            (None, Some(Value::Object(new))) if GONE_THROUGH.contains(&place.shape.as_str()) => {
                self.compare_objects(place, None, Some(new));
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => self.compare_lists(place, old, new),
            (Some(Value::Array(old)), None) if LISTS_GONE_THROUGH.contains(&place.shape.as_str()) => {
                self.compare_lists(place, old, &[]);
            }
            (None, Some(Value::Array(new))) if LISTS_GONE_THROUGH.contains(&place.shape.as_str()) => {
                self.compare_lists(place, &[], new);
            }
            (Some(old), Some(new)) if same_meaning(&place.shape, old, new) => {}
            _ => self.push(place, old, new),
        }
    }

    fn compare_objects(&mut self, place: &Place, old: Option<&'a Object>, new: Option<&'a Object>) {
        let keys: BTreeSet<&String> = [old, new].into_iter().flatten().flat_map(Map::keys).collect();
        for key in keys {
            self.compare(&place.field(key), old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key)));
        }
    }

    fn compare_lists(&mut self, place: &Place, old: &'a [Value], new: &'a [Value]) {
        match list_kind(&place.shape) {
            ListKind::Keyed(keys) => {
                self.compare_keyed(place, old, new, keys);
            }
            ListKind::Ordered(keys) => {
                if self.compare_keyed(place, old, new, keys) && order_differs(old, new, keys) {
                    self.push(place, Some(&keys_of(old, keys)), Some(&keys_of(new, keys)));
                }
            }
            ListKind::Environment => {
                let keyed = self.compare_keyed(place, old, new, &["name"]);
                if keyed && has_reference(old.iter().chain(new)) && order_differs(old, new, &["name"]) {
                    self.push(place, Some(&keys_of(old, &["name"])), Some(&keys_of(new, &["name"])));
                }
            }
            ListKind::Set if same_members(old, new) => {}
            ListKind::Set | ListKind::Plain => self.push_list(place, old, new),
        }
    }

    /// False where the lists cannot be told apart by these keys and were compared as a whole.
    fn compare_keyed(&mut self, place: &Place, old: &'a [Value], new: &'a [Value], keys: &[&str]) -> bool {
        let (Some(old_entries), Some(new_entries)) = (by_key(old, keys), by_key(new, keys)) else {
            self.push_list(place, old, new);
            return false;
        };
        // In the order of the new list, then what is gone.
        let gone = old.iter().filter_map(|entry| key_of(entry, keys)).filter(|key| !new_entries.contains_key(key));
        let all: Vec<String> = new.iter().filter_map(|entry| key_of(entry, keys)).chain(gone).collect();
        for key in all {
            let (old, new) = (old_entries.get(&key).copied(), new_entries.get(&key).copied());
            let outer = self.around.take();
            self.around = Around::of(&place.shape, &key, old, new).or_else(|| outer.clone());
            self.compare(&place.entry(&key), old, new);
            self.around = outer;
        }
        true
    }

    fn push_list(&mut self, place: &Place, old: &[Value], new: &[Value]) {
        if old != new {
            self.push(place, Some(&old.into()), Some(&new.into()));
        }
    }

    fn push(&mut self, place: &Place, old: Option<&Value>, new: Option<&Value>) {
        let path = if place.path.is_empty() { "template" } else { &place.path };
        let around = self.around.as_ref();
        let when = self.surroundings.when(&place.shape, &place.path, around, old, new);
        let row = row_for(path, when, around.is_some_and(Around::is_restartable_init));
        self.differences.push(Difference {
            path: path.to_owned(),
            class: row.class,
            needs: row.needs,
            entry: around.map(|around| around.entry.clone()),
            reason: row.reason().to_owned(),
            cannot: row.cannot.to_owned(),
            old: old.cloned(),
            new: new.cloned(),
        });
    }
}

/// Whether an init container goes on running beside the others.
pub(super) fn is_restartable(container: &Value) -> bool {
    container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
}

fn same_meaning(shape: &str, old: &Value, new: &Value) -> bool {
    if shape.ends_with("ontainers[].image") {
        return old.as_str().zip(new.as_str()).is_some_and(|(old, new)| same_reference(old, new));
    }
    is_quantity(shape) && same_quantity(old, new)
}

fn is_quantity(shape: &str) -> bool {
    shape.ends_with(".limits[]")
        || shape.ends_with(".requests[]")
        || shape == "spec.overhead[]"
        || shape.ends_with(".sizeLimit")
        || shape.ends_with(".resourceFieldRef.divisor")
}

/// The entry's key as it stands in a path: `app`, `8080/TCP`.
fn key_of(entry: &Value, keys: &[&str]) -> Option<String> {
    let parts: Option<Vec<String>> = keys
        .iter()
        .map(|key| match entry.get(*key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

/// `None` where an entry has no key or two have the same.
fn by_key<'a>(list: &'a [Value], keys: &[&str]) -> Option<BTreeMap<String, &'a Value>> {
    let mut entries = BTreeMap::new();
    for entry in list {
        if entries.insert(key_of(entry, keys)?, entry).is_some() {
            return None;
        }
    }
    Some(entries)
}

fn keys_of(list: &[Value], keys: &[&str]) -> Value {
    list.iter().filter_map(|entry| key_of(entry, keys)).map(Value::from).collect()
}

/// Whether what both lists have stands in another order.
fn order_differs(old: &[Value], new: &[Value], keys: &[&str]) -> bool {
    let of = |list: &[Value]| -> Vec<String> { list.iter().filter_map(|entry| key_of(entry, keys)).collect() };
    let (old, new) = (of(old), of(new));
    let common_old = old.iter().filter(|key| new.contains(key));
    let common_new = new.iter().filter(|key| old.contains(key));
    !common_old.eq(common_new)
}

fn has_reference<'a>(mut variables: impl Iterator<Item = &'a Value>) -> bool {
    variables.any(|variable| variable.get("value").and_then(Value::as_str).is_some_and(|value| value.contains("$(")))
}

pub(super) fn same_members(old: &[Value], new: &[Value]) -> bool {
    let sorted = |list: &[Value]| {
        let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    sorted(old) == sorted(new)
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
