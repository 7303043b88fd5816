//! Which sets a verb is about: by name, `TYPE/NAME`, file or label.

use std::path::PathBuf;

use clap::Args;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use super::connect::Session;
use super::error::CliError;
use super::manifest::{self, Descent};
use crate::api::{AdvancedStatefulSet, names};

/// The resource as kubectl prints it before a slash.
pub const RESOURCE: &str = "advancedstatefulset.apps.asts.dev";

/// Words that name the resource before a name.
const RESOURCE_WORDS: [&str; 5] = [
    "asts",
    "advancedstatefulset",
    "advancedstatefulsets",
    "advancedstatefulset.apps.asts.dev",
    "advancedstatefulsets.apps.asts.dev",
];

/// Flags by which kubectl chooses objects.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Names of sets: NAME, asts/NAME, or asts NAME
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Files, folders, or - for standard input, that name the sets
    #[arg(short, long, value_name = "FILE", conflicts_with = "names")]
    pub filename: Vec<PathBuf>,
    /// Read folders in folders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Labels that the sets have
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "filename"])]
    pub selector: Option<String>,
}

/// One set to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub namespace: String,
    pub name: String,
}

impl Target {
    /// The sets of its namespace.
    pub fn api(&self, session: &Session) -> Api<AdvancedStatefulSet> {
        Api::namespaced(session.client.clone(), &self.namespace)
    }

    /// The set that a manifest names.
    pub fn of_manifest(manifest: &manifest::Manifest, session: &Session) -> Result<Target, CliError> {
        let text = |pointer: &str| manifest.object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").ok_or_else(|| CliError::Manifest {
            place: manifest.place.clone(),
            message: "metadata.name is missing".into(),
        })?;
        let namespace = text("/metadata/namespace").unwrap_or(&session.namespace);
        Ok(Target { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl Selection {
    /// The chosen sets, in the order given. Those that are named are not looked up here.
    pub async fn targets(&self, session: &Session) -> Result<Vec<Target>, CliError> {
        if let Some(selector) = &self.selector {
            let api: Api<AdvancedStatefulSet> = Api::namespaced(session.client.clone(), &session.namespace);
            let found = api.list_metadata(&ListParams::default().labels(selector)).await?;
            let names = found.items.into_iter().filter_map(|set| set.metadata.name);
            return Ok(names.map(|name| Target { namespace: session.namespace.clone(), name }).collect());
        }
        if !self.filename.is_empty() {
            let descent = if self.recursive { Descent::Recursive } else { Descent::OneFolder };
            let manifests = manifest::read(&self.filename, descent)?;
            return manifests
                .iter()
                .filter(|it| is_set(&it.object))
                .map(|it| Target::of_manifest(it, session))
                .collect();
        }
        let names = parse_names(&self.names)?;
        Ok(names.into_iter().map(|name| Target { namespace: session.namespace.clone(), name }).collect())
    }
}

/// Whether an object is of this project's kind.
pub fn is_set(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(names::KIND)
        && object.get("apiVersion").and_then(Value::as_str).is_some_and(|it| it.starts_with(names::GROUP))
}

/// Names as kubectl takes them: `NAME…`, `TYPE/NAME…`, `TYPE NAME…`.
pub fn parse_names(words: &[String]) -> Result<Vec<String>, CliError> {
    let Some(first) = words.first() else {
        return Err(CliError::Usage("name a set, as in: kubectl asts rollout status NAME".into()));
    };
    let words = if words.len() > 1 && RESOURCE_WORDS.contains(&first.as_str()) { &words[1..] } else { words };
    words.iter().map(|word| parse_name(word)).collect()
}

/// One name, with or without the resource before a slash.
pub fn parse_name(word: &str) -> Result<String, CliError> {
    match word.split_once('/') {
        None => Ok(word.to_owned()),
        Some((kind, name)) if RESOURCE_WORDS.contains(&kind) && !name.is_empty() => Ok(name.to_owned()),
        Some((kind, _)) => Err(CliError::Usage(format!("{word:?}: {kind:?} is no AdvancedStatefulSet: use asts/NAME"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        parse_names(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_taken_as_kubectl_takes_them() {
        for words in
            [vec!["web"], vec!["asts/web"], vec!["asts", "web"], vec!["advancedstatefulsets.apps.asts.dev/web"]]
        {
            assert_eq!(parsed(&words), Ok(vec!["web".to_owned()]), "{words:?}");
        }
        assert_eq!(parsed(&["web", "db"]), Ok(vec!["web".to_owned(), "db".to_owned()]));
        assert!(parsed(&["deployment/web"]).unwrap_err().contains("use asts/NAME"));
        assert!(parsed(&[]).unwrap_err().contains("name a set"));
    }
}
