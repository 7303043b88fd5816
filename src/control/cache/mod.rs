//! What the manager knows of the cluster: trimmed objects, indexed by what they belong to, fed by
//! watches.

pub mod claim;
pub mod pod;
pub mod revision;
pub mod set;
pub mod store;
pub mod table;
pub mod watch;
pub mod watched;

#[cfg(test)]
mod tests;

pub use set::{CachedSet, SetView};
pub use store::Store;
pub use table::{IndexKey, Scope};
pub use watched::Watched;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl SetKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        SetKey { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for SetKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The store, shared between the watches and the reconcilers. Held for moments only.
#[derive(Default)]
pub struct SharedStore(Mutex<Store>);

impl SharedStore {
    pub fn lock(&self) -> MutexGuard<'_, Store> {
        // The store has no state that a panic could leave half done and that a relist does not mend.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
