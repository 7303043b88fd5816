//! Objects of one kind by name, with an index by what they belong to, and relists that become
//! visible all at once.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::model::pod::is_newer;

/// What an object may belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexKey {
    /// The object with this UID: its controller, or for a set itself.
    Owner(Box<str>),
    /// Whatever set has this name: the object's own name says so.
    Parent { namespace: Box<str>, name: Box<str> },
    /// Nothing yet: any set of the namespace whose selector matches.
    Orphans { namespace: Box<str> },
}

/// What one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    All,
    Namespace(Box<str>),
}

/// An object that a table can hold.
pub trait Indexed {
    /// Its events concern itself, not what it belongs to.
    const IS_SET: bool = false;

    fn name(&self) -> &str;
    fn uid(&self) -> &str;
    fn resource_version(&self) -> &str;
    fn index_keys(&self, namespace: &str) -> Vec<IndexKey>;
}

/// An object before and after an event.
#[derive(Debug)]
pub struct Change<T> {
    pub namespace: Box<str>,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

type ByName<T> = BTreeMap<Box<str>, Arc<T>>;

/// Objects of one kind.
#[derive(Debug)]
pub struct Table<T> {
    namespaces: HashMap<Box<str>, ByName<T>>,
    index: HashMap<IndexKey, ByName<T>>,
    relists: HashMap<Scope, Vec<(Box<str>, T)>>,
    /// UIDs that came by other ways while a list was going on.
    seen_while_listing: HashSet<Box<str>>,
    synced: HashSet<Scope>,
    dead: DeadUids,
    count: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            namespaces: HashMap::new(),
            index: HashMap::new(),
            relists: HashMap::new(),
            seen_while_listing: HashSet::new(),
            synced: HashSet::new(),
            dead: DeadUids::default(),
            count: 0,
        }
    }
}

impl<T: Indexed> Table<T> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// All objects under a key, by name.
    pub fn indexed(&self, key: &IndexKey) -> impl Iterator<Item = (&str, &Arc<T>)> {
        self.index.get(key).into_iter().flatten().map(|(name, object)| (&**name, object))
    }

    /// All objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// Calls `visit` with the namespace of each object and the object.
    pub fn each(&self, mut visit: impl FnMut(&str, &T)) {
        for (namespace, objects) in &self.namespaces {
            for object in objects.values() {
                visit(namespace, object);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A first list of this scope is complete.
    pub fn is_synced(&self, scope: &Scope) -> bool {
        self.synced.contains(scope)
    }

    /// The object with this UID was here and is gone.
    pub fn is_dead(&self, uid: &str) -> bool {
        self.dead.contains(uid)
    }

    /// An object as it was seen. `None` where what is here is newer, or the same.
    pub fn apply(&mut self, namespace: &str, object: T) -> Option<Change<T>> {
        if self.dead.contains(object.uid()) {
            return None;
        }
        if let Some(old) = self.get(namespace, object.name()) {
            let (held, seen) = (old.resource_version(), object.resource_version());
            if is_newer(held, seen) || (held == seen && old.uid() == object.uid()) {
                return None;
            }
        }
        if !self.relists.is_empty() {
            self.seen_while_listing.insert(object.uid().into());
        }
        Some(self.put(namespace, Arc::new(object)))
    }

    /// The object with this name and UID does not exist any more (or does not concern us any more).
    /// `None` where another is here.
    pub fn delete(&mut self, namespace: &str, name: &str, uid: &str) -> Option<Change<T>> {
        self.dead.insert(uid);
        let held = self.get(namespace, name)?;
        if held.uid() != uid {
            return None;
        }
        self.take(namespace, name)
    }

    /// Forgets an object that exists and does not concern us.
    pub fn forget(&mut self, namespace: &str, name: &str) -> Option<Change<T>> {
        self.take(namespace, name)
    }

    /// A list of the scope begins: what was collected for it before is void.
    pub fn begin_relist(&mut self, scope: &Scope) {
        if self.relists.is_empty() {
            self.seen_while_listing.clear();
        }
        self.relists.insert(scope.clone(), Vec::new());
    }

    /// An object of the list that goes on.
    pub fn relist_object(&mut self, scope: &Scope, namespace: Box<str>, object: T) {
        self.relists.entry(scope.clone()).or_default().push((namespace, object));
    }

    /// The list is complete: it replaces what was known of the scope. Gives back what changed.
    pub fn end_relist(&mut self, scope: &Scope) -> Vec<Change<T>> {
        let listed = self.relists.remove(scope).unwrap_or_default();
        self.synced.insert(scope.clone());
        let mut changes = Vec::new();
        let mut gone: HashSet<(Box<str>, Box<str>)> = self
            .namespaces
            .iter()
            .filter(|(namespace, _)| scope.covers(namespace))
            .flat_map(|(namespace, objects)| objects.keys().map(|name| (namespace.clone(), name.clone())))
            .collect();
        for (namespace, object) in listed {
            let key = (namespace, object.name().into());
            gone.remove(&key);
            let same = self.get(&key.0, &key.1).is_some_and(|old| {
                old.uid() == object.uid() && !is_newer(object.resource_version(), old.resource_version())
            });
            if !same {
                changes.push(self.put(&key.0, Arc::new(object)));
            }
        }
        for (namespace, name) in gone {
            changes.extend(self.take(&namespace, &name));
        }
        for change in &changes {
            // One that a live read showed after the list was taken is not dead: the watch shows it again.
            if let Some(old) = &change.old
                && change.new.as_ref().is_none_or(|new| new.uid() != old.uid())
                && !self.seen_while_listing.contains(old.uid())
            {
                self.dead.insert(old.uid());
            }
        }
        changes
    }

    fn put(&mut self, namespace: &str, object: Arc<T>) -> Change<T> {
        let old = self.take(namespace, object.name()).and_then(|change| change.old);
        let name: Box<str> = object.name().into();
        for key in object.index_keys(namespace) {
            self.index.entry(key).or_default().insert(name.clone(), Arc::clone(&object));
        }
        self.namespaces.entry(namespace.into()).or_default().insert(name, Arc::clone(&object));
        self.count += 1;
        Change { namespace: namespace.into(), old, new: Some(object) }
    }

    fn take(&mut self, namespace: &str, name: &str) -> Option<Change<T>> {
        let objects = self.namespaces.get_mut(namespace)?;
        let old = objects.remove(name)?;
        if objects.is_empty() {
            self.namespaces.remove(namespace);
        }
        for key in old.index_keys(namespace) {
            if let Some(objects) = self.index.get_mut(&key) {
                objects.remove(name);
                if objects.is_empty() {
                    self.index.remove(&key);
                }
            }
        }
        self.count -= 1;
        Some(Change { namespace: namespace.into(), old: Some(old), new: None })
    }
}

impl Scope {
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Namespace(own) => &**own == namespace,
        }
    }
}

/// UIDs of objects that were deleted lately: an answer that was on its way must not bring one back.
#[derive(Debug, Default)]
struct DeadUids {
    set: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl DeadUids {
    const COUNT_MAX: usize = 4096;

    fn insert(&mut self, uid: &str) {
        let uid: Arc<str> = uid.into();
        if uid.is_empty() || !self.set.insert(Arc::clone(&uid)) {
            return;
        }
        self.order.push_back(uid);
        if self.order.len() > Self::COUNT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }

    fn contains(&self, uid: &str) -> bool {
        self.set.contains(uid)
    }
}
