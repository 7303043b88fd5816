//! ControllerRevisions: as they come, and what is kept of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::Store;
use super::table::{IndexKey, Indexed, Table};
use super::watched::{Watched, boxed, controller_of, is_ours, resource, trimmed};
use crate::api::names;
use crate::control::client::Kind;
use crate::model::RevisionFacts;

/// A ControllerRevision as it is read off the wire.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct RevisionObject {
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    revision: i64,
    #[serde(default)]
    data: Value,
}

/// A revision, and the labels by which a set may find it.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedRevision {
    pub facts: Arc<RevisionFacts>,
    /// Empty where it has a controller: they are then not looked at.
    pub labels: BTreeMap<String, String>,
}

resource!(RevisionObject, "ControllerRevision", "apps", "v1", "controllerrevisions");

impl Watched for RevisionObject {
    const KIND: Kind = Kind::Revision;
    /// A revision holds a whole template.
    const PAGE_SIZE: u32 = 100;
    type Facts = CachedRevision;

    fn into_facts(self) -> Option<CachedRevision> {
        if controller_of(&self.metadata).is_some_and(|owner| !is_ours(&owner)) {
            return None;
        }
        Some(self.whole())
    }

    fn table(store: &mut Store) -> &mut Table<CachedRevision> {
        &mut store.revisions
    }
}

impl RevisionObject {
    pub fn whole(self) -> CachedRevision {
        let controller = controller_of(&self.metadata);
        let labels = self.metadata.labels.unwrap_or_default();
        let name = boxed(self.metadata.name);
        let hash = labels
            .get(names::HASH_LABEL)
            .map_or_else(|| name.rsplit_once('-').map_or(&*name, |(_, hash)| hash).into(), |hash| hash.as_str().into());
        let facts = RevisionFacts {
            uid: boxed(self.metadata.uid),
            resource_version: boxed(self.metadata.resource_version),
            hash,
            number: self.revision,
            terminating: self.metadata.deletion_timestamp.is_some(),
            data: Arc::new(self.data),
            noted_claims: self
                .metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(names::REVISION_CLAIMS_ANNOTATION))
                .map(String::into_boxed_str),
            controller,
            name,
        };
        let labels = if facts.controller.is_none() { labels } else { BTreeMap::new() };
        CachedRevision { facts: Arc::new(facts), labels }
    }
}

impl Indexed for CachedRevision {
    fn name(&self) -> &str {
        &self.facts.name
    }

    fn uid(&self) -> &str {
        &self.facts.uid
    }

    fn resource_version(&self) -> &str {
        &self.facts.resource_version
    }

    fn index_keys(&self, namespace: &str) -> Vec<IndexKey> {
        vec![match &self.facts.controller {
            Some(owner) => IndexKey::Owner(owner.uid.clone()),
            None => IndexKey::Orphans { namespace: namespace.into() },
        }]
    }
}
