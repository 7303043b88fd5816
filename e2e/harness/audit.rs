//! The apiserver's audit log: who asked for what, and how it ended.

use std::path::Path;

use serde::Deserialize;

use super::{Context, Result};

/// One request.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    pub verb: String,
    pub user: User,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    pub user_agent: String,
    pub object_ref: ObjectReference,
    pub response_status: Status,
    pub annotations: std::collections::BTreeMap<String, String>,
    pub request_received_timestamp: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct User {
    pub username: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub api_group: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Status {
    pub code: u16,
    pub reason: String,
    pub message: String,
}

impl Request {
    /// `pods` or `pods/status`.
    pub fn resource(&self) -> String {
        let reference = &self.object_ref;
        if reference.subresource.is_empty() {
            reference.resource.clone()
        } else {
            format!("{}/{}", reference.resource, reference.subresource)
        }
    }

    /// Refused for want of a right, as against by admission.
    pub fn lacked_a_right(&self) -> bool {
        self.annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid")
    }

    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it changes what the manager manages: neither an event nor a dry run.
    pub fn changes_objects(&self) -> bool {
        self.is_write() && self.object_ref.resource != "events" && !self.request_uri.contains("dryRun=")
    }
}

/// All requests of a user that the log holds, in the order of their ends.
pub fn requests_of(log: &Path, user: &str) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).context(log.display())?;
    let needle = format!("\"username\":\"{user}\"");
    let mut requests = Vec::new();
    for line in text.lines().filter(|line| line.contains(&needle)) {
        // The last line may be half written.
        if let Ok(request) = serde_json::from_str::<Request>(line) {
            requests.push(request);
        }
    }
    Ok(requests)
}
