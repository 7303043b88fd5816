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
        let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match document.get("items").and_then(Value::as_array) {
            Some(items) if is_list => {
                manifests.extend(items.iter().map(|item| Manifest { place: place.clone(), object: item.clone() }));
            }
            _ if document.get("kind").is_some() => manifests.push(Manifest { place, object: document }),
            _ => return Err(CliError::Manifest { place, message: "not a Kubernetes object: it has no kind".into() }),
        }
    }
    Ok(manifests)
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
        assert_eq!(found[1].place, "f, document 2");
        assert_eq!(parse("f", r#"{"kind": "A"}"#).unwrap()[0].place, "f");
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
