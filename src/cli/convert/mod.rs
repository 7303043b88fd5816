//! `kubectl asts convert`: manifests of StatefulSets, native and of OpenKruise, as AdvancedStatefulSets that behave as
//! before. Nothing is asked of a cluster.

mod kruise;
mod references;
pub mod set;

use std::io::Write;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde_json::{Value, json};

use self::set::{Remark, Source};
use super::Exit;
use super::error::CliError;
use super::manifest::{self, Descent, Manifest};
use super::output::{self, Format};
use super::truth::Truth;
use crate::api::spec::PodUpdatePolicy;

/// Flags of `convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # A manifest, and what is different from before on standard error
  kubectl asts convert -f web.yaml > web-asts.yaml
  # A whole folder, what is no StatefulSet as it is
  kubectl asts convert -R -f deploy/
  # What runs in the cluster
  kubectl get statefulset web -o yaml | kubectl asts convert -f -
  # Pods are updated in place from now on
  kubectl asts convert -f web.yaml --pod-update-policy InPlaceIfPossible")]
pub struct Convert {
    /// Files, folders, URLs, or - for standard input, with the manifests
    #[arg(short, long, value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,
    /// Read folders in folders too
    #[arg(
        short = 'R', long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    recursive: bool,
    /// How the manifests are printed
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Language,
    #[command(flatten)]
    policy: PolicyFlag,
}

/// How Pods are to be updated, where it is not to be as before.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PolicyFlag {
    /// How Pods are updated from now on; else as before: for a native StatefulSet ReCreate
    #[arg(long = "pod-update-policy", value_name = "POLICY", value_enum, ignore_case = true)]
    pub policy: Option<Policy>,
}

/// `podUpdatePolicy`, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    #[value(name = "InPlaceIfPossible")]
    InPlaceIfPossible,
    #[value(name = "ReCreate")]
    ReCreate,
    #[value(name = "InPlaceOnly")]
    InPlaceOnly,
}

impl From<Policy> for PodUpdatePolicy {
    fn from(policy: Policy) -> PodUpdatePolicy {
        match policy {
            Policy::InPlaceIfPossible => PodUpdatePolicy::InPlaceIfPossible,
            Policy::ReCreate => PodUpdatePolicy::ReCreate,
            Policy::InPlaceOnly => PodUpdatePolicy::InPlaceOnly,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Yaml,
    Json,
}

/// Manifests after the conversion, and what there is to be said of each.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    objects: Vec<Value>,
    notes: Vec<String>,
    errors: Vec<String>,
}

impl Convert {
    pub(super) async fn run(self) -> Result<Exit, CliError> {
        let descent = if self.recursive { Descent::Recursive } else { Descent::OneFolder };
        let manifests = manifest::read(&self.filename, descent).await?;
        if manifests.is_empty() {
            return Err(CliError::Failed("no objects found".into()));
        }
        let outcome = convert(manifests, self.policy.policy.map(PodUpdatePolicy::from));
        for note in &outcome.notes {
            eprintln!("note: {note}");
        }
        for error in &outcome.errors {
            eprintln!("error: {error}");
        }
        // Half of the manifests could be applied by mistake.
        if !outcome.errors.is_empty() {
            return Ok(Exit::FAILURE);
        }
        std::io::stdout().write_all(printed(&outcome.objects, self.output)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

/// Converts the StatefulSets among the objects, then turns what names them to their new kind.
fn convert(manifests: Vec<Manifest>, policy: Option<PodUpdatePolicy>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut converted = Vec::new();
    for Manifest { place, object } in manifests {
        let label = format!("{place}: {} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
        let say = |remark: &Remark| format!("{label}: {remark}");
        let object = match Source::of(&object) {
            Ok(None) => object,
            Ok(Some(source)) => match set::converted(&object, source, policy) {
                Ok(done) => {
                    outcome.notes.extend(done.notes.iter().map(say));
                    converted.push(references::Moved::of(&done.object));
                    done.object
                }
                Err(remarks) => {
                    outcome.errors.extend(remarks.iter().map(say));
                    continue;
                }
            },
            Err(remark) => {
                outcome.errors.push(say(&remark));
                continue;
            }
        };
        outcome.objects.push(object);
    }
    for object in &mut outcome.objects {
        let label = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        let remarks = references::turn(object, &converted);
        outcome.notes.extend(remarks.iter().map(|remark| format!("{label}: {remark}")));
    }
    outcome
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("(unnamed)")
}

/// YAML documents, or one JSON object: a list where there are many.
fn printed(objects: &[Value], language: Language) -> Result<String, CliError> {
    match language {
        Language::Yaml => {
            let documents: Result<Vec<String>, CliError> =
                objects.iter().map(|object| output::formatted(object, Format::Yaml)).collect();
            Ok(documents?.join("---\n"))
        }
        Language::Json => match objects {
            [object] => output::formatted(object, Format::Json),
            _ => output::formatted(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), Format::Json),
        },
    }
}

#[cfg(test)]
mod tests;
