//! Fields of a set's spec beside the template.

use std::collections::BTreeSet;

use serde_json::Value;

/// A field of the spec that differs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SpecField {
    /// Such as `spec.replicas`.
    pub path: String,
    /// Null: it was not there.
    pub old: Value,
    /// Null: it is not there any more.
    pub new: Value,
}

/// What differs between two specs, the template apart.
pub fn differences(old: &Value, new: &Value) -> Vec<SpecField> {
    let without_template = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("template");
        }
        spec
    };
    let mut found = Vec::new();
    compare("spec", &without_template(old), &without_template(new), &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<SpecField>) {
    if old == new {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
            compare(&format!("{path}.{key}"), &of(old), &of(new), found);
        }
    } else if let Some((old, new)) = named(old).zip(named(new)) {
        let names: BTreeSet<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
        for name in names {
            let of = |list: &[(&str, &Value)]| {
                list.iter().find(|(known, _)| *known == name).map(|(_, entry)| (*entry).clone()).unwrap_or_default()
            };
            compare(&format!("{path}[{name}]"), &of(&old), &of(&new), found);
        }
    } else {
        found.push(SpecField { path: path.to_owned(), old: old.clone(), new: new.clone() });
    }
}

/// A list of objects that have names, such as claim templates.
fn named(list: &Value) -> Option<Vec<(&str, &Value)>> {
    let name = |entry: &Value| -> Option<String> { Some(entry.pointer("/metadata/name")?.as_str()?.to_owned()) };
    let list = list.as_array().filter(|list| !list.is_empty())?;
    list.iter()
        .all(|entry| name(entry).is_some())
        .then(|| list.iter().filter_map(|entry| Some((entry.pointer("/metadata/name")?.as_str()?, entry))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_down_to_what_differs_and_the_template_is_left_out() {
        let claims = |size: &str| json!([{"metadata": {"name": "data"}, "spec": {"size": size}}]);
        let old =
            json!({"replicas": 3, "template": {"a": 1}, "u": {"p": 1, "q": 2}, "volumeClaimTemplates": claims("1")});
        let new =
            json!({"replicas": 5, "template": {"a": 2}, "u": {"q": 2}, "volumeClaimTemplates": claims("2"), "r": [1]});
        let paths: Vec<String> = differences(&old, &new)
            .into_iter()
            .map(|field| format!("{} {} {}", field.path, field.old, field.new))
            .collect();
        assert_eq!(
            paths,
            [
                "spec.r null [1]",
                "spec.replicas 3 5",
                "spec.u.p 1 null",
                "spec.volumeClaimTemplates[data].spec.size \"1\" \"2\"",
            ]
        );
    }
}
