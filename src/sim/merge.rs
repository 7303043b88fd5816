//! Strategic merge patches as an apiserver applies them, for the lists and directives that our
//! patches use.

use serde_json::{Map, Value};

/// The key by which entries of a list are merged; `None`: the list is replaced.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "conditions" => Some("type"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    if directive(patch) == Some("replace") {
        map.clear();
    }
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|name| name == key));
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        match (value, merge_key(key)) {
            (Value::Null, _) => drop(map.remove(key)),
            (Value::Array(entries), _) if key == "finalizers" => {
                let kept = map.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
                let mut all: Vec<Value> = entries.iter().filter(|name| !kept.contains(name)).cloned().collect();
                all.extend(kept);
                map.insert(key.clone(), all.into());
            }
            (Value::Array(entries), Some(merge_key)) => {
                let list = map.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(list, entries, merge_key);
            }
            (Value::Object(_), _) => merge(map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), value),
            _ => drop(map.insert(key.clone(), value.clone())),
        }
    }
    for (key, order) in patch.iter().filter_map(|(key, order)| Some((key.strip_prefix("$setElementOrder/")?, order))) {
        if let (Some(merge_key), Some(list)) = (merge_key(key), map.get_mut(key).and_then(Value::as_array_mut)) {
            put_in_order(list, order, merge_key);
        }
    }
    map.retain(|key, value| merge_key(key).is_none() || !value.as_array().is_some_and(Vec::is_empty));
}

fn directive(patch: &Map<String, Value>) -> Option<&str> {
    patch.get("$patch").and_then(Value::as_str)
}

fn merge_list(list: &mut Value, entries: &[Value], key: &str) {
    let Some(list) = list.as_array_mut() else { return };
    for entry in entries {
        let found = list.iter().position(|old| old.get(key) == entry.get(key));
        let remove = entry.as_object().and_then(directive) == Some("delete");
        match (found, remove) {
            (Some(index), true) => drop(list.remove(index)),
            (None, true) => {}
            (Some(index), false) => merge(&mut list[index], entry),
            (None, false) => {
                let mut new = Value::Null;
                merge(&mut new, entry);
                list.push(new);
            }
        }
    }
}

/// Entries that the order names stand in it; each other one stays behind the one that it followed.
fn put_in_order(list: &mut Vec<Value>, order: &Value, key: &str) {
    let place = |entry: &Value| {
        order.as_array().and_then(|order| order.iter().position(|named| named.get(key) == entry.get(key)))
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|entry| place(entry).is_some());
    named.sort_by_key(place);
    list.extend(named);
    list.extend(others);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: Value) -> Value {
        merge(&mut target, &patch);
        target
    }

    #[test]
    fn lists_are_merged_by_key_and_nulls_remove() {
        assert_eq!(
            merged(
                json!({"metadata": {"labels": {"a": "1", "b": "2"}, "ownerReferences": [{"uid": "x"}]},
                    "spec": {"containers": [{"name": "app", "image": "1"}, {"name": "side", "image": "1"}]}}),
                json!({"metadata": {"labels": {"a": null, "c": "3"}, "ownerReferences": [{"$patch": "delete", "uid": "x"}]},
                    "spec": {"containers": [{"name": "app", "image": "2"}]}})
            ),
            json!({"metadata": {"labels": {"b": "2", "c": "3"}},
                "spec": {"containers": [{"name": "app", "image": "2"}, {"name": "side", "image": "1"}]}})
        );
    }

    #[test]
    fn directives() {
        assert_eq!(
            merged(
                json!({"probe": {"exec": {"command": ["a"]}, "periodSeconds": 1}}),
                json!({"probe": {"$patch": "replace", "tcpSocket": {"port": 1}}})
            ),
            json!({"probe": {"tcpSocket": {"port": 1}}})
        );
        assert_eq!(
            merged(
                json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
                json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]})
            ),
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})
        );
        assert_eq!(
            merged(
                json!({"env": [{"name": "A"}, {"name": "injected"}, {"name": "B"}]}),
                json!({"env": [{"name": "C"}], "$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "A"}]})
            ),
            json!({"env": [{"name": "C"}, {"name": "B"}, {"name": "A"}, {"name": "injected"}]})
        );
    }
}
