//! What a patch writes into a Pod's spec, entry by entry, and the traps of strategic merges: maps
//! are replaced where their kind may change, order is given where it means something, and what is
//! gone is said to be.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::diff::{Difference, Entry};
use super::resize::resize_of;
use super::table::Class;
use crate::model::FieldKind;

type Object = Map<String, Value>;

/// Fields that one entry of a Pod's list gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What the cluster must be able to do; `None`: nothing special.
    pub needs: Option<FieldKind>,
    pub entry: Entry,
    /// As a strategic merge patch of the entry takes them, without its name.
    pub fields: Object,
}

/// The operations for all differences that are not Static, beside labels, annotations and
/// tolerations. `old` and `new` are defaulted.
pub(super) fn operations(differences: &[Difference], old: &Value, new: &Value) -> Vec<Operation> {
    let mut wanted: BTreeSet<(&Entry, Option<FieldKind>)> = BTreeSet::new();
    for difference in differences.iter().filter(|difference| difference.class != Class::Static) {
        wanted.extend(difference.entry.as_ref().map(|entry| (entry, difference.needs)));
    }
    wanted
        .into_iter()
        .filter_map(|(entry, needs)| {
            let (old, new) = (find(old, entry), find(new, entry));
            let fields = match needs {
                None => image(new?),
                Some(FieldKind::Env) => environment(old?, new?),
                Some(FieldKind::VolumeMounts) => mounts(old?, new?),
                Some(FieldKind::Probes) => probes(old?, new?),
                Some(FieldKind::Resize) => {
                    [("resources".to_owned(), resize_of(old?, new?).into())].into_iter().collect()
                }
                Some(FieldKind::Volumes | FieldKind::VolumeSources) => volume(old, new),
            };
            Some(Operation { needs, entry: entry.clone(), fields })
        })
        .collect()
}

/// The strategic merge patch of a spec that these operations make; null where there are none.
pub fn assemble<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Value {
    let mut spec = Value::Null;
    for operation in operations {
        let list = &mut spec[operation.entry.list];
        if list.is_null() {
            *list = json!([]);
        }
        let Some(list) = list.as_array_mut() else { continue };
        let named =
            list.iter().position(|held| held.get("name").and_then(Value::as_str) == Some(&operation.entry.name));
        let index = named.unwrap_or_else(|| {
            list.push(json!({"name": operation.entry.name}));
            list.len() - 1
        });
        if let Some(entry) = list[index].as_object_mut() {
            entry.extend(operation.fields.clone());
        }
    }
    spec
}

/// An entry of a template's spec.
pub(super) fn find<'a>(template: &'a Value, entry: &Entry) -> Option<&'a Value> {
    let list = template.get("spec")?.get(entry.list)?.as_array()?;
    list.iter().find(|held| held.get("name").and_then(Value::as_str) == Some(&entry.name))
}

fn image(new: &Value) -> Object {
    [("image".to_owned(), new.get("image").cloned().unwrap_or_default())].into_iter().collect()
}

/// Variables by name. One that turns from a value into a reference loses the value, and the order
/// is the new one, as variables refer to earlier ones. Those that the Pod got elsewhere stay.
fn environment(old: &Value, new: &Value) -> Object {
    let mut fields = Object::new();
    let (old_list, new_list) = (list(old, "env"), list(new, "env"));
    if old_list != new_list {
        let mut entries = Vec::new();
        for variable in new_list {
            let before = by(old_list, "name", variable);
            if before != Some(variable) {
                let mut value_from =
                    replaced(before.and_then(|before| before.get("valueFrom")), variable.get("valueFrom"));
                // A Pod may hold a literal as a reference to an annotation of its own.
                let was_literal = before.is_some_and(|before| before.get("valueFrom").is_none());
                if let Some(source) = value_from.as_object_mut().filter(|_| was_literal) {
                    source.entry("fieldRef").or_insert(Value::Null);
                }
                entries.push(json!({
                    "name": variable.get("name"),
                    "value": variable.get("value"),
                    "valueFrom": value_from,
                }));
            }
        }
        let order: Vec<Value> = new_list.iter().map(|variable| json!({"name": variable.get("name")})).collect();
        entries.extend(removed(old_list, new_list, "name"));
        fields.insert("env".into(), entries.into());
        if !order.is_empty() {
            fields.insert("$setElementOrder/env".into(), order.into());
        }
    }
    if old.get("envFrom") != new.get("envFrom") {
        // A list without keys: written as a whole.
        fields.insert("envFrom".into(), new.get("envFrom").cloned().unwrap_or_default());
    }
    fields
}

/// Mounts by their path. The token's, and others that admission added, stay.
fn mounts(old: &Value, new: &Value) -> Object {
    let (old_list, new_list) = (list(old, "volumeMounts"), list(new, "volumeMounts"));
    let mut entries = Vec::new();
    for mount in new_list {
        let before = by(old_list, "mountPath", mount);
        if before == Some(mount) {
            continue;
        }
        let mut entry = mount.as_object().cloned().unwrap_or_default();
        for key in before.and_then(Value::as_object).into_iter().flat_map(Object::keys) {
            entry.entry(key.clone()).or_insert(Value::Null);
        }
        entries.push(entry.into());
    }
    entries.extend(removed(old_list, new_list, "mountPath"));
    [("volumeMounts".to_owned(), Value::Array(entries))].into_iter().collect()
}

fn probes(old: &Value, new: &Value) -> Object {
    ["livenessProbe", "readinessProbe"]
        .into_iter()
        .filter(|probe| old.get(*probe) != new.get(*probe))
        .map(|probe| (probe.to_owned(), replaced(old.get(probe), new.get(probe))))
        .collect()
}

/// A volume that comes, goes, or gets another source (also of another type).
fn volume(old: Option<&Value>, new: Option<&Value>) -> Object {
    let Some(new) = new.and_then(Value::as_object) else {
        return [("$patch".to_owned(), json!("delete"))].into_iter().collect();
    };
    let mut fields = Object::new();
    for (key, source) in new.iter().filter(|(key, _)| *key != "name") {
        fields.insert(key.clone(), replaced(old.and_then(|old| old.get(key)), Some(source)));
    }
    if old.is_some() {
        fields.insert("$retainKeys".into(), new.keys().cloned().collect::<Vec<_>>().into());
    }
    fields
}

/// A map that is to be as `new` and nothing else; null where there is none any more.
fn replaced(old: Option<&Value>, new: Option<&Value>) -> Value {
    let Some(new) = new else { return Value::Null };
    let mut new = new.clone();
    if let (Some(_), Some(map)) = (old, new.as_object_mut()) {
        map.insert("$patch".into(), json!("replace"));
    }
    new
}

/// The entries of `old` that `new` has no more, by their key, as a patch deletes them.
fn removed<'a>(old: &'a [Value], new: &'a [Value], key: &'a str) -> impl Iterator<Item = Value> + 'a {
    let gone = old.iter().filter(move |entry| by(new, key, entry).is_none());
    gone.map(move |entry| json!({"$patch": "delete", key: entry.get(key)}))
}

fn list<'a>(container: &'a Value, field: &str) -> &'a [Value] {
    container.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn by<'a>(list: &'a [Value], key: &str, like: &Value) -> Option<&'a Value> {
    list.iter().find(|entry| entry.get(key) == like.get(key))
}
