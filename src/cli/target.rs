//! Which sets a verb is about: by name, `TYPE/NAME`, file or label.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value;

use super::connect::Session;
use super::error::CliError;
use super::manifest::{self, Descent};
use super::print;
use super::truth::Truth;
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

/// What chooses every set of the namespace, where no name follows it.
const PLURAL: &str = "advancedstatefulsets.apps.asts.dev";

/// Flags by which kubectl chooses objects.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Names of sets: NAME, asts/NAME, or asts NAME; asts alone chooses all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Files, folders, URLs, or - for standard input, that name the sets
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<PathBuf>,
    /// Folder of a kustomization that names the sets; needs kubectl
    #[arg(short, long, value_name = "FOLDER", conflicts_with_all = ["filename", "recursive"])]
    pub kustomize: Option<PathBuf>,
    /// Read folders in folders too
    #[arg(
        short = 'R', long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    pub recursive: bool,
    /// Labels that the sets have, such as app=web,tier!=cache
    #[arg(short = 'l', long, value_name = "LABELS")]
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
        if session.namespace_is_given && namespace != session.namespace {
            return Err(CliError::Usage(format!(
                "the namespace from the provided object \"{namespace}\" does not match the namespace \"{0}\". You must pass '--namespace={namespace}' to perform this operation.",
                session.namespace
            )));
        }
        Ok(Target { namespace: checked(namespace)?, name: checked(name)? })
    }

    /// The same as whole objects: with fields that this version does not know.
    pub fn raw_api(&self, session: &Session) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(names::GROUP, names::VERSION, names::KIND);
        let resource = ApiResource::from_gvk_with_plural(&kind, "advancedstatefulsets");
        Api::namespaced_with(session.client.clone(), &self.namespace, &resource)
    }

    /// As kubectl names it in errors of its own.
    pub fn in_errors(&self) -> String {
        format!("{PLURAL} {:?}", self.name)
    }
}

impl Selection {
    /// No set is named, in whatever way; labels alone name none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.filename.is_empty() && self.kustomize.is_none()
    }

    /// The chosen sets, in the order given. Those that are named are not looked up here.
    pub async fn targets(&self, session: &Session) -> Result<Vec<Target>, CliError> {
        if self.kustomize.is_some() || !self.filename.is_empty() {
            let named = self.in_files(session).await?;
            return match &self.selector {
                None => Ok(named),
                Some(selector) => {
                    let mut chosen = Vec::new();
                    for target in named {
                        let listed = list(session, &target.namespace, selector).await?;
                        chosen.extend(listed.contains(&target).then_some(target));
                    }
                    Ok(chosen)
                }
            };
        }
        let all = matches!(self.names.as_slice(), [word] if RESOURCE_WORDS.contains(&word.as_str()));
        match &self.selector {
            Some(selector) if all || self.names.is_empty() => list(session, &session.namespace, selector).await,
            Some(_) => Err(CliError::Usage("name cannot be provided when a selector is specified".into())),
            None if all => list(session, &session.namespace, "").await,
            None => {
                let names = parse_names(&self.names)?;
                Ok(names.into_iter().map(|name| Target { namespace: session.namespace.clone(), name }).collect())
            }
        }
    }

    async fn in_files(&self, session: &Session) -> Result<Vec<Target>, CliError> {
        if !self.names.is_empty() {
            let message = "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well";
            return Err(CliError::Usage(message.into()));
        }
        let manifests = match &self.kustomize {
            Some(folder) => manifest::parse(&folder.display().to_string(), &print::kustomized(folder)?)?,
            None => {
                let descent = if self.recursive { Descent::Recursive } else { Descent::OneFolder };
                manifest::read(&self.filename, descent).await?
            }
        };
        let sets = manifests.iter().filter(|it| is_set(&it.object));
        let targets = sets.map(|it| Target::of_manifest(it, session)).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(CliError::Usage(format!("no {} in what was given", names::KIND)));
        }
        Ok(targets)
    }
}

async fn list(session: &Session, namespace: &str, selector: &str) -> Result<Vec<Target>, CliError> {
    let api: Api<AdvancedStatefulSet> = Api::namespaced(session.client.clone(), namespace);
    let found = api.list_metadata(&ListParams::default().labels(selector)).await?;
    let names = found.items.into_iter().filter_map(|set| set.metadata.name);
    Ok(names.map(|name| Target { namespace: namespace.to_owned(), name }).collect())
}

/// Whether an object is of this project's kind.
pub fn is_set(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(names::KIND)
        && object.get("apiVersion").and_then(Value::as_str).is_some_and(|it| it.starts_with(names::GROUP))
}

/// Names as kubectl takes them: `NAME…`, `TYPE/NAME…`, `TYPE NAME…`.
pub fn parse_names(words: &[String]) -> Result<Vec<String>, CliError> {
    let Some(first) = words.first() else {
        return Err(CliError::Usage("required resource not specified: name a set, as in asts/NAME".into()));
    };
    let words = if words.len() > 1 && RESOURCE_WORDS.contains(&first.as_str()) { &words[1..] } else { words };
    words.iter().map(|word| parse_name(word)).collect()
}

/// One name, with or without the resource before a slash.
pub fn parse_name(word: &str) -> Result<String, CliError> {
    match word.split_once('/') {
        None => checked(word),
        Some((kind, name)) if RESOURCE_WORDS.contains(&kind) => checked(name),
        Some((kind, _)) => Err(CliError::Usage(format!("{word:?}: {kind:?} is no AdvancedStatefulSet: use asts/NAME"))),
    }
}

/// A name that may stand in a request's path. Any other names nothing, or something else than was meant.
pub fn checked(name: &str) -> Result<String, CliError> {
    let sound = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | ':');
    if name.is_empty() || name == "." || name == ".." || !name.chars().all(sound) {
        return Err(CliError::Usage(format!("invalid resource name {name:?}")));
    }
    Ok(name.to_owned())
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
        assert!(parsed(&[]).unwrap_err().contains("required resource not specified"));
        for wrong in ["", "asts/", "/web", "asts/web/x", "..", "a?b", "a%2fb", "a b"] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
    }
}
