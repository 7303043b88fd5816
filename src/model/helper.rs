//! Helper Pods: they make a node pull images before a Pod there is updated, and run nothing.

use super::revision::hash_text;
use crate::api::names;

const HASH_LETTERS: usize = 10;
/// How the name of a helper's container begins; the place of its image in the list follows.
const CONTAINER_PREFIX: &str = "image-";

/// The name of a set's helper Pod for something with this hash: never that of one of its Pods, which ends in a number.
pub fn helper_name(set: &str, hash: &str) -> String {
    let prefix: String = set.chars().take(names::HELPER_PREFIX_BYTES_MAX).collect();
    format!("{}-{hash}{}", prefix.trim_end_matches(['.', '-']), names::HELPER_SUFFIX)
}

/// What tells a helper Pod from the others of its set.
pub fn helper_hash(text: &str) -> String {
    hash_text(text, HASH_LETTERS)
}

/// Whether a helper Pod of this set could have the name.
pub fn is_helper_name(name: &str, set: &str) -> bool {
    let hash = name.strip_suffix(names::HELPER_SUFFIX).and_then(|name| name.rsplit_once('-'));
    hash.is_some_and(|(_, hash)| hash.len() == HASH_LETTERS && name == helper_name(set, hash))
}

/// The name of the container that makes the node pull the image of this place in the list.
pub fn helper_container_name(place: usize) -> String {
    format!("{CONTAINER_PREFIX}{place}")
}

/// The place in the list; `None`: somebody else put this container into the helper.
pub fn place_of_helper_container(name: &str) -> Option<usize> {
    name.strip_prefix(CONTAINER_PREFIX)?.parse().ok()
}

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
    /// As the template asks for it, whatever admission made of it.
    pub image: Box<str>,
    /// The kubelet has it: it went on to start the container, which cannot be done on a node of containers.
    pub pulled: bool,
    /// What the kubelet says that it cannot do, with the reason in front.
    pub error: Option<Box<str>>,
}
