//! What `adopt` and `release` have in common: they take Pods from one owner to another, step by step, and can be ended and
//! called again at any moment.

pub mod access;
pub mod claims;
pub mod facts;
pub mod findings;
pub mod give_up;
pub mod kinds;
pub mod manager;
pub mod marks;
pub mod moving;
pub mod patience;
pub mod preflight;
pub mod progress;
pub mod record;
pub mod retention;
pub mod revisions;
pub mod stage;
pub mod surroundings;
pub mod writes;
