//! Every decision. [`plan`] alone orders them.

pub mod action;

pub use action::{Action, Plan, PlannedEvent, Question};
