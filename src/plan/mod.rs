//! Every decision. [`plan`] alone orders them.

pub mod action;

pub use action::{Action, Plan, PlannedEvent, Question};

use crate::model::Snapshot;

/// What is to be done about one set, seen as it is at one moment.
pub fn plan(_snapshot: &Snapshot) -> Plan {
    Plan::default()
}
