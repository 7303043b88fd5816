//! The bookkeeping of in-place updates, kept in an annotation of the Pod.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::PodFacts;

/// The annotation `apps.asts.dev/inplace-update-state`.
#[derive(Clone, Debug, PartialEq)]
pub struct InPlaceState {
    /// The hash of the revision that the last rebuilding patch brought.
    pub revision: Box<str>,
    /// When that patch was made, by the controller's clock.
    pub patched_at: Timestamp,
    /// Every container that was ever rebuilt.
    pub containers: BTreeMap<Box<str>, ContainerRecord>,
}

/// A container as it was when it was last patched.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRecord {
    /// `None`: it had never run.
    pub container_id: Option<Box<str>>,
    /// The image that it was started with.
    pub image: Box<str>,
}

impl InPlaceState {
    /// `None` where the text is malformed.
    pub fn parse(_text: &str) -> Option<Self> {
        None
    }

    /// The annotation's value.
    pub fn to_json(&self) -> String {
        String::new()
    }
}

/// How far the last rebuilding patch of a Pod is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Every rebuilt container runs what the spec asks for. Also for Pods that were never patched.
    Done,
    Waiting(Waiting),
}

/// What an update still waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub container: Box<str>,
    /// As users read it, with the container's name.
    pub why: String,
    /// Every rebuilt container has been started with the new image at least once (one of them may
    /// have ended since): the timeout does not count any more.
    pub effect_seen: bool,
    /// From when the timeout counts; `None` where the bookkeeping cannot be read.
    pub patched_at: Option<Timestamp>,
    /// When time alone may change the answer.
    pub look_again_at: Option<Timestamp>,
}

/// Whether the containers of the Pod run what its spec asks for.
pub fn progress(_pod: &PodFacts, _now: Timestamp) -> Progress {
    Progress::Done
}

/// The bookkeeping to be written with a patch that sets `new_images` (container, image).
pub fn next_state(
    _pod: &PodFacts,
    _new_images: &[(Box<str>, Box<str>)],
    revision: &str,
    now: Timestamp,
) -> InPlaceState {
    InPlaceState { revision: revision.into(), patched_at: now, containers: BTreeMap::new() }
}
