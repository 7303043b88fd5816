//! What `kubectl apply` would send: the difference of a manifest from what it was, and from what is there.

use serde_json::{Map, Value};

/// The JSON merge patch that `kubectl apply` makes: what the manifest says otherwise than the live object, and null for
/// what an earlier manifest said and this one does not.
pub fn three_way(last_applied: Option<&Value>, manifest: &Value, live: &Value) -> Value {
    let manifest = crate::model::canonical::without_nulls(manifest);
    let mut patch = last_applied.map_or_else(|| Value::Object(Map::new()), |last| removals(last, &manifest));
    overlay(&mut patch, changes(live, &manifest).unwrap_or_else(|| Value::Object(Map::new())));
    patch
}

/// What `new` says otherwise than `old`; what it does not speak of stays.
fn changes(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let changed: Map<String, Value> = new
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), changes(old.get(key).unwrap_or(&Value::Null), value)?)))
                .collect();
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        (old, new) if old == new => None,
        (_, new) => Some(new.clone()),
    }
}

/// Null for each field of `old` that `new` has no more.
fn removals(old: &Value, new: &Value) -> Value {
    let mut gone = Map::new();
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        for (key, value) in old {
            match new.get(key) {
                None => drop(gone.insert(key.clone(), Value::Null)),
                Some(kept) => {
                    let below = removals(value, kept);
                    if below.as_object().is_some_and(|below| !below.is_empty()) {
                        gone.insert(key.clone(), below);
                    }
                }
            }
        }
    }
    Value::Object(gone)
}

/// Puts one merge patch over another.
pub fn overlay(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(held) if held.is_object() && value.is_object() => overlay(held, value),
                    _ => drop(below.insert(key, value)),
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// What a JSON merge patch makes of an object (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_goes_only_when_an_earlier_manifest_had_it() {
        let live = json!({"spec": {"replicas": 3, "paused": true, "list": [1], "new": {"a": 1}}, "status": {"x": 1}});
        let last = json!({"spec": {"replicas": 3, "list": [1], "paused": true, "deep": {"a": 1, "b": 2}}});
        let manifest = json!({"spec": {"replicas": 5, "list": [1, 2], "deep": {"a": 1}, "none": null}});
        assert_eq!(
            three_way(Some(&last), &manifest, &live),
            json!({"spec": {"replicas": 5, "list": [1, 2], "paused": null, "deep": {"a": 1, "b": null}}})
        );
        assert_eq!(three_way(None, &manifest, &live)["spec"].get("paused"), None);
        assert_eq!(three_way(Some(&live), &live, &live), json!({}));
    }

    #[test]
    fn a_merge_patch_takes_away_what_it_names_as_null() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": {}});
        merge(&mut object, &json!({"a": {"c": null, "d": {"e": null, "f": 1}}, "list": [3], "gone": null}));
        assert_eq!(object, json!({"a": {"b": 1, "d": {"f": 1}}, "list": [3]}));
    }

    #[test]
    fn one_patch_is_put_over_another() {
        let mut patch = json!({"a": {"b": 1, "c": null}});
        overlay(&mut patch, json!({"a": {"c": 2}, "d": []}));
        assert_eq!(patch, json!({"a": {"b": 1, "c": 2}, "d": []}));
    }
}
