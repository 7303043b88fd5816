//! What can go wrong in a call of the plugin, said in the words of kubectl where it has some.

use std::path::PathBuf;

use crate::api::names;

/// Why a call of the plugin ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The flags and arguments do not go together.
    #[error("{0}")]
    Usage(String),
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(Box<kube::config::KubeconfigError>),
    #[error("{flag}: {message}")]
    Flag { flag: &'static str, message: String },
    #[error("cannot set up the client: {0}")]
    Client(Box<kube::Error>),
    /// An answer of the apiserver, or none.
    #[error("{0}")]
    Api(Box<kube::Error>),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A manifest that is not one.
    #[error("{place}: {message}")]
    Manifest { place: String, message: String },
    #[error("cannot print: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    /// What went wrong with one set after another.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Many(Vec<CliError>),
    /// Anything else, said whole.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// As standard error is to show it.
    pub(super) fn shown(&self) -> String {
        match self {
            CliError::Api(error) => match &**error {
                kube::Error::Api(status) => {
                    if names::is_unknown_resource(status.code, &status.message) {
                        return format!("error: {}", names::NOT_INSTALLED);
                    }
                    let reason = if status.reason.is_empty() { "Unknown" } else { &status.reason };
                    format!("Error from server ({reason}): {}", without_object(&status.message))
                }
                other => format!("error: {}", of_client(other)),
            },
            CliError::Many(errors) => errors.iter().map(CliError::shown).collect::<Vec<_>>().join("\n"),
            other => format!("error: {other}"),
        }
    }
}

impl From<kube::Error> for CliError {
    fn from(error: kube::Error) -> Self {
        CliError::Api(Box::new(error))
    }
}

/// An answer to a patch with unknown fields tells the whole object before it comes to them.
fn without_object(message: &str) -> &str {
    message.find("strict decoding error:").map_or(message, |at| &message[at..])
}

/// What went wrong on the way to a server, without the layers of the client.
pub(super) fn of_client(error: &kube::Error) -> String {
    match error {
        kube::Error::Service(cause) => with_sources(&**cause),
        other => with_sources(other),
    }
}

/// An error and what caused it, without saying anything twice.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn shown(code: u16, reason: &str, message: &str) -> String {
        let mut status = Status::failure(message, reason);
        status.code = code;
        CliError::from(kube::Error::Api(Box::new(status))).shown()
    }

    #[test]
    fn a_server_s_answer_is_told_without_what_nobody_reads() {
        let installed = "Error from server (NotFound): advancedstatefulsets.apps.asts.dev \"web\" not found";
        for (code, reason, message, expected) in [
            (404, "NotFound", "advancedstatefulsets.apps.asts.dev \"web\" not found", installed.to_owned()),
            (404, "Failed to parse error data", "404 page not found\n", format!("error: {}", names::NOT_INSTALLED)),
            (
                400,
                "BadRequest",
                "patch: Object {\"a\": String(\"long\")}: strict decoding error: unknown field \"spec.x\"",
                "Error from server (BadRequest): strict decoding error: unknown field \"spec.x\"".to_owned(),
            ),
        ] {
            assert_eq!(shown(code, reason, message), expected);
        }
    }
}
