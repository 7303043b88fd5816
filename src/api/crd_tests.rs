use super::*;
use crate::api::docs;

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

#[test]
fn committed_files_are_fresh() {
    assert!(file("crds/advancedstatefulsets.yaml") == yaml().expect("YAML"), "the definition is stale: make crds");
    assert!(file("docs/api.md") == docs::markdown().expect("Markdown"), "docs/api.md is stale: make crds");
}

#[test]
fn client_side_apply_has_room() {
    let json = definition().expect("definition").to_string();
    assert!(json.len() < CRD_BYTES_MAX, "{} bytes as JSON", json.len());
    let yaml = yaml().expect("YAML");
    assert!(yaml.len() < CRD_BYTES_MAX, "{} bytes as YAML", yaml.len());
}

#[test]
fn yaml_says_what_json_says() {
    let back: Value = serde_saphyr::from_str(&yaml().expect("YAML")).expect("YAML is read back");
    assert_eq!(back, definition().expect("definition"));
}

#[test]
fn every_own_field_has_a_description() {
    let schema = schema().expect("schema");
    let mut bare = Vec::new();
    without_description(&schema["properties"]["spec"], "spec", &mut bare);
    without_description(&schema["properties"]["status"], "status", &mut bare);
    assert!(bare.is_empty(), "no description: {bare:?}");
}

fn without_description(schema: &Value, path: &str, bare: &mut Vec<String>) {
    let embedded = ["spec.selector", "spec.template", "spec.volumeClaimTemplates[]", "matchSelector"];
    if schema["description"].as_str().unwrap_or_default().is_empty() && !path.ends_with("[]") {
        bare.push(path.to_owned());
    }
    if embedded.iter().any(|inner| path.ends_with(inner)) {
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        without_description(field, &format!("{path}.{name}"), bare);
    }
    if schema["items"].is_object() {
        without_description(&schema["items"], &format!("{path}[]"), bare);
    }
}

#[test]
fn the_template_is_typed_open_and_without_defaults() {
    let schema = schema().expect("schema");
    let template = &schema["properties"]["spec"]["properties"]["template"];
    let mut objects = 0;
    each(template, &mut |node| {
        assert!(node.get("default").is_none(), "a default: {node}");
        assert!(node.get("x-kubernetes-list-map-keys").is_none(), "map keys: {node}");
        assert!(node.get("$ref").is_none(), "a reference: {node}");
        if node["type"] == "object" {
            objects += 1;
            let open = node["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(open != node.get("additionalProperties").is_some(), "closed: {node}");
        }
    });
    assert!(objects > 200, "only {objects} objects: is it typed?");
    let container = &template["properties"]["spec"]["properties"]["containers"]["items"]["properties"];
    assert_eq!(container["image"]["type"], "string");
    assert!(container["image"].get("description").is_none());
}

#[test]
fn the_status_has_no_defaults() {
    each(&schema().expect("schema")["properties"]["status"], &mut |node| {
        assert!(node.get("default").is_none(), "a default: {node}");
    });
}

#[test]
fn no_null_is_kept() {
    each(&schema().expect("schema"), &mut |node| assert!(node.get("nullable").is_none(), "nullable: {node}"));
}

#[test]
fn each_rule_names_a_field_first() {
    let mut rules = 0;
    each(&schema().expect("schema"), &mut |node| {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().expect("a message");
            let (field, _) = message.split_once(": ").expect(message);
            let rooted = ["spec.", "metadata.name", "weightPriority."].iter().any(|root| field.starts_with(root));
            assert!(rooted && !field.contains(' '), "{message}");
            rules += 1;
        }
    });
    assert!(rules >= 20, "only {rules} rules");
}

/// Calls `look` on each schema node, and not on the names of properties.
fn each(schema: &Value, look: &mut dyn FnMut(&Value)) {
    look(schema);
    for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.values()) {
        each(field, look);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            each(inner, look);
        }
    }
}
