//! Helper Pods: they make a node pull images before a Pod there is updated, and run nothing.

/// What is kept of a helper Pod beside the facts of any Pod.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HelperFacts {
    /// UID of the set that made it: an owner reference that is no controller.
    pub owner_uid: Box<str>,
    pub images: Vec<HelperImage>,
    /// `status.reason` and `status.message`, where the kubelet turned the Pod away.
    pub rejected: Option<Box<str>>,
}

/// One image that a helper Pod makes its node pull.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HelperImage {
    /// As the spec asks for it.
    pub image: Box<str>,
    /// The kubelet has it: it went on to start the container, which cannot be done.
    pub pulled: bool,
    /// What the kubelet says that it cannot do, with the reason in front.
    pub error: Option<Box<str>>,
}
