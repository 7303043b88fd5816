//! A request as it stands on the wire, taken apart.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::sim::chaos::Fault;
use crate::sim::controller::Request;
use crate::sim::store::{Kind, Refused};

/// Where an answer goes.
pub type Answer = oneshot::Sender<Reply>;
pub type Lines = mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Stored(Kind),
    PodTemplate,
    Event,
    Node,
    Version,
}

/// A request of a manager.
#[derive(Debug)]
pub struct Call {
    pub manager: usize,
    pub epoch: u64,
    pub method: http::Method,
    pub resource: Resource,
    /// Empty for a list or a create.
    pub name: String,
    pub subresource: String,
    pub query: BTreeMap<String, String>,
    pub is_merge_patch: bool,
    pub body: Value,
    pub answer: Option<Answer>,
    pub fault: Option<Fault>,
    /// What the checks look at; only writes of what the set owns have it.
    pub request: Option<Request>,
}

#[derive(Debug)]
pub enum Reply {
    Json(u16, Value),
    Lines(Lines),
}

impl Reply {
    pub fn of_refusal(refused: &Refused) -> Reply {
        let reason = match refused.code {
            404 => "NotFound",
            409 if refused.message.contains("already exists") => "AlreadyExists",
            409 => "Conflict",
            410 => "Expired",
            403 => "Forbidden",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        };
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": refused.message, "reason": reason, "code": refused.code,
        });
        if refused.code == 429 {
            status["details"] = json!({"retryAfterSeconds": 1});
        }
        Reply::Json(refused.code, status)
    }
}

/// What a method and a URI ask for.
pub struct Target {
    pub resource: Resource,
    pub name: String,
    pub subresource: String,
    pub query: BTreeMap<String, String>,
}

/// `None`: there is no such path.
pub fn parse(uri: &http::Uri) -> Option<Target> {
    let query = uri.query().unwrap_or_default();
    let query =
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.into(), decoded(value)));
    let mut parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let target = |resource: Resource, name: &str, subresource: &str| Target {
        resource,
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        query: query.clone().collect(),
    };
    if parts == ["version"] {
        return Some(target(Resource::Version, "", ""));
    }
    let base = if parts.first() == Some(&"api") { 2 } else { 3 };
    let mut rest = parts.split_off(base.min(parts.len()));
    if rest.first() == Some(&"namespaces") {
        rest.drain(..2.min(rest.len()));
    }
    let resource = match (*parts.get(1)?, *rest.first()?) {
        ("v1", "pods") => Resource::Stored(Kind::Pod),
        ("v1", "persistentvolumeclaims") => Resource::Stored(Kind::Claim),
        ("v1", "podtemplates") => Resource::PodTemplate,
        ("v1", "nodes") => Resource::Node,
        ("apps", "controllerrevisions") => Resource::Stored(Kind::Revision),
        ("apps.asts.dev", "advancedstatefulsets") => Resource::Stored(Kind::Set),
        ("coordination.k8s.io", "leases") => Resource::Stored(Kind::Lease),
        ("events.k8s.io", "events") => Resource::Event,
        _ => return None,
    };
    Some(target(resource, rest.get(1).unwrap_or(&""), rest.get(2).unwrap_or(&"")))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        let hex = rest.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                left = &rest[2..];
            }
            (byte, _) => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                left = rest;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_what_it_asks_for() {
        let target =
            parse(&"/apis/apps.asts.dev/v1beta1/namespaces/space/advancedstatefulsets/web/status".parse().unwrap());
        let target = target.unwrap();
        assert_eq!(
            (target.resource, &*target.name, &*target.subresource),
            (Resource::Stored(Kind::Set), "web", "status")
        );
        let list = parse(&"/api/v1/pods?limit=2&labelSelector=a%20in%20%28b%2Cc%29".parse().unwrap()).unwrap();
        assert_eq!(list.query["labelSelector"], "a in (b,c)");
        assert_eq!((list.resource, &*list.name), (Resource::Stored(Kind::Pod), ""));
    }
}
