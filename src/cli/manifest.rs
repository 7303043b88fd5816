//! Manifests from files, folders, URLs and standard input: many documents, lists, YAML or JSON.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::CliError;
use super::fetch;

/// One object, and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `FILE`, or `FILE, document 2` where there are many.
    pub place: String,
    pub object: Value,
}

/// Reads all objects that are named by `-f`: files, folders (their `.yaml`, `.yml` and `.json` files; those of folders in
/// them with `--recursive`), URLs, and `-` for standard input. Lists are taken apart.
pub async fn read(paths: &[PathBuf], descent: Descent) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let wrong = |source| CliError::Read { path: "standard input".into(), source };
            std::io::stdin().read_to_string(&mut text).map_err(wrong)?;
            manifests.extend(parse("standard input", &text)?);
            continue;
        }
        if let Some(url) = path.to_str().filter(|path| fetch::is_url(path)) {
            manifests.extend(parse(url, &fetch::text(url).await?)?);
            continue;
        }
        for file in files(path, descent)? {
            let wrong = |source| CliError::Read { path: file.clone(), source };
            let text = std::fs::read_to_string(&file).map_err(wrong)?;
            manifests.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    Ok(manifests)
}

/// Whether folders in folders are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    OneFolder,
    Recursive,
}

fn files(path: &Path, descent: Descent) -> Result<Vec<PathBuf>, CliError> {
    let wrong = |source| CliError::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        entries.push(entry.map_err(wrong)?.path());
    }
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if descent == Descent::Recursive {
                found.extend(files(&entry, descent)?);
            }
        } else if entry.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The objects of a text; `place` names it in errors. Empty documents are left out, also from the count.
pub fn parse(place: &str, text: &str) -> Result<Vec<Manifest>, CliError> {
    let wrong = |error: String| CliError::Manifest { place: place.to_owned(), message: error };
    // As kubectl reads it: YAML 1.1, where 0644 is an octal number.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| wrong(format!("not YAML or JSON: {error}")))?;
    let many = documents.len() > 1;
    let mut manifests = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let place = if many { format!("{place}, document {}", index + 1) } else { place.to_owned() };
        take_apart(&place, document, &mut manifests)?;
    }
    Ok(manifests)
}

/// The object, or those of a list, of which items need no kind where the list's own says it: a `StatefulSetList`, as the
/// apiserver itself answers.
fn take_apart(place: &str, object: Value, found: &mut Vec<Manifest>) -> Result<(), CliError> {
    let wrong = |message: &str| CliError::Manifest { place: place.to_owned(), message: message.to_owned() };
    let Some(kind) = object.get("kind").and_then(Value::as_str) else {
        return Err(wrong("not a Kubernetes object: it has no kind"));
    };
    let (Some(of_items), Some(items)) = (kind.strip_suffix("List"), object.get("items").and_then(Value::as_array))
    else {
        found.push(Manifest { place: place.to_owned(), object });
        return Ok(());
    };
    for (index, item) in items.iter().enumerate() {
        let mut item = item.clone();
        let Some(fields) = item.as_object_mut() else {
            return Err(wrong(&format!("items[{index}] is not a Kubernetes object")));
        };
        if !of_items.is_empty() && !fields.contains_key("kind") {
            fields.insert("kind".into(), of_items.into());
            if let Some(version) = object.get("apiVersion") {
                fields.entry("apiVersion").or_insert_with(|| version.clone());
            }
        }
        take_apart(&format!("{place}, items[{index}]"), item, found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "kind: A\nx: 1\n---\n---\nkind: ConfigMapList\nitems: [{kind: B}, {kind: C}]\n";
        let found = parse("f", text).unwrap();
        let kinds: Vec<&str> = found.iter().map(|it| it.object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(found[1].place, "f, document 2, items[0]");
        assert_eq!(parse("f", r#"{"kind": "A"}"#).unwrap()[0].place, "f");
    }

    #[test]
    fn items_are_of_the_kind_that_their_list_says() {
        let text = r#"{"kind": "StatefulSetList", "apiVersion": "apps/v1", "items": [{"metadata": {"name": "web"}}]}"#;
        let expected = serde_json::json!({"kind": "StatefulSet", "apiVersion": "apps/v1", "metadata": {"name": "web"}});
        assert_eq!(parse("f", text).unwrap()[0].object, expected);
        let mixed =
            "kind: List\napiVersion: v1\nitems: [{kind: BList, apiVersion: b/v1, items: [{x: 1}]}, {kind: C}]\n";
        let found: Vec<Value> = parse("f", mixed).unwrap().into_iter().map(|it| it.object).collect();
        assert_eq!(
            found,
            [serde_json::json!({"kind": "B", "apiVersion": "b/v1", "x": 1}), serde_json::json!({"kind": "C"})]
        );
        let error = parse("f", "kind: List\nitems: [{kind: A}, {x: 1}]\n").unwrap_err().to_string();
        assert_eq!(error, "f, items[1]: not a Kubernetes object: it has no kind");
        assert!(parse("f", "kind: AList\nitems: [1]\n").unwrap_err().to_string().contains("items[0]"));
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        let text = "kind: A\nmode: 0644\nnumbers: [10, 1.5e9, 0o17]\nwords: [yes, off]\ntexts: ['0644', 12:30, 1Gi]\n";
        let object = &parse("f", text).unwrap()[0].object;
        assert_eq!(object["mode"], 420);
        assert_eq!(object["numbers"], serde_json::json!([10, 1.5e9, 15]));
        assert_eq!(object["words"], serde_json::json!([true, false]));
        assert_eq!(object["texts"], serde_json::json!(["0644", "12:30", "1Gi"]));
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(parse("f", "a: [").unwrap_err().to_string().split(':').next(), Some("f"));
        assert_eq!(parse("f", "a: 1").unwrap_err().to_string(), "f: not a Kubernetes object: it has no kind");
    }
}
