//! All tables together: which sets an event concerns, and what is seen of one set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use kube::runtime::watcher::Event;

use super::revision::CachedRevision;
use super::set::{CachedSet, SetView};
use super::table::{Change, IndexKey, Indexed, Scope, Table};
use super::{SetKey, Watched};
use crate::control::client::Kind;
use crate::model::{Abilities, Answers, ClaimFacts, Patterns, PodFacts, RevisionFacts, SetFacts, Snapshot};

/// The caches of all kinds.
#[derive(Default)]
pub struct Store {
    pub pods: Table<PodFacts>,
    pub claims: Table<ClaimFacts>,
    pub revisions: Table<CachedRevision>,
    pub sets: Table<CachedSet>,
}

impl Store {
    /// Takes in what a watch saw. Gives back the sets to look at.
    pub fn event<W: Watched>(&mut self, scope: &Scope, event: Event<W>) -> BTreeSet<SetKey> {
        let changes: Vec<Change<W::Facts>> = match event {
            Event::Init => {
                W::table(self).begin_relist(scope);
                Vec::new()
            }
            Event::InitApply(object) => {
                let namespace = namespace_of(&object);
                if let Some(facts) = object.into_facts() {
                    W::table(self).relist_object(scope, namespace, facts);
                }
                Vec::new()
            }
            Event::InitDone => W::table(self).end_relist(scope),
            Event::Apply(object) => self.applied(object).into_iter().collect(),
            Event::Delete(object) => {
                let namespace = namespace_of(&object);
                let meta = object.meta();
                let (name, uid) = (meta.name.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default());
                W::table(self).delete(&namespace, name, uid).into_iter().collect()
            }
        };
        self.concerned(&changes)
    }

    /// Takes in an object that a live read found.
    pub fn refresh<W: Watched>(&mut self, object: W) -> BTreeSet<SetKey> {
        let changes: Vec<_> = self.applied(object).into_iter().collect();
        self.concerned(&changes)
    }

    /// Takes in that a live read found nothing under a name, where `uid` was known before the read.
    pub fn vanished<W: Watched>(&mut self, namespace: &str, name: &str, uid: &str) -> BTreeSet<SetKey> {
        let changes: Vec<_> = W::table(self).delete(namespace, name, uid).into_iter().collect();
        self.concerned(&changes)
    }

    /// The UID that is known under a name.
    pub fn known_uid(&self, kind: Kind, namespace: &str, name: &str) -> Option<Box<str>> {
        self.identity(kind, namespace, name).map(|(uid, _, _)| uid.into())
    }

    /// UID, resourceVersion and whether it is being deleted, of what is known under a name.
    pub fn identity(&self, kind: Kind, namespace: &str, name: &str) -> Option<(&str, &str, bool)> {
        match kind {
            Kind::Pod => {
                self.pods.get(namespace, name).map(|pod| (&*pod.uid, &*pod.resource_version, pod.deletion.is_some()))
            }
            Kind::Claim => {
                self.claims.get(namespace, name).map(|claim| (&*claim.uid, &*claim.resource_version, claim.terminating))
            }
            Kind::Revision => self
                .revisions
                .get(namespace, name)
                .map(|revision| (&*revision.facts.uid, &*revision.facts.resource_version, revision.facts.terminating)),
            Kind::Set => self.sets.get(namespace, name).map(|set| {
                let terminating = matches!(&**set, CachedSet::Sound(facts) if facts.terminating);
                (set.uid(), set.resource_version(), terminating)
            }),
            _ => None,
        }
    }

    /// The object with this UID was known and is gone.
    pub fn is_dead(&self, kind: Kind, uid: &str) -> bool {
        match kind {
            Kind::Pod => self.pods.is_dead(uid),
            Kind::Claim => self.claims.is_dead(uid),
            Kind::Revision => self.revisions.is_dead(uid),
            Kind::Set => self.sets.is_dead(uid),
            _ => false,
        }
    }

    /// All kinds of all scopes were listed once.
    pub fn is_synced(&self, scopes: &[Scope]) -> bool {
        scopes.iter().all(|scope| {
            self.sets.is_synced(scope)
                && self.pods.is_synced(scope)
                && self.claims.is_synced(scope)
                && self.revisions.is_synced(scope)
        })
    }

    /// Names of all sets, for a resync.
    pub fn set_keys(&self, scopes: &[Scope]) -> Vec<SetKey> {
        let mut keys = BTreeSet::new();
        self.sets.each(|namespace, set| {
            if scopes.iter().any(|scope| scope.covers(namespace)) {
                keys.insert(SetKey::new(namespace, set.name()));
            }
        });
        keys.into_iter().collect()
    }

    /// Everything that a decision about one set may see; `None` where there is no such set.
    pub fn view(&self, key: &SetKey, now: Timestamp) -> Option<SetView> {
        let set = match &**self.sets.get(&key.namespace, &key.name)? {
            CachedSet::Poisoned(poisoned) => return Some(SetView::Poisoned(poisoned.clone())),
            CachedSet::Sound(set) => set,
        };
        let owner = IndexKey::Owner(set.uid.clone());
        let parent = IndexKey::Parent { namespace: set.namespace.clone(), name: set.name.clone() };
        let (mut orphans, mut foreign) = (BTreeMap::new(), BTreeMap::new());
        for (name, pod) in self.pods.indexed(&parent) {
            match &pod.controller {
                None => orphans.insert(name.into(), Arc::clone(pod)),
                Some(owner) if owner.uid == set.uid => None,
                Some(_) => foreign.insert(name.into(), Arc::clone(pod)),
            };
        }
        let (helpers, pods) = self.pods.indexed(&owner).map(cloned).partition(|(_, pod)| pod.helper.is_some());
        Some(SetView::Sound(Box::new(Snapshot {
            pods,
            helpers,
            orphans,
            foreign,
            claims: self.claims.indexed(&parent).map(cloned).collect(),
            revisions: self.revisions_of(set),
            set: set.clone(),
            now,
            abilities: Abilities::default(),
            injectors: Patterns::default(),
            creates_max: usize::MAX,
            answers: Answers::default(),
        })))
    }

    /// The revisions of a set, and those of nobody that its selector matches.
    pub fn revisions_of(&self, set: &SetFacts) -> Vec<Arc<RevisionFacts>> {
        let orphans = IndexKey::Orphans { namespace: set.namespace.clone() };
        let owner = IndexKey::Owner(set.uid.clone());
        let owned = self.revisions.indexed(&owner);
        let selector = selector_of(set);
        let matching = self
            .revisions
            .indexed(&orphans)
            .filter(|(_, revision)| selector.as_ref().is_some_and(|selector| selector.matches(&revision.labels)));
        owned.chain(matching).map(|(_, revision)| Arc::clone(&revision.facts)).collect()
    }

    fn applied<W: Watched>(&mut self, object: W) -> Option<Change<W::Facts>> {
        let namespace = namespace_of(&object);
        let name: Box<str> = object.meta().name.as_deref().unwrap_or_default().into();
        match object.into_facts() {
            Some(facts) => W::table(self).apply(&namespace, facts),
            None => W::table(self).forget(&namespace, &name),
        }
    }

    fn concerned<T: Indexed>(&self, changes: &[Change<T>]) -> BTreeSet<SetKey> {
        let mut keys = BTreeSet::new();
        for change in changes {
            for object in [&change.old, &change.new].into_iter().flatten() {
                if T::IS_SET {
                    // Also one that is gone: what is remembered of it can go.
                    keys.insert(SetKey::new(&change.namespace, object.name()));
                    continue;
                }
                for key in object.index_keys(&change.namespace) {
                    self.sets_under(&key, &mut keys);
                }
            }
        }
        keys
    }

    fn sets_under(&self, key: &IndexKey, found: &mut BTreeSet<SetKey>) {
        match key {
            IndexKey::Owner(_) => {
                // A set that is gone needs no look; one that comes looks at all it has; one that
                // cannot be understood does nothing about its Pods.
                found.extend(self.sets.indexed(key).filter_map(|(name, set)| match &**set {
                    CachedSet::Sound(set) => Some(SetKey::new(&set.namespace, name)),
                    CachedSet::Poisoned(_) => None,
                }));
            }
            IndexKey::Parent { namespace, name } => {
                if self.sets.get(namespace, name).is_some() {
                    found.insert(SetKey::new(namespace, name));
                }
            }
            IndexKey::Orphans { namespace } => {
                found.extend(self.sets.in_namespace(namespace).map(|set| SetKey::new(namespace, set.name())));
            }
        }
    }
}

fn cloned<T>((name, object): (&str, &Arc<T>)) -> (Box<str>, Arc<T>) {
    (name.into(), Arc::clone(object))
}

fn namespace_of<W: Watched>(object: &W) -> Box<str> {
    object.meta().namespace.as_deref().unwrap_or_default().into()
}

/// `None` where the selector cannot be understood, or is empty: it then matches nothing.
fn selector_of(set: &SetFacts) -> Option<Selector> {
    let selector = Selector::try_from(set.spec.selector.clone()).ok()?;
    (!selector.selects_all()).then_some(selector)
}
