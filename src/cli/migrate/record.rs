//! What a call writes down on the new set, so that a later one can go on where it was ended.

use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A hand-over under way, as an annotation of the set that takes the Pods.
pub trait Record: Serialize + DeserializeOwned {
    const ANNOTATION: &'static str;
    fn giver(&self) -> &Giver;
}

/// The set that gives its Pods away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Giver {
    /// Its kind, as it is printed.
    pub from: String,
    pub uid: String,
    /// Hash of what its spec became: it may change until it is deleted.
    pub spec: String,
}

/// Of an AdvancedStatefulSet that takes over from another kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    #[serde(flatten)]
    pub giver: Giver,
    /// The set is paused only while it takes over.
    pub resume: bool,
    /// Every Pod was on the old set's newest revision.
    pub complete: bool,
}

/// Of a native StatefulSet that takes over from an AdvancedStatefulSet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    #[serde(flatten)]
    pub giver: Giver,
    /// The revision label of its Pods, all of which are on its newest revision.
    pub revision: String,
    /// `updateStrategy` when all is done.
    pub update_strategy: Value,
}

impl Record for Adoption {
    const ANNOTATION: &'static str = "apps.asts.dev/adoption";

    fn giver(&self) -> &Giver {
        &self.giver
    }
}

impl Record for Release {
    const ANNOTATION: &'static str = "apps.asts.dev/release";

    fn giver(&self) -> &Giver {
        &self.giver
    }
}

/// The record of a set; `None` where there is none that can be read.
pub fn read<R: Record>(set: &DynamicObject) -> Option<R> {
    serde_json::from_str(set.metadata.annotations.as_ref()?.get(R::ANNOTATION)?).ok()
}

pub fn write<R: Record>(set: &mut DynamicObject, record: &R) {
    let text = serde_json::to_string(record).unwrap_or_default();
    set.metadata.annotations.get_or_insert_default().insert(R::ANNOTATION.to_owned(), text);
}
