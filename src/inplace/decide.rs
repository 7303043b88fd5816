//! In place or not: one decision a Pod.

use serde_json::Value;

use super::diff::{Difference, differences};
use crate::model::PodFacts;

/// What a revision holds.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The Pod template, defaulted or not.
    pub template: &'a Value,
    /// The names of the claim templates, in any order.
    pub claims: &'a [&'a str],
}

/// What to do with a Pod so that it has the new contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Patch(InPlacePatch),
    /// Reasons as users read them, each with the field's path.
    Recreate {
        reasons: Vec<String>,
    },
}

/// An update that the running Pod can take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InPlacePatch {
    /// The containers that are re-created, each with its new image.
    pub rebuild: Vec<(Box<str>, Box<str>)>,
    /// No container is touched: labels and annotations only, or nothing but the revision label.
    pub metadata_only: bool,
    pub differences: Vec<Difference>,
}

/// The step from one revision to another: worked out once, then asked for each Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub differences: Vec<Difference>,
}

impl Change {
    pub fn between(old: Contents<'_>, new: Contents<'_>) -> Self {
        Self { differences: differences(old.template, new.template) }
    }

    /// What this change does to one Pod, which has the old contents or is half way to them.
    pub fn for_pod(&self, _pod: &PodFacts) -> Decision {
        Decision::Recreate { reasons: Vec::new() }
    }
}

/// [`Change::between`] and [`Change::for_pod`] at once, for a single Pod.
pub fn should_do_in_place_update(old: Contents<'_>, new: Contents<'_>, pod: &PodFacts) -> Decision {
    Change::between(old, new).for_pod(pod)
}
