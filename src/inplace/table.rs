//! Which field of a template can change in a running Pod.

/// What a change of a field does to the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The Pod and its containers go on.
    Dynamic,
    /// The Pod stays, containers are re-created.
    Rebuild,
    /// The Pod is re-created.
    Static,
}
