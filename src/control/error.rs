//! What can go wrong while talking, and what each kind of failure means for the next step.

use std::net::SocketAddr;
use std::time::Duration;

use kube::core::Status;

/// Why the manager cannot start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("cannot read the kubeconfig {path}: {source}")]
    Kubeconfig { path: String, source: Box<kube::config::KubeconfigError> },
    #[error("cannot find a cluster to talk to: give --kubeconfig, set KUBECONFIG, or run inside a cluster: {0}")]
    NoCluster(Box<kube::config::InferConfigError>),
    #[error("cannot set up the client: {0}")]
    Client(Box<kube::Error>),
    #[error("cannot listen on {address}: {source}; choose another with {flag}")]
    Listen { address: SocketAddr, flag: &'static str, source: std::io::Error },
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("the lease was lost: {0}")]
    LeaseLost(String),
    #[error("{0}")]
    Call(#[from] CallError),
}

impl ControlError {
    /// A stable name for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            ControlError::Kubeconfig { .. } | ControlError::NoCluster(_) => "configuration",
            ControlError::Client(_) => "client",
            ControlError::Listen { .. } => "listen",
            ControlError::Runtime(_) => "runtime",
            ControlError::LeaseLost(_) => "lease",
            ControlError::Call(error) => error.failure.category(),
        }
    }
}

/// A call to the apiserver that did not do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{verb} {object}: {message}")]
pub struct CallError {
    pub failure: Failure,
    /// The HTTP status; 0 where no answer came.
    pub code: u16,
    pub verb: &'static str,
    /// Kind and name.
    pub object: String,
    /// The server's own message, or what happened on the way.
    pub message: String,
    /// From `Retry-After` or the answer's details.
    pub retry_after: Option<Duration>,
}

/// What a failure says about the state of the object, which decides the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A precondition did not hold: look again and plan anew.
    Conflict,
    /// The name is taken.
    AlreadyExists,
    NotFound,
    /// The server said no and did nothing; it will say no again until its cause is gone.
    Refused(Refused),
    /// The server did nothing and asks for patience.
    Throttled,
    /// It may have been done or not: a live read must tell.
    Unknown,
    /// This process may not write (any more).
    NotLeading,
    /// The request could not be made or the answer not be understood.
    Local,
}

/// Who refused, in the words that conditions use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    QuotaExceeded,
    AdmissionDenied,
    Forbidden,
    Invalid,
    /// Another's object has the name. Only for this one object.
    NameTaken,
}

impl Refused {
    /// CamelCase, as the reason of a condition or event.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::QuotaExceeded => "QuotaExceeded",
            Refused::AdmissionDenied => "AdmissionDenied",
            Refused::Forbidden => "Forbidden",
            Refused::Invalid => "Invalid",
            Refused::NameTaken => "NameTaken",
        }
    }
}

impl Failure {
    /// A stable name for logs and metrics.
    pub fn category(self) -> &'static str {
        match self {
            Failure::Conflict => "conflict",
            Failure::AlreadyExists => "already_exists",
            Failure::NotFound => "not_found",
            Failure::Refused(_) => "refused",
            Failure::Throttled => "throttled",
            Failure::Unknown => "unknown",
            Failure::NotLeading => "not_leading",
            Failure::Local => "local",
        }
    }

    /// What an error answer of the apiserver means.
    pub fn of_status(status: &Status) -> Failure {
        // Whoever denies chooses the code: a policy may say 401, a webhook even that the object is not there.
        if (400..500).contains(&status.code) && is_denied(&status.message) {
            return Failure::Refused(Refused::AdmissionDenied);
        }
        match status.code {
            409 if status.reason == "AlreadyExists" => Failure::AlreadyExists,
            409 => Failure::Conflict,
            404 | 410 => Failure::NotFound,
            // A webhook that must be asked and cannot be: nothing was written.
            500 if status.message.contains("failed calling webhook") => Failure::Refused(Refused::AdmissionDenied),
            401 | 429 => Failure::Throttled,
            400..=499 => Failure::Refused(refused(status)),
            _ => Failure::Unknown,
        }
    }
}

fn is_denied(message: &str) -> bool {
    const ADMISSION: [&str; 4] =
        ["admission webhook", "ValidatingAdmissionPolicy", "violates PodSecurity", "denied the request"];
    ADMISSION.iter().any(|words| message.contains(words))
}

fn refused(status: &Status) -> Refused {
    if status.message.contains("exceeded quota") {
        Refused::QuotaExceeded
    } else if status.code == 403 {
        Refused::Forbidden
    } else {
        Refused::Invalid
    }
}

impl CallError {
    /// From what the client returned. Transport errors leave open whether the write was done.
    pub fn of_kube(verb: &'static str, object: String, error: &kube::Error) -> CallError {
        match error {
            kube::Error::Api(status) => CallError {
                failure: Failure::of_status(status),
                code: status.code,
                verb,
                object,
                message: status.message.clone(),
                retry_after: status
                    .details
                    .as_ref()
                    .filter(|details| details.retry_after_seconds > 0)
                    .map(|details| Duration::from_secs(u64::from(details.retry_after_seconds))),
            },
            kube::Error::BuildRequest(_) | kube::Error::HttpError(_) | kube::Error::Auth(_) => CallError {
                failure: Failure::Local,
                code: 0,
                verb,
                object,
                message: error.to_string(),
                retry_after: None,
            },
            _ => CallError {
                failure: Failure::Unknown,
                code: 0,
                verb,
                object,
                message: error.to_string(),
                retry_after: None,
            },
        }
    }

    pub fn timed_out(verb: &'static str, object: String, after: Duration) -> CallError {
        let message = format!("no answer within {} s", after.as_secs());
        CallError { failure: Failure::Unknown, code: 0, verb, object, message, retry_after: None }
    }

    pub fn not_leading(verb: &'static str, object: String) -> CallError {
        let message = "this manager does not hold the lease".to_owned();
        CallError { failure: Failure::NotLeading, code: 0, verb, object, message, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: u16, reason: &str, message: &str) -> Failure {
        let mut status = Status::failure(message, reason);
        status.code = code;
        Failure::of_status(&status)
    }

    #[test]
    fn an_answer_becomes_what_it_means() {
        let quota = "pods \"web-0\" is forbidden: exceeded quota: q, requested: pods=1";
        let webhook = "admission webhook \"x\" denied the request: no";
        let policy = "pods \"web-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no";
        let security = "pods \"web-0\" is forbidden: violates PodSecurity \"restricted\": ...";
        let rbac = "pods is forbidden: User \"u\" cannot create resource \"pods\"";
        let dead_webhook = "Internal error occurred: failed calling webhook \"x\"";
        for (code, reason, message, expected) in [
            (409, "AlreadyExists", "", Failure::AlreadyExists),
            (409, "Conflict", "", Failure::Conflict),
            (404, "NotFound", "", Failure::NotFound),
            (403, "Forbidden", quota, Failure::Refused(Refused::QuotaExceeded)),
            (400, "", webhook, Failure::Refused(Refused::AdmissionDenied)),
            (404, "NotFound", webhook, Failure::Refused(Refused::AdmissionDenied)),
            (409, "Conflict", webhook, Failure::Refused(Refused::AdmissionDenied)),
            (429, "TooManyRequests", webhook, Failure::Refused(Refused::AdmissionDenied)),
            (401, "Unauthorized", policy, Failure::Refused(Refused::AdmissionDenied)),
            (422, "Invalid", policy, Failure::Refused(Refused::AdmissionDenied)),
            (401, "Unauthorized", "Unauthorized", Failure::Throttled),
            (403, "Forbidden", security, Failure::Refused(Refused::AdmissionDenied)),
            (403, "Forbidden", rbac, Failure::Refused(Refused::Forbidden)),
            (422, "Invalid", "spec.x: Invalid value", Failure::Refused(Refused::Invalid)),
            (429, "TooManyRequests", "", Failure::Throttled),
            (500, "InternalError", dead_webhook, Failure::Refused(Refused::AdmissionDenied)),
            (500, "InternalError", "etcd: timed out", Failure::Unknown),
            (504, "Timeout", "", Failure::Unknown),
        ] {
            assert_eq!(failure(code, reason, message), expected, "{code} {reason} {message}");
        }
    }
}
