//! `env: Annotations`: literal environment variables whose values are kept in annotations of the
//! Pod, where they can change while it runs.
//!
//! A variable `value: x` of the template becomes, in the Pod, a downward-API reference to an
//! annotation that holds `x`. The kubelet resolves it each time that it starts the container, at
//! the variable's own place in the list, so later variables that name it as `$(NAME)` see the same.
//! A value that has a `$` itself is expanded by the kubelet and what a reference gives is not: such
//! values stay as they are. So do names that stand in a list twice.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::names;
use crate::model::revision::hash_text;

type Object = Map<String, Value>;

/// Letters of the hash in a key: 27^20 values.
const KEY_LETTERS: usize = 20;
/// Most that the keys and values of an object's annotations may have together, in bytes: the
/// apiserver's limit.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// What is left free of it: our own bookkeeping, and what other controllers write on Pods.
const OTHERS_BYTES: usize = 16 * 1024;

/// The annotation that holds a variable of a container.
pub fn key(container: &str, variable: &str) -> String {
    // Neither name can hold a line break.
    let hash = hash_text(&format!("{container}\n{variable}"), KEY_LETTERS);
    format!("{}{hash}", names::ENV_ANNOTATION_PREFIX)
}

/// Puts a template's literal variables into annotations. `spec` and `annotations`: of the Pod that
/// is being made.
pub fn move_to_annotations(spec: &mut Object, annotations: &mut Object) {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if list == "initContainers" && !super::diff::is_restartable(container) {
                continue;
            }
            for (variable, value) in literals(container) {
                let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
                let key = key(name, &variable);
                if let Some(entry) = variable_mut(container, &variable) {
                    *entry = json!({"name": variable, "valueFrom": {"fieldRef": {"fieldPath": field_path(&key)}}});
                    annotations.insert(key, value.into());
                }
            }
        }
    }
}

/// The variables of a container (of a template) that can be kept in annotations, with their values.
pub fn literals(container: &Value) -> BTreeMap<String, String> {
    let variables = || container.get("env").and_then(Value::as_array).into_iter().flatten();
    let name_of = |variable: &Value| variable.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in variables().filter_map(name_of) {
        *counts.entry(name).or_default() += 1;
    }
    variables()
        .filter_map(|variable| {
            let name = name_of(variable)?;
            let value = match variable.get("value") {
                None | Some(Value::Null) => "",
                Some(value) => value.as_str()?,
            };
            let other_source = variable.get("valueFrom").is_some_and(|source| !source.is_null());
            let plain = !other_source && !value.contains('$') && counts.get(&name) == Some(&1);
            plain.then(|| (name, value.to_owned()))
        })
        .collect()
}

/// The Pod with the values of its annotations where it refers to them: as if they had always been
/// literal.
pub fn with_literals(pod: &Value) -> Value {
    let mut restored = pod.clone();
    let annotations = pod.pointer("/metadata/annotations");
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in restored.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(name) = container.get("name").and_then(Value::as_str).map(str::to_owned) else { continue };
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(key) = referred_key(&name, variable) else { continue };
                // A reference to an annotation that is missing gives an empty text.
                let value = annotations.and_then(|annotations| annotations.get(&key)).cloned();
                *variable = json!({"name": variable.get("name"), "value": value.unwrap_or_else(|| "".into())});
            }
        }
    }
    restored
}

/// Whether the annotations of the template's Pods would be more than an apiserver takes.
///
/// # Errors
/// What is too large, as users read it.
pub fn check_size(template: &Value) -> Result<(), String> {
    let bytes = annotation_bytes(template);
    let limit = ANNOTATIONS_BYTES_MAX - OTHERS_BYTES;
    if bytes <= limit {
        return Ok(());
    }
    Err(format!(
        "with inPlaceUpdateStrategy.env Annotations the annotations of a Pod would have {bytes} bytes, the limit is \
         {limit} ({ANNOTATIONS_BYTES_MAX} for all, {OTHERS_BYTES} of them kept free): make the values of variables \
         shorter, take them from a ConfigMap, or set env to Patch"
    ))
}

/// The bytes of the annotations of a Pod that is made with its literals in them.
fn annotation_bytes(template: &Value) -> usize {
    let mut annotations =
        template.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut spec = template.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    move_to_annotations(&mut spec, &mut annotations);
    annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
}

/// `spec…env[].valueFrom.fieldRef.fieldPath` of a reference to an annotation.
pub fn field_path(key: &str) -> String {
    format!("metadata.annotations['{key}']")
}

/// Whether a Pod's variable with this `fieldPath` refers to the annotation that holds its value.
pub fn is_reference(container: &str, variable: &str, path: &str) -> bool {
    path.contains(names::ENV_ANNOTATION_PREFIX) && path == field_path(&key(container, variable))
}

/// The annotation that a Pod's variable refers to, where that is the one that holds its value.
fn referred_key(container: &str, variable: &Value) -> Option<String> {
    let name = variable.get("name")?.as_str()?;
    let path = variable.pointer("/valueFrom/fieldRef/fieldPath")?.as_str()?;
    is_reference(container, name, path).then(|| key(container, name))
}

/// The variables of a Pod's container whose values are in annotations.
pub fn variables_in_annotations(container: &Value) -> Box<[Box<str>]> {
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
    let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
    variables
        .filter(|variable| referred_key(name, variable).is_some())
        .filter_map(|variable| variable.get("name")?.as_str().map(Box::from))
        .collect()
}

fn variable_mut<'a>(container: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let variables = container.get_mut("env")?.as_array_mut()?;
    variables.iter_mut().find(|variable| variable.get("name").and_then(Value::as_str) == Some(name))
}

#[cfg(test)]
#[path = "env_annotations_tests.rs"]
mod tests;
