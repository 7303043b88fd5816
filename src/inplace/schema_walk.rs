//! Goes through a schema of Kubernetes' and looks at how each field of a Pod template is judged. Tests only: here over the
//! schema of `k8s-openapi`, in `e2e` over that of a running apiserver. The module around it names `inplace`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};

use super::inplace::{Class, Difference, differences};

/// Fields that newer servers have: for the schema here they are unknown.
const OF_TOMORROW: &[&str] = &["fieldOfTomorrow", "restartPolicyRules", "hostnameOverride", "workloadRef"];

/// Fields that the types here do not have, and that are known all the same.
const KNOWN_ALL_THE_SAME: &[&str] = &["fileKeyRef", "podCertificate"];

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

/// A type of Kubernetes, as an OpenAPI or JSON schema has it.
pub struct Schema {
    /// What `$ref` looks in.
    pub document: Value,
    pub root: Value,
}

impl Schema {
    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        let by_name = |text: &str| self.document.pointer(text.strip_prefix('#').unwrap_or(text));
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

    fn all_samples(&self) -> Vec<Value> {
        const DEPTH_MAX: usize = 7;
        self.samples(&self.root, DEPTH_MAX)
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

/// The names of fields that are not known: the types of `k8s-openapi` do not have them.
fn lost_fields(template: &Value) -> Vec<String> {
    let Ok(typed) = serde_json::from_value::<PodTemplateSpec>(template.clone()) else { return Vec::new() };
    let Ok(kept) = serde_json::to_value(typed) else { return Vec::new() };
    let mut lost = Vec::new();
    collect_lost(template, &kept, &mut lost);
    lost
}

fn collect_lost(written: &Value, kept: &Value, lost: &mut Vec<String>) {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (name, value) in written {
                match kept.get(name) {
                    Some(kept) => collect_lost(value, kept, lost),
                    None if KNOWN_ALL_THE_SAME.contains(&name.as_str()) => {}
                    None => lost.push(name.clone()),
                }
            }
        }
        (Value::Array(written), Value::Array(kept)) => {
            written.iter().zip(kept).for_each(|(written, kept)| collect_lost(written, kept, lost));
        }
        _ => {}
    }
}

/// Every difference has a class and a reason, and what the types do not know is Static; how many are not Static.
fn judged(old: &Value, new: &Value) -> usize {
    let found = differences(old, new);
    let strangers: BTreeSet<String> = lost_fields(old).into_iter().chain(lost_fields(new)).collect();
    let holds = |difference: &Difference, name: &str| {
        let sides = [&difference.old, &difference.new].into_iter().flatten();
        difference.path.contains(name)
            || sides.into_iter().any(|side| side.to_string().contains(&format!("\"{name}\":")))
    };
    for name in &strangers {
        let is_static = found.iter().any(|it| it.class == Class::Static && holds(it, name));
        assert!(is_static, "{name} is unknown here, and nothing Static names it: {found:?}");
    }
    let mut movable = 0;
    for difference in &found {
        assert!(!difference.reason.is_empty(), "{difference:?}");
        if difference.class == Class::Static {
            continue;
        }
        movable += 1;
        assert!(!strangers.iter().any(|name| holds(difference, name)), "{difference:?}");
        let shape = shape(&difference.path).replace("spec.initContainers[]", "spec.containers[]");
        assert!(MOVABLE.iter().any(|allowed| shape.starts_with(allowed)), "{difference:?}");
        assert!(!difference.path.contains("[setup]"), "{difference:?}");
    }
    movable
}

/// Of a `PodSpec`.
pub fn every_field_of_a_pod_has_a_class(schema: &Schema) {
    let mut movable = 0;
    let samples = schema.all_samples();
    assert!(samples.len() > 1000, "only {} fields", samples.len());
    for sample in &samples {
        let mut new = base();
        for (key, value) in sample.as_object().into_iter().flatten() {
            if key == "containers" || key == "initContainers" {
                continue;
            }
            new["spec"][key] = value.clone();
        }
        // A default, or what means the same as nothing.
        movable += judged(&base(), &new) + judged(&new, &base());
    }
    assert!(movable > 0);
}

/// Of a `Container`.
pub fn every_field_of_a_container_has_a_class(schema: &Schema) {
    let samples = schema.all_samples();
    assert!(samples.len() > 200, "only {} fields", samples.len());
    let mut movable = [0; 3];
    for sample in &samples {
        for (index, (list, at)) in [("containers", 0), ("initContainers", 0), ("initContainers", 1)].iter().enumerate()
        {
            let mut new = base();
            for (key, value) in sample.as_object().into_iter().flatten() {
                if key != "name" && key != "restartPolicy" {
                    new["spec"][*list][*at][key] = value.clone();
                }
            }
            movable[index] += judged(&base(), &new) + judged(&new, &base());
        }
    }
    assert_eq!(movable[1], 0, "of an init container that runs once");
    assert!(movable[0] > 50 && movable[2] == movable[0], "{movable:?}");
}
