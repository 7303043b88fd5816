//! No field of a Pod template is left without a class: the schema of `k8s-openapi` is gone
//! through, and fields that it does not have yet.

use serde_json::{Map, Value, json};

use super::{Class, differences};

/// Fields that newer servers have: for the schema here they are unknown.
const OF_TOMORROW: &[&str] = &["fieldOfTomorrow", "restartPolicyRules", "hostnameOverride", "workloadRef"];

/// Where something else than Static may come out, by the shape of the path.
const MOVABLE: &[&str] = &[
    "metadata.labels[]",
    "metadata.annotations[]",
    "spec.tolerations",
    "spec.containers[].image",
    "spec.containers[].env",
    "spec.containers[].env[]",
    "spec.containers[].envFrom",
    "spec.containers[].volumeMounts[]",
    "spec.containers[].livenessProbe",
    "spec.containers[].readinessProbe",
    "spec.containers[].resources.limits[]",
    "spec.containers[].resources.requests[]",
    "spec.volumes[]",
];

struct Schema(Value);

impl Schema {
    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        let by_name = |text: &str| self.0.pointer(text.strip_prefix('#').unwrap_or(text));
        if let Some(found) = part.get("$ref").and_then(Value::as_str).and_then(by_name) {
            return self.resolved(found);
        }
        for way in ["anyOf", "allOf", "oneOf"] {
            let ways = part.get(way).and_then(Value::as_array).into_iter().flatten();
            if let Some(found) = ways.map(|one| self.resolved(one)).find(|one| one.get("type") != Some(&json!("null")))
            {
                return found;
            }
        }
        part
    }

    fn is(part: &Value, type_: &str) -> bool {
        match part.get("type") {
            Some(Value::Array(types)) => types.iter().any(|one| one == type_),
            Some(one) => one == type_,
            None => false,
        }
    }

    /// Values of this part that each set one more field than nothing, as deep as it goes.
    fn samples(&self, part: &Value, depth: usize) -> Vec<Value> {
        let part = self.resolved(part);
        if depth == 0 {
            return Vec::new();
        }
        if let Some(fields) = part.get("properties").and_then(Value::as_object) {
            let required = self.required(part, depth);
            let mut all = Vec::new();
            for (name, field) in fields {
                for sample in self.samples(field, depth - 1) {
                    let mut value = required.clone();
                    value.insert(name.clone(), sample);
                    all.push(value.into());
                }
            }
            for name in OF_TOMORROW {
                let mut value = required.clone();
                value.insert((*name).to_owned(), json!("x"));
                all.push(value.into());
            }
            return all;
        }
        if Self::is(part, "array") {
            let items = self.samples(&part["items"], depth - 1);
            return items.into_iter().map(|item| json!([item])).collect();
        }
        if Self::is(part, "object") {
            let values = self.samples(&part["additionalProperties"], depth - 1);
            let keyed = |value: Value| json!({"cpu": value.clone(), "example.com/x": value});
            return values.into_iter().map(keyed).chain([json!({"cpu": "1"})]).collect();
        }
        vec![Self::leaf(part)]
    }

    /// The fields without which the apiserver takes no such object.
    fn required(&self, part: &Value, depth: usize) -> Map<String, Value> {
        let names = part.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names
            .filter_map(|name| {
                let sample = self.samples(part.get("properties")?.get(name)?, depth - 1).into_iter().next()?;
                Some((name.to_owned(), sample))
            })
            .collect()
    }

    fn leaf(part: &Value) -> Value {
        if Self::is(part, "boolean") {
            json!(true)
        } else if Self::is(part, "integer") || Self::is(part, "number") {
            json!(77)
        } else {
            json!("x")
        }
    }
}

fn schema_of<T: schemars::JsonSchema>() -> Schema {
    Schema(serde_json::to_value(schemars::schema_for!(T)).unwrap())
}

fn base() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "app", "image": "app:v1"}],
            "initContainers": [
                {"name": "setup", "image": "setup:v1"},
                {"name": "proxy", "image": "proxy:v1", "restartPolicy": "Always"},
            ],
        },
    })
}

fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut depth = 0;
    for letter in path.chars() {
        depth -= i32::from(letter == ']');
        if depth == 0 {
            shape.push(letter);
        }
        depth += i32::from(letter == '[');
    }
    shape
}

/// Every difference has a class and a reason; how many of them are not Static.
fn judged(old: &Value, new: &Value, may_be_nothing: bool) -> usize {
    let found = differences(old, new);
    assert!(may_be_nothing || !found.is_empty(), "nothing differs: {new}");
    let mut movable = 0;
    for difference in &found {
        assert!(!difference.reason.is_empty(), "{difference:?}");
        if difference.class == Class::Static {
            continue;
        }
        movable += 1;
        let of_tomorrow = OF_TOMORROW.iter().any(|name| difference.path.contains(name));
        let holds_it = |side: &Option<Value>| {
            side.as_ref().is_some_and(|value| OF_TOMORROW.iter().any(|name| value.to_string().contains(name)))
        };
        assert!(!of_tomorrow && !holds_it(&difference.old) && !holds_it(&difference.new), "{difference:?}");
        let shape = shape(&difference.path).replace("spec.initContainers[]", "spec.containers[]");
        assert!(MOVABLE.iter().any(|allowed| shape.starts_with(allowed)), "{difference:?}");
        assert!(!difference.path.contains("[setup]"), "{difference:?}");
    }
    movable
}

#[test]
fn every_field_of_a_pod_has_a_class() {
    let schema = schema_of::<k8s_openapi::api::core::v1::PodSpec>();
    let mut movable = 0;
    let samples = schema.samples(&schema.0.clone(), 7);
    assert!(samples.len() > 1000, "only {} fields", samples.len());
    for sample in samples {
        let mut new = base();
        for (key, value) in sample.as_object().unwrap() {
            if key == "containers" || key == "initContainers" {
                continue;
            }
            new["spec"][key] = value.clone();
        }
        // A default, or what means the same as nothing.
        movable += judged(&base(), &new, true) + judged(&new, &base(), true);
    }
    assert!(movable > 0);
}

#[test]
fn every_field_of_a_container_has_a_class() {
    let schema = schema_of::<k8s_openapi::api::core::v1::Container>();
    let samples = schema.samples(&schema.0.clone(), 7);
    assert!(samples.len() > 200, "only {} fields", samples.len());
    let mut movable = [0; 3];
    for sample in &samples {
        for (index, (list, at)) in [("containers", 0), ("initContainers", 0), ("initContainers", 1)].iter().enumerate()
        {
            let mut new = base();
            for (key, value) in sample.as_object().unwrap() {
                if key != "name" && key != "restartPolicy" {
                    new["spec"][*list][*at][key] = value.clone();
                }
            }
            movable[index] += judged(&base(), &new, true) + judged(&new, &base(), true);
        }
    }
    assert_eq!(movable[1], 0, "of an init container that runs once");
    assert!(movable[0] > 50 && movable[2] == movable[0], "{movable:?}");
}
