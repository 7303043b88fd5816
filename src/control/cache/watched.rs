//! How objects are read off the wire: only the fields that a decision needs are built, the rest
//! is skipped while parsing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::table::{Indexed, Table};
use super::{Store, watch};
use crate::api::names;
use crate::control::client::Kind;
use crate::model::OwnerFacts;

/// A kind that is watched.
pub trait Watched:
    kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    const KIND: Kind;
    /// Most objects in one page of a list: a page is in memory as text, and decoded.
    const PAGE_SIZE: u32 = watch::PAGE_SIZE;
    type Facts: Indexed + Send + Sync + 'static;

    /// What is kept; `None` where the object does not concern us.
    fn into_facts(self) -> Option<Self::Facts>;
    fn table(store: &mut Store) -> &mut Table<Self::Facts>;
}

/// The metadata that is read of any object.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<OwnerReference>>,
    labels: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    annotations: Option<Annotations>,
}

/// The annotations that are looked at.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "apps.asts.dev/inplace-update-state")]
    in_place_state: Option<String>,
    #[serde(rename = "apps.asts.dev/set")]
    set: Option<String>,
    #[serde(rename = "lifecycle.apps.asts.dev/timestamp")]
    hook_state_since: Option<String>,
    #[serde(rename = "apps.asts.dev/volume-claims")]
    claims: Option<String>,
    #[serde(rename = "apps.asts.dev/pre-pull-images")]
    pre_pull_images: Option<String>,
}

/// Reads metadata without managed fields and other people's annotations.
pub fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta = Meta::deserialize(deserializer)?;
    let annotations = meta.annotations.map(|annotations| {
        [
            (names::IN_PLACE_STATE_ANNOTATION, annotations.in_place_state),
            (names::CLAIM_SET_ANNOTATION, annotations.set),
            (names::HOOK_STATE_SINCE_ANNOTATION, annotations.hook_state_since),
            (names::REVISION_CLAIMS_ANNOTATION, annotations.claims),
            (names::PRE_PULL_IMAGES_ANNOTATION, annotations.pre_pull_images),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect::<BTreeMap<_, _>>()
    });
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        owner_references: meta.owner_references,
        labels: meta.labels,
        finalizers: meta.finalizers,
        annotations: annotations.filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    })
}

/// Makes a type with a `metadata` field a resource of the kind.
macro_rules! resource {
    ($type:ty, $kind:literal, $group:literal, $version:literal, $plural:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;

pub(super) fn boxed(text: Option<String>) -> Box<str> {
    text.unwrap_or_default().into_boxed_str()
}

/// A text that is there and not empty.
pub(super) fn some_text(text: Option<String>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty()).map(String::into_boxed_str)
}

pub(super) fn timestamp(time: Option<Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

pub(super) fn boxed_map(map: Option<BTreeMap<String, String>>) -> BTreeMap<Box<str>, Box<str>> {
    map.unwrap_or_default().into_iter().map(|(key, value)| (key.into_boxed_str(), value.into_boxed_str())).collect()
}

/// The owner reference with `controller: true`.
pub(super) fn controller_of(meta: &ObjectMeta) -> Option<OwnerFacts> {
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(OwnerFacts {
        api_version: owner.api_version.as_str().into(),
        kind: owner.kind.as_str().into(),
        name: owner.name.as_str().into(),
        uid: owner.uid.as_str().into(),
    })
}

/// The owner is an AdvancedStatefulSet, of whatever version.
pub(super) fn is_ours(owner: &OwnerFacts) -> bool {
    &*owner.kind == names::KIND && is_our_group(&owner.api_version)
}

/// The group of these sets, in whatever version.
pub fn is_our_group(api_version: &str) -> bool {
    api_version.split_once('/').is_some_and(|(group, _version)| group == names::GROUP)
}
