//! The resource `AdvancedStatefulSet` (`apps.asts.dev/v1beta1`): types, names and schema.

pub mod crd;
pub mod docs;
mod embedded;
pub mod names;
mod policy;
mod rules;
pub mod spec;
pub mod status;

pub use spec::{AdvancedStatefulSet, AdvancedStatefulSetSpec, RawObject};
pub use status::{AdvancedStatefulSetStatus, Condition, Disruption};
