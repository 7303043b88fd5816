//! Schemas of the Kubernetes types inside ours: typed, so that a wrong type is refused when it is
//! applied, and open, so that fields newer than this version are kept.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::crd::CrdError;

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const DEFINITIONS: &str = "#/$defs/";

/// Fields that the published types call required, and whose absence the apiserver takes for their
/// zero value all the same: a manifest that is valid without them stays so.
const NOT_REALLY_REQUIRED: [(&str, &str); 5] = [
    ("io.k8s.api.core.v1.HTTPHeader", "value"),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "lun"),
    ("io.k8s.api.core.v1.LocalObjectReference", "name"),
    ("io.k8s.api.core.v1.SleepAction", "seconds"),
    ("io.k8s.api.core.v1.Sysctl", "value"),
];

/// The schema of a Kubernetes type with every reference put in place.
pub(super) fn schema<T: JsonSchema>() -> Result<Value, CrdError> {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let root = serde_json::to_value(generator.into_root_schema_for::<T>())?;
    let none = Map::new();
    let definitions = root.get("$defs").and_then(Value::as_object).unwrap_or(&none);
    let mut schema = resolved(&root, definitions);
    strip(&mut schema);
    open(&mut schema);
    Ok(schema)
}

/// `node` with references replaced by what they point to. The types have no cycles.
fn resolved(node: &Value, definitions: &Map<String, Value>) -> Value {
    match node {
        Value::Object(object) => match referenced(object) {
            Some(QUANTITY) => quantity(),
            Some(name) => {
                let mut found =
                    definitions.get(name).map_or_else(|| node.clone(), |found| resolved(found, definitions));
                relax(name, &mut found);
                found
            }
            None => object
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "$defs" | "$schema" | "title"))
                .map(|(key, value)| (key.clone(), resolved(value, definitions)))
                .collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, definitions)).collect(),
        other => other.clone(),
    }
}

fn relax(name: &str, schema: &mut Value) {
    let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|field| !NOT_REALLY_REQUIRED.iter().any(|(of, optional)| *of == name && field == optional));
    if required.is_empty()
        && let Some(object) = schema.as_object_mut()
    {
        object.remove("required");
    }
}

fn referenced(object: &Map<String, Value>) -> Option<&str> {
    object.get("$ref")?.as_str()?.strip_prefix(DEFINITIONS)
}

/// A quantity is a string or any number. `x-kubernetes-int-or-string` would refuse 0.5, and no
/// `type` covers both, so the type is left open and what is no quantity is refused one by one.
fn quantity() -> Value {
    json!({
        "x-kubernetes-preserve-unknown-fields": true,
        "pattern": "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        "not": {"enum": [true, false]},
        "minItems": 1, "maxItems": 0,
        "minProperties": 1, "maxProperties": 0,
    })
}

/// Removes descriptions and defaults, by which the schema shrinks to a sixth.
pub(super) fn strip(schema: &mut Value) {
    walk(schema, &|object| {
        object.remove("description");
        object.remove("default");
    });
}

/// Lets every object keep fields that the schema does not know.
fn open(schema: &mut Value) {
    walk(schema, &|object| {
        let is_object = object.get("type").and_then(Value::as_str) == Some("object");
        if is_object && !object.contains_key("additionalProperties") {
            object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
        }
    });
}

/// Calls `change` on each schema node, and not on the names of properties.
fn walk(schema: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    let Some(object) = schema.as_object_mut() else { return };
    change(object);
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| walk(property, change));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            walk(inner, change);
        }
    }
}
