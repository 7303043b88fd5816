//! The reference page, made from the published schema: our own fields, and not those of the
//! Kubernetes types inside.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::crd::{self, CrdError};

/// Fields whose inside is Kubernetes' own.
const EMBEDDED: [&str; 4] = ["spec.selector", "spec.template", "spec.volumeClaimTemplates", "matchSelector"];

const HEAD: &str = "\
# AdvancedStatefulSet: the fields

<!-- Made by `make crds` from src/api. Do not edit. -->

`apiVersion: apps.asts.dev/v1beta1`, `kind: AdvancedStatefulSet`, short name `asts`, category `all`. The apiserver
refuses what breaks a bound or a rule with a message that names the field, and fills in the defaults that are named
here. An explicit null is the same as an absent field, and in a field with named values an empty text is too.
";

/// The page in Markdown.
pub fn markdown() -> Result<String, CrdError> {
    let schema = crd::schema()?;
    let mut page = HEAD.to_owned();
    for (title, part) in [("spec", &schema["properties"]["spec"]), ("status", &schema["properties"]["status"])] {
        write!(page, "\n## {title}\n\n| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n")?;
        rows(&mut page, title, part)?;
    }
    page.push_str("\n## Rules\n\nRefused unless they hold:\n\n");
    for message in messages(&schema) {
        writeln!(page, "- {}", message.replace('<', "&lt;"))?;
    }
    page.push_str(TAIL);
    Ok(page)
}

const TAIL: &str = "
## Columns

`kubectl get asts` prints desired, updated, ready and available Pods, whether the rollout is paused, and the age;
`-o wide` adds the images of the containers and the names of the current and the update revision.
";

fn rows(page: &mut String, path: &str, schema: &Value) -> Result<(), CrdError> {
    let none = Map::new();
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, field) in schema["properties"].as_object().unwrap_or(&none) {
        let path = format!("{path}.{name}");
        let items = &field["items"];
        let must = if required.contains(&Value::from(name.as_str())) { "**required**" } else { "" };
        let default = field.get("default").map_or_else(|| must.to_owned(), |default| format!("`{default}`"));
        let meaning = field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        writeln!(page, "| `{path}` | {} | {default} | {} | {meaning} |", kind(field), bounds(field))?;
        if EMBEDDED.iter().any(|embedded| path.ends_with(embedded)) {
            continue;
        }
        rows(page, &path, field)?;
        rows(page, &format!("{path}[]"), items)?;
    }
    Ok(())
}

fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return "integer or string".to_owned();
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Some(kind) => schema["format"].as_str().filter(|format| *format == "date-time").unwrap_or(kind).to_owned(),
        None => "any".to_owned(),
    }
}

fn bounds(schema: &Value) -> String {
    let mut all = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str).filter(|value| !value.is_empty());
        all.push(values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "));
    }
    let units = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ];
    all.extend(units.iter().filter_map(|(least, most, unit)| {
        match (schema[least].as_number(), schema[most].as_number()) {
            (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
            (Some(least), None) => Some(format!("at least {least}{unit}")),
            (None, Some(most)) => Some(format!("at most {most}{unit}")),
            (None, None) => None,
        }
    }));
    all.join("; ")
}

/// The messages of all rules of our own fields, each once, in the order of the schema.
fn messages(schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    collect(schema, &mut all);
    all
}

fn collect(schema: &Value, all: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        let message =
            message.split_once(": ").map_or_else(|| message.to_owned(), |(field, rest)| format!("`{field}`: {rest}"));
        if !all.contains(&message) {
            all.push(message);
        }
    }
    for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.values()) {
        collect(field, all);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|inner| inner.is_object()) {
        collect(inner, all);
    }
}
