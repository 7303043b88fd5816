//! What is kept of a ControllerRevision.

use std::sync::Arc;

use serde_json::Value;

use super::pod::OwnerFacts;

/// A ControllerRevision as a decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionFacts {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    /// The label `controller.kubernetes.io/hash`; where absent, the name's last part.
    pub hash: Box<str>,
    /// `revision`: grows with each rollout.
    pub number: i64,
    /// `None`: an orphan, which may be adopted.
    pub controller: Option<OwnerFacts>,
    pub terminating: bool,
    /// The whole `data`, as it stands.
    pub data: Arc<Value>,
}
