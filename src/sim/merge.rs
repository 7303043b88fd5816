//! Strategic merge patches, for the lists that the planner's patches touch.

use serde_json::{Map, Value};

/// The key by which entries of a list are merged; `None`: the list is replaced.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
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
    for (key, value) in patch {
        match (value, merge_key(key)) {
            (Value::Null, _) => drop(map.remove(key)),
            (Value::Array(entries), Some(merge_key)) => {
                let list = map.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(list, entries, merge_key);
                if list.as_array().is_some_and(Vec::is_empty) {
                    map.remove(key);
                }
            }
            (Value::Object(_), _) => merge(map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), value),
            _ => drop(map.insert(key.clone(), value.clone())),
        }
    }
}

fn merge_list(list: &mut Value, entries: &[Value], key: &str) {
    let Some(list) = list.as_array_mut() else { return };
    for entry in entries {
        let found = list.iter().position(|old| old.get(key) == entry.get(key));
        let remove = entry.get("$patch").and_then(Value::as_str) == Some("delete");
        match (found, remove) {
            (Some(index), true) => drop(list.remove(index)),
            (None, true) => {}
            (Some(index), false) => merge(&mut list[index], entry),
            (None, false) => list.push(entry.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_merged_by_key_and_nulls_remove() {
        let mut pod = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "ownerReferences": [{"uid": "x"}]},
            "spec": {"containers": [{"name": "app", "image": "1"}, {"name": "side", "image": "1"}]}});
        merge(
            &mut pod,
            &json!({"metadata": {"labels": {"a": null, "c": "3"}, "ownerReferences": [{"$patch": "delete", "uid": "x"}]},
                "spec": {"containers": [{"name": "app", "image": "2"}]}}),
        );
        assert_eq!(
            pod,
            json!({"metadata": {"labels": {"b": "2", "c": "3"}},
                "spec": {"containers": [{"name": "app", "image": "2"}, {"name": "side", "image": "1"}]}})
        );
    }
}
