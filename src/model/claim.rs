//! What is kept of a PersistentVolumeClaim.

use std::collections::BTreeMap;

/// A claim as a decision sees it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ClaimFacts {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub terminating: bool,
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// The annotation `apps.asts.dev/set`: which set the claim was made for.
    pub made_for: Option<Box<str>>,
    pub owners: Vec<ClaimOwner>,
    /// `spec.resources.requests.storage`, in bytes.
    pub requested_bytes: Option<u128>,
    /// `status.capacity.storage`, in bytes.
    pub capacity_bytes: Option<u128>,
    /// The condition `FileSystemResizePending`: the volume has grown, its file system grows on the node.
    pub file_system_pending: bool,
    /// What the resizer or the kubelet said when it could not grow the volume; they try again by themselves.
    pub growth_error: Option<Box<str>>,
}

/// An owner reference of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOwner {
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub controller: bool,
    /// Of the API group of these sets: another group may have a kind of the same name.
    pub our_group: bool,
}
