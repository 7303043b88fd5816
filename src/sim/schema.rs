//! The defaults of the resource's definition, as an apiserver fills them in at each write.

use std::sync::OnceLock;

use serde_json::Value;

/// Fills in what a set's spec leaves out.
pub fn fill_in(set: &mut Value) {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| crate::api::crd::schema().unwrap_or_default());
    if let (Some(spec), Some(schema)) = (set.get_mut("spec"), schema.pointer("/properties/spec")) {
        fill(spec, schema);
    }
}

fn fill(value: &mut Value, schema: &Value) {
    if let (Some(fields), Some(known)) = (value.as_object_mut(), schema["properties"].as_object()) {
        for (name, schema) in known {
            if let (false, Some(default)) = (fields.contains_key(name), schema.get("default")) {
                fields.insert(name.clone(), default.clone());
            }
            if let Some(value) = fields.get_mut(name) {
                fill(value, schema);
            }
        }
    }
    for entry in value.as_array_mut().into_iter().flatten() {
        fill(entry, &schema["items"]);
    }
}
