//! What a decision about a Pod is made for, and what it comes to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::diff::Difference;
use super::operations::Operation;
use super::restart::Rules;
use super::table::Class;
use crate::model::{Abilities, Amount, FieldKind, Resources};

/// What a revision holds.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The Pod template, defaulted or not.
    pub template: &'a Value,
    /// The names of the claim templates, in any order.
    pub claims: &'a [&'a str],
}

/// What a decision is made for, beside the Pod.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    pub abilities: &'a Abilities,
    /// `podUpdatePolicy: InPlaceOnly`: what cannot be made in place is not made.
    pub in_place_only: bool,
    /// As for [`super::Change::between`].
    pub rules: &'a Rules,
    pub now: Timestamp,
}

/// What to do with a Pod so that it has the new contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Patch(InPlacePatch),
    /// Reasons as users read them, each with the field's path. Never empty.
    Recreate {
        reasons: Vec<String>,
    },
    /// The same reasons, where the Pod may not be re-created.
    Blocked {
        reasons: Vec<String>,
    },
    /// Nobody knows yet whether the cluster can do it: each is to be asked for. Never empty.
    Ask(Vec<Inquiry>),
    /// A policy refused a dry run: the Pod waits until it does not any more.
    Denied {
        /// CamelCase, as `ReplicaFailure` gives it.
        reason: Box<str>,
        /// The server's own message.
        message: Box<str>,
    },
}

/// A dry run that tells whether the apiserver takes these kinds of field.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    pub kinds: BTreeSet<FieldKind>,
    /// The part of the patch's spec that is about them.
    pub spec: Value,
}

/// How an update is paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Labels, annotations, added tolerations: no budget, no gate.
    Free,
    /// A slot of the budget until it has proved itself; the Pod stays in service.
    Slot,
    /// Out of service first, through the gate.
    Gate,
}

/// An update that the running Pod can take.
#[derive(Clone, Debug, PartialEq)]
pub struct InPlacePatch {
    /// The strongest of the differences; Dynamic where there are none.
    pub class: Class,
    pub pace: Pace,
    /// The containers that are re-created.
    pub rebuild: Vec<Rebuild>,
    /// Annotations of the Pod that hold values of environment variables.
    pub env_annotations: BTreeMap<String, String>,
    /// What is written into the Pod's spec.
    pub operations: Vec<Operation>,
    /// What is written through `pods/resize`, before the rest; the Pod does not have it yet.
    pub resize: Vec<Operation>,
    /// What of them is another than the Pod's revision has it, or may be: of a resize that was begun.
    pub resizing: BTreeMap<Box<str>, BTreeSet<Amount>>,
    /// Containers whose status must show these resources.
    pub resized: Vec<(Box<str>, Resources)>,
    /// To be put behind the Pod's own tolerations.
    pub added_tolerations: Vec<Value>,
    /// What the node's kubelet must follow.
    pub needs: BTreeSet<FieldKind>,
    pub differences: Vec<Difference>,
}

/// A container that is re-created.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebuild {
    pub container: Box<str>,
    /// `None`: the image stays as it is written.
    pub image: Option<Box<str>>,
    /// [`super::decide::fields_hash`] of the old contents and of the new.
    pub old_fields: Box<str>,
    pub new_fields: Box<str>,
}

impl Default for InPlacePatch {
    /// Nothing but the revision's label.
    fn default() -> Self {
        Self {
            class: Class::Dynamic,
            pace: Pace::Free,
            rebuild: Vec::new(),
            env_annotations: BTreeMap::new(),
            operations: Vec::new(),
            resize: Vec::new(),
            resizing: BTreeMap::new(),
            resized: Vec::new(),
            added_tolerations: Vec::new(),
            needs: BTreeSet::new(),
            differences: Vec::new(),
        }
    }
}
