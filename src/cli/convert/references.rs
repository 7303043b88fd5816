//! Objects that name a converted StatefulSet as their target: autoscalers.

use serde_json::{Value, json};

use super::set::Remark;
use crate::api::names;

/// A set that has changed its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    namespace: Option<String>,
    name: String,
}

impl Moved {
    pub fn of(object: &Value) -> Moved {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Moved { namespace: text("/metadata/namespace"), name: text("/metadata/name").unwrap_or_default() }
    }

    /// An object without a namespace is put into one when it is applied.
    fn is(&self, namespace: Option<&str>, name: &str) -> bool {
        let same_namespace = match (self.namespace.as_deref(), namespace) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        same_namespace && self.name == name
    }
}

/// Where HorizontalPodAutoscalers, ScaledObjects and VerticalPodAutoscalers name their target.
const TARGETS: [&str; 2] = ["scaleTargetRef", "targetRef"];

/// Turns references to the sets to their new kind.
pub fn turn(object: &mut Value, moved: &[Moved]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let namespace = text(object, "/metadata/namespace");
    let is_kruises = text(object, "/apiVersion").is_some_and(|version| version.contains(".kruise.io/"));
    for key in TARGETS {
        let pointer = format!("/spec/{key}");
        let Some((name, version)) = statefulset_named_by(object.pointer(&pointer)) else { continue };
        let field = format!("spec.{key}");
        if !moved.iter().any(|set| set.is(namespace.as_deref(), &name)) {
            let text = format!("names the StatefulSet {name}, which is not among the manifests: left as it is");
            remarks.push(Remark::new(field, text));
            continue;
        }
        if is_kruises {
            let text =
                format!("names the StatefulSet {name}: left as it is, since OpenKruise serves kinds that it knows");
            remarks.push(Remark::new(field, text));
            continue;
        }
        if let Some(target) = object.pointer_mut(&pointer) {
            target["apiVersion"] = json!(names::API_VERSION);
            target["kind"] = json!(names::KIND);
            let text =
                format!("names {} {} {name} now, and named {version} StatefulSet", names::API_VERSION, names::KIND);
            remarks.push(Remark::new(field, text));
        }
    }
    remarks
}

/// Name and version of the StatefulSet that a reference is to.
pub fn statefulset_named_by(reference: Option<&Value>) -> Option<(String, String)> {
    let reference = reference?;
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = text("apiVersion");
    let group = version.split('/').next().unwrap_or_default();
    let is_set = text("kind") == "StatefulSet" && ["", "apps", "apps.kruise.io"].contains(&group);
    is_set.then(|| (text("name"), version))
}
