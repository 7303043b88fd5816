//! What `adopt` and `release` have in common: they take Pods from one owner to another, step by step, and can be ended and
//! called again at any moment.

pub mod access;
pub mod facts;
pub mod findings;
pub mod kinds;
pub mod manager;
pub mod moving;
pub mod patience;
pub mod preflight;
pub mod record;
pub mod revisions;
pub mod stage;
pub mod surroundings;
pub mod writes;
