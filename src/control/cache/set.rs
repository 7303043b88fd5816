//! AdvancedStatefulSets: as they come, and what is kept of them. One that cannot be understood
//! is kept as just that, and does not keep the others from being read.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::Store;
use super::table::{IndexKey, Indexed, Table};
use super::watched::{Watched, boxed, resource, trimmed};
use crate::api::{AdvancedStatefulSetSpec, AdvancedStatefulSetStatus};
use crate::control::client::Kind;
use crate::model::{SetFacts, Snapshot};

/// A set as it is read off the wire: whatever its spec holds.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct SetObject {
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// A set in the cache.
#[derive(Clone, Debug)]
pub enum CachedSet {
    Sound(SetFacts),
    Poisoned(Poisoned),
}

/// A set that cannot be understood: reported, and otherwise left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: i64,
    /// What is wrong with it.
    pub message: String,
}

/// What there is to decide on.
#[derive(Clone, Debug)]
pub enum SetView {
    Sound(Box<Snapshot>),
    Poisoned(Poisoned),
}

resource!(SetObject, "AdvancedStatefulSet", "apps.asts.dev", "v1beta1", "advancedstatefulsets");

impl Watched for SetObject {
    const KIND: Kind = Kind::Set;
    const PAGE_SIZE: u32 = 100;
    type Facts = CachedSet;

    fn into_facts(self) -> Option<CachedSet> {
        Some(self.whole())
    }

    fn table(store: &mut Store) -> &mut Table<CachedSet> {
        &mut store.sets
    }
}

impl SetObject {
    pub fn whole(self) -> CachedSet {
        let metadata = self.metadata;
        let generation = metadata.generation.unwrap_or(0);
        let spec = serde_json::from_value::<AdvancedStatefulSetSpec>(self.spec);
        let status = match self.status {
            Value::Null => Ok(AdvancedStatefulSetStatus::default()),
            status => serde_json::from_value(status),
        };
        let (spec, status) = match (spec, status) {
            (Ok(spec), Ok(status)) => (spec, status),
            (spec, status) => {
                let part = |name: &str, error: Option<serde_json::Error>| {
                    error.map(|error| format!("the {name} cannot be understood: {error}"))
                };
                let message = [part("spec", spec.err()), part("status", status.err())];
                return CachedSet::Poisoned(Poisoned {
                    name: boxed(metadata.name),
                    uid: boxed(metadata.uid),
                    resource_version: boxed(metadata.resource_version),
                    generation,
                    message: message.into_iter().flatten().collect::<Vec<_>>().join("; "),
                });
            }
        };
        CachedSet::Sound(SetFacts {
            generation,
            terminating: metadata.deletion_timestamp.is_some(),
            namespace: boxed(metadata.namespace),
            name: boxed(metadata.name),
            uid: boxed(metadata.uid),
            resource_version: boxed(metadata.resource_version),
            spec: Arc::new(spec),
            status: Arc::new(status),
        })
    }
}

impl Indexed for CachedSet {
    const IS_SET: bool = true;

    fn name(&self) -> &str {
        match self {
            CachedSet::Sound(set) => &set.name,
            CachedSet::Poisoned(set) => &set.name,
        }
    }

    fn uid(&self) -> &str {
        match self {
            CachedSet::Sound(set) => &set.uid,
            CachedSet::Poisoned(set) => &set.uid,
        }
    }

    fn resource_version(&self) -> &str {
        match self {
            CachedSet::Sound(set) => &set.resource_version,
            CachedSet::Poisoned(set) => &set.resource_version,
        }
    }

    fn index_keys(&self, _namespace: &str) -> Vec<IndexKey> {
        vec![IndexKey::Owner(self.uid().into())]
    }
}
