//! The published CustomResourceDefinition: derived from the types, then completed.
//!
//! The derived schema knows shapes and descriptions. The schemas of the Pod template and of the
//! claim templates come from `embedded`; defaults, bounds and rules from `policy`.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::spec::AdvancedStatefulSet;
use super::{embedded, policy};

/// Most that the definition may have, in bytes, as JSON and as YAML: `kubectl apply` keeps a copy
/// of it in an annotation, and all annotations together may have 256 KiB.
pub const CRD_BYTES_MAX: usize = 200 * 1024;

/// Why the definition could not be made; each is a mistake in this package.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    #[error("the derived definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the definition cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
    #[error("the reference page cannot be written: {0}")]
    Page(#[from] std::fmt::Error),
    #[error("the schema has no {path}, which the policy names; correct the path in src/api/policy.rs")]
    NoSuchPath { path: String },
}

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// The definition as JSON.
pub fn definition() -> Result<Value, CrdError> {
    let mut definition = serde_json::to_value(AdvancedStatefulSet::crd())?;
    let schema = definition.pointer_mut(SCHEMA).ok_or_else(|| CrdError::NoSuchPath { path: SCHEMA.to_owned() })?;
    *at(schema, "spec.template")? = described(schema, "spec.template", embedded::schema::<PodTemplateSpec>()?)?;
    *at(schema, "spec.volumeClaimTemplates[]")? = embedded::schema::<PersistentVolumeClaim>()?;
    for path in EMBEDDED_SELECTORS {
        let selector = at(schema, path)?;
        let description = selector.get("description").cloned();
        embedded::strip(selector);
        if let (Some(description), Some(object)) = (description, selector.as_object_mut()) {
            object.insert("description".to_owned(), description);
        }
    }
    without_nullable(schema);
    policy::complete(schema)?;
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = columns();
    Ok(definition)
}

/// What `kubectl get` prints; priority 1 is for `-o wide`.
fn columns() -> Value {
    let column = |name: &str, kind: &str, path: &str, priority: u8| json!({"name": name, "type": kind, "jsonPath": path, "priority": priority});
    json!([
        column("Desired", "integer", ".spec.replicas", 0),
        column("Updated", "integer", ".status.updatedReplicas", 0),
        column("Ready", "integer", ".status.readyReplicas", 0),
        column("Available", "integer", ".status.availableReplicas", 0),
        column("Paused", "boolean", ".spec.updateStrategy.rollingUpdate.paused", 0),
        column("Age", "date", ".metadata.creationTimestamp", 0),
        column("Images", "string", ".status.images", 1),
        column("Current-Revision", "string", ".status.currentRevision", 1),
        column("Update-Revision", "string", ".status.updateRevision", 1),
    ])
}

/// The schema of the one version.
pub fn schema() -> Result<Value, CrdError> {
    let mut definition = definition()?;
    definition.pointer_mut(SCHEMA).map(Value::take).ok_or_else(|| CrdError::NoSuchPath { path: SCHEMA.to_owned() })
}

/// The definition as YAML, as it is kept in `crds/`.
pub fn yaml() -> Result<String, CrdError> {
    // The template is nested so deep that two columns a level would double the file.
    let options = serde_saphyr::ser_options! { indent_step: 1 };
    let mut text = "# Made by `make crds` from src/api. Do not edit.\n".to_owned();
    serde_saphyr::to_fmt_writer_with_options(&mut text, &definition()?, options)?;
    Ok(text)
}

/// Selectors are of `meta/v1`: their parts need no text of ours.
const EMBEDDED_SELECTORS: [&str; 2] = [
    "spec.selector",
    "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy.weightPriority[].matchSelector",
];

/// The schema at a path such as `spec.reserveOrdinals[]`; `[]` steps into a list's items and `{}`
/// into a map's values. The empty path is the schema itself.
pub(super) fn at<'a>(schema: &'a mut Value, path: &str) -> Result<&'a mut Value, CrdError> {
    let mut pointer = String::new();
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]").trim_end_matches("{}");
        pointer.push_str("/properties/");
        pointer.push_str(name);
        match &step[name.len()..] {
            "[]" => pointer.push_str("/items"),
            "{}" => pointer.push_str("/additionalProperties"),
            _ => {}
        }
    }
    schema.pointer_mut(&pointer).ok_or_else(|| CrdError::NoSuchPath { path: path.to_owned() })
}

fn described(schema: &mut Value, path: &str, mut new: Value) -> Result<Value, CrdError> {
    let description = at(schema, path)?.get("description").cloned();
    if let (Some(description), Some(object)) = (description, new.as_object_mut()) {
        object.insert("description".to_owned(), description);
    }
    Ok(new)
}

/// Without `nullable` the apiserver drops an explicit null, or puts the default in its place, as
/// it does for the built-in kinds.
fn without_nullable(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("nullable");
            object.values_mut().for_each(without_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nullable),
        _ => {}
    }
}

#[cfg(test)]
#[path = "crd_tests.rs"]
mod tests;
