//! What an apiserver is asked without changing anything: dry runs, and reads of one object. The manager asks for its plans,
//! the plugin for its forecasts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Apiserver, At, Kind, Verb};
use super::error::{CallError, Failure, Refused};
use crate::model::TemplateAnswer;

#[derive(Deserialize)]
struct TemplateObject {
    template: Value,
}

/// What an apiserver said to the dry run of a patch of a Pod.
#[derive(Debug)]
pub enum Took {
    Yes,
    /// In the server's own words.
    No(String),
    /// A webhook that knows no dry runs hides the answer.
    CannotTell,
    /// A policy or a lacking right refused it: this says nothing about the cluster.
    Denied {
        refused: Refused,
        message: String,
    },
    /// There is no such Pod any more.
    Gone(CallError),
}

/// Asks whether the apiserver takes a patch of a Pod. Only a 422 says that it does not: the patch names a
/// resourceVersion, and an old one is a conflict.
///
/// # Errors
/// Where no answer came, or none that says anything.
pub async fn ask_to_patch(apiserver: &Apiserver, at: At<'_>, patch: &str) -> Result<Took, CallError> {
    let patch: Value = serde_json::from_str(patch).map_err(|error| unreadable("patch", "Pod", &error))?;
    match apiserver.dry_run_patch(at, &patch).await {
        Ok(()) => Ok(Took::Yes),
        Err(error) if is_invalid(&error) => Ok(Took::No(error.message)),
        Err(error) if error.message.contains("does not support dry run") => Ok(Took::CannotTell),
        Err(error) => match error.failure {
            Failure::NotFound => Ok(Took::Gone(error)),
            Failure::Refused(refused) => Ok(Took::Denied { refused, message: error.message }),
            _ => Err(error),
        },
    }
}

/// The template as the apiserver defaults and checks it. Only a 422 says that it is bad.
///
/// # Errors
/// Where it was not defaulted and not found bad.
pub async fn default_template(
    apiserver: &Apiserver,
    namespace: &str,
    template: &str,
) -> Result<TemplateAnswer, CallError> {
    let template: Value =
        serde_json::from_str(template).map_err(|error| unreadable("create", "PodTemplate", &error))?;
    let body = pod_template(&template);
    match apiserver.dry_run_create::<TemplateObject>(At::all(Kind::PodTemplate, namespace), &body).await {
        Ok(defaulted) => Ok(TemplateAnswer::Defaulted(Arc::new(defaulted.template))),
        Err(error) if is_invalid(&error) => Ok(TemplateAnswer::Invalid(error.message.into())),
        Err(error) => Err(error),
    }
}

/// The fields of a template (JSON) that the apiserver does not know, in its words; `None`: there are none. It drops
/// them from Pods without a word, and the definition keeps them for apiservers that know them.
///
/// # Errors
/// Where no answer came.
pub async fn unknown_fields(
    apiserver: &Apiserver,
    namespace: &str,
    template: &Value,
) -> Result<Option<Box<str>>, CallError> {
    let body = pod_template(template);
    let Err(error) = apiserver.strict_dry_run_create(At::all(Kind::PodTemplate, namespace), &body).await else {
        return Ok(None);
    };
    match error.message.split_once("strict decoding error: ") {
        Some((_, told)) => Ok(Some(told.replace("field \"template.", "field \"spec.template.").into())),
        None => Err(error),
    }
}

fn pod_template(template: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"generateName": "asts-dry-run-"},
        "template": template,
    })
}

/// Why a claim cannot be mounted into a running Pod; `None`: it can.
///
/// # Errors
/// Where no answer came.
pub async fn why_not_bound(apiserver: &Apiserver, namespace: &str, name: &str) -> Result<Option<Box<str>>, CallError> {
    match apiserver.read::<PersistentVolumeClaim>(Verb::Get, At::one(Kind::Claim, namespace, name)).await {
        Ok(claim) if claim.metadata.deletion_timestamp.is_some() => {
            Ok(Some(format!("the claim {name} is being deleted").into()))
        }
        Ok(claim) => {
            let phase = claim.status.and_then(|status| status.phase);
            let unbound = phase.as_deref() != Some("Bound");
            Ok(unbound.then(|| format!("the claim {name} is not bound to a volume").into()))
        }
        Err(error) if error.failure == Failure::NotFound => Ok(Some(format!("there is no claim {name}").into())),
        Err(error) => Err(error),
    }
}

/// Whether the apiserver itself takes no such object. Admission policies answer with the same code.
fn is_invalid(error: &CallError) -> bool {
    error.code == 422 && error.failure == Failure::Refused(Refused::Invalid)
}

fn unreadable(verb: &'static str, object: &str, error: &serde_json::Error) -> CallError {
    CallError {
        failure: Failure::Local,
        code: 0,
        verb,
        object: object.to_owned(),
        message: error.to_string(),
        retry_after: None,
    }
}

/// Escapes all but letters, digits and a few marks, for a query.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("a b,c=(d)/é"), "a%20b%2Cc%3D%28d%29%2F%C3%A9");
    }
}
