//! A store that behaves as an apiserver: one resourceVersion for all writes, preconditions,
//! finalizers, graceful deletion of Pods, and a log per kind that watches read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::admission;
use super::facts;
use super::merge::merge;
use super::policy::inject;
use super::world::SET;
use crate::inplace::with_defaults;
use crate::model::{ClaimFacts, PodFacts, RevisionFacts, SetFacts};

pub const NAMESPACE: &str = "space";
/// The virtual clock begins here, in seconds of Unix time.
const EPOCH_SECONDS: i64 = 1_900_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Set,
    Pod,
    Claim,
    Revision,
    /// Of no interest to a view.
    Lease,
}

/// The kinds that a view shows.
pub const KINDS: [Kind; 4] = [Kind::Set, Kind::Pod, Kind::Claim, Kind::Revision];

#[derive(Debug)]
pub struct Object {
    pub value: Value,
    pub version: u64,
    pub uid: Box<str>,
    /// Nobody has changed it since it was made.
    as_made: bool,
    pub facts: Facts,
}

#[derive(Debug)]
pub enum Facts {
    Set(SetFacts),
    Pod(Arc<PodFacts>),
    Claim(Arc<ClaimFacts>),
    Revision(Arc<RevisionFacts>),
    Other,
}

/// Which part of an object a patch may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    Status,
    Resize,
}

impl Object {
    pub fn pod(&self) -> Option<&Arc<PodFacts>> {
        match &self.facts {
            Facts::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    pub fn set(&self) -> Option<&SetFacts> {
        match &self.facts {
            Facts::Set(set) => Some(set),
            _ => None,
        }
    }

    pub fn claim(&self) -> Option<&Arc<ClaimFacts>> {
        match &self.facts {
            Facts::Claim(claim) => Some(claim),
            _ => None,
        }
    }

    pub fn revision(&self) -> Option<&Arc<RevisionFacts>> {
        match &self.facts {
            Facts::Revision(revision) => Some(revision),
            _ => None,
        }
    }

    pub fn is_terminating(&self) -> bool {
        facts::at(&self.value, "/metadata/deletionTimestamp").is_some()
    }
}

/// One change, as a watch of the kind sees it.
#[derive(Clone, Debug)]
pub struct Change {
    pub name: Box<str>,
    pub version: u64,
    /// `None`: it was removed.
    pub object: Option<Arc<Object>>,
    /// What it was before.
    pub before: Option<Arc<Object>>,
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: u16,
    pub message: String,
}

pub fn refused<T>(code: u16, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into() })
}

/// What a write rests on.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub uid: Option<Box<str>>,
    pub version: Option<Box<str>>,
}

#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<Box<str>, Arc<Object>>>,
    pub logs: BTreeMap<Kind, Vec<Change>>,
    /// Changes that nobody has been told of yet.
    pub fresh: Vec<(Kind, Change)>,
    pub version: u64,
    uids: u64,
    pub now_ms: i64,
    /// More of a running Pod may be changed.
    pub customised: bool,
    /// A webhook puts a container into each new Pod.
    pub injects: bool,
}

pub fn timestamp(now_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(EPOCH_SECONDS * 1000 + now_ms).unwrap_or_default()
}

/// As the apiserver stores times: whole seconds.
pub fn stamp(now_ms: i64) -> String {
    timestamp(now_ms).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

type Answer = Result<Arc<Object>, Refused>;

impl Store {
    pub fn new(customised: bool) -> Store {
        Store { customised, ..Store::default() }
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&kind)?.get(name)
    }

    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Arc<Object>)> {
        self.objects.get(&kind).into_iter().flatten().map(|(name, object)| (&**name, object))
    }

    pub fn create(&mut self, kind: Kind, mut value: Value) -> Answer {
        let name = facts::text(&value, "/metadata/name");
        if self.get(kind, &name).is_some() {
            return refused(409, format!("{kind:?} {name} already exists"));
        }
        admission::of_create(kind, &mut value)?;
        self.uids += 1;
        value["metadata"]["namespace"] = NAMESPACE.into();
        value["metadata"]["uid"] = format!("uid-{}", self.uids).into();
        value["metadata"]["generation"] = 1.into();
        value["metadata"]["creationTimestamp"] = stamp(self.now_ms).into();
        match kind {
            Kind::Pod => admit_pod(&mut value, self.injects),
            Kind::Claim => {
                let mut finalizers = facts::list(&value, "/metadata/finalizers").to_vec();
                finalizers.push("kubernetes.io/pvc-protection".into());
                value["metadata"]["finalizers"] = finalizers.into();
                value["status"] = json!({"phase": "Pending"});
            }
            Kind::Set => super::schema::fill_in(&mut value),
            Kind::Revision | Kind::Lease => {}
        }
        self.put(kind, &name, value)
    }

    /// A change by someone who does not use preconditions: users, kubelets, controllers of the cluster.
    pub fn change(&mut self, kind: Kind, name: &str, edit: impl FnOnce(&mut Value)) -> Answer {
        let Some(old) = self.get(kind, name).cloned() else { return refused(404, format!("no {kind:?} {name}")) };
        let mut value = old.value.clone();
        edit(&mut value);
        if kind == Kind::Set {
            super::schema::fill_in(&mut value);
        }
        // An apiserver stores the first update of a claim anew even where it changes nothing.
        if value == old.value && !(kind == Kind::Claim && old.as_made) {
            return Ok(old);
        }
        if value.get("spec") != old.value.get("spec") {
            let generation = old.value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            value["metadata"]["generation"] = (generation + 1).into();
        }
        self.put(kind, name, value)
    }

    pub fn put_status(&mut self, name: &str, status: Value, guard: &Guard) -> Answer {
        let old = self.guarded(Kind::Set, name, guard)?;
        let mut value = old.value.clone();
        value["status"] = status;
        if value == old.value { Ok(old) } else { self.put(Kind::Set, name, value) }
    }

    /// A PUT of the whole object.
    pub fn replace(&mut self, kind: Kind, name: &str, value: &Value, guard: &Guard) -> Answer {
        let old = self.guarded(kind, name, guard)?;
        let mut value = value.clone();
        admission::keep_identity(&old.value, &mut value);
        self.admit_update(kind, Part::Whole, &old, &mut value)?;
        self.change(kind, name, |stored| *stored = value)
    }

    /// A patch; `metadata.uid` and `metadata.resourceVersion` in it are preconditions.
    pub fn patch(&mut self, kind: Kind, name: &str, patch: &Value, part: Part) -> Answer {
        let (_, value) = self.patched(kind, name, patch, part)?;
        self.change(kind, name, |stored| *stored = value)
    }

    /// What the object was, and what a patch makes of it. Strategic merge patches, which on lists without keys and on
    /// maps do what merge patches do.
    pub fn patched(&self, kind: Kind, name: &str, patch: &Value, part: Part) -> Result<(Arc<Object>, Value), Refused> {
        let mut patch = patch.clone();
        let mut taken = |key: &str| {
            let metadata = patch.get_mut("metadata")?.as_object_mut()?;
            metadata.remove(key)?.as_str().map(Box::from)
        };
        let (uid, version) = (taken("uid"), taken("resourceVersion"));
        let old = self.guarded(kind, name, &Guard { uid: None, version })?;
        // No precondition in a patch, but a field that nobody may change.
        if uid.is_some_and(|uid| uid != old.uid) {
            return refused(422, format!("{kind:?} {name} is invalid: metadata.uid: field is immutable"));
        }
        if let Some(fields) = patch.as_object_mut() {
            match part {
                // Labels and annotations of a Pod may be written with its status.
                Part::Status => fields.retain(|field, _| matches!(field.as_str(), "status" | "metadata")),
                Part::Whole => {}
                Part::Resize => fields.retain(|field, _| matches!(field.as_str(), "spec" | "metadata")),
            }
        }
        let mut value = old.value.clone();
        match kind {
            // A custom resource takes merge patches alone.
            Kind::Set => json_patch::merge(&mut value, &patch),
            _ => merge(&mut value, &patch),
        }
        self.admit_update(kind, part, &old, &mut value)?;
        Ok((old, value))
    }

    fn admit_update(&self, kind: Kind, part: Part, old: &Object, value: &mut Value) -> Result<(), Refused> {
        admission::of_update(kind, part == Part::Status, &old.value, value)?;
        if kind == Kind::Claim && facts::claim(value).requested_bytes < facts::claim(&old.value).requested_bytes {
            return refused(422, "the claim is invalid: it may not shrink");
        }
        if kind == Kind::Pod {
            allowed_pod_update(&old.value, value, part, self.customised)?;
        }
        Ok(())
    }

    /// `grace_seconds`: 0 is a forced deletion; `None`: the object's own.
    pub fn delete(&mut self, kind: Kind, name: &str, guard: &Guard, grace_seconds: Option<i64>) -> Answer {
        let old = self.guarded(kind, name, guard)?;
        let held = !facts::list(&old.value, "/metadata/finalizers").is_empty();
        if old.is_terminating() {
            return self.shorten(kind, name, &old, grace_seconds, held);
        }
        let phase = facts::text(&old.value, "/status/phase");
        let at_once = kind != Kind::Pod
            || facts::text(&old.value, "/spec/nodeName").is_empty()
            || matches!(&*phase, "Failed" | "Succeeded");
        let own = old.value.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
        let grace = if at_once { 0 } else { grace_seconds.unwrap_or(own) };
        if grace == 0 && !held {
            self.remove(kind, name);
            return Ok(old);
        }
        let until = stamp(self.now_ms + grace * 1000);
        let mut value = old.value.clone();
        let generation = value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        value["metadata"]["generation"] = (generation + 1).into();
        value["metadata"]["deletionTimestamp"] = until.into();
        value["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.put(kind, name, value)
    }

    /// A second deletion may only make the time shorter.
    fn shorten(&mut self, kind: Kind, name: &str, old: &Arc<Object>, grace_seconds: Option<i64>, held: bool) -> Answer {
        let left = old.value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        let Some(grace) = grace_seconds.filter(|grace| *grace < left) else { return Ok(Arc::clone(old)) };
        if grace == 0 && !held {
            self.remove(kind, name);
            return Ok(Arc::clone(old));
        }
        let mut value = old.value.clone();
        value["metadata"]["deletionTimestamp"] = stamp(self.now_ms + grace * 1000).into();
        value["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.put(kind, name, value)
    }

    /// What there was of a kind when the store was at this version, and how much of the kind's log led to it.
    pub fn as_of(&self, kind: Kind, version: u64) -> (BTreeMap<Box<str>, Arc<Object>>, usize) {
        let log = self.logs.get(&kind).map_or(&[][..], Vec::as_slice);
        if version >= self.version {
            return (self.objects.get(&kind).cloned().unwrap_or_default(), log.len());
        }
        let seen = log.partition_point(|change| change.version <= version);
        let mut objects = BTreeMap::new();
        for change in &log[..seen] {
            match &change.object {
                Some(object) => drop(objects.insert(change.name.clone(), Arc::clone(object))),
                None => drop(objects.remove(&change.name)),
            }
        }
        (objects, seen)
    }

    /// The last step of a deletion.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(before) = self.objects.get_mut(&kind).and_then(|objects| objects.remove(name)) {
            self.version += 1;
            self.log(kind, Change { name: name.into(), version: self.version, object: None, before: Some(before) });
        }
    }

    fn guarded(&self, kind: Kind, name: &str, guard: &Guard) -> Answer {
        let Some(old) = self.get(kind, name) else { return refused(404, format!("no {kind:?} {name}")) };
        if guard.version.as_ref().is_some_and(|version| **version != *old.version.to_string()) {
            return refused(409, format!("{kind:?} {name} has changed"));
        }
        if guard.uid.as_ref().is_some_and(|uid| *uid != old.uid) {
            return refused(409, format!("{kind:?} {name} has another UID"));
        }
        Ok(Arc::clone(old))
    }

    fn put(&mut self, kind: Kind, name: &str, mut value: Value) -> Answer {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(Object {
            version: self.version,
            uid: facts::text(&value, "/metadata/uid"),
            as_made: self.get(kind, name).is_none(),
            facts: match kind {
                // Another than the one that is looked at may be such that nobody understands it.
                Kind::Set => match facts::set(&value) {
                    Ok(set) => Facts::Set(set),
                    Err(message) if name == SET => return refused(422, message),
                    Err(_) => Facts::Other,
                },
                Kind::Pod => Facts::Pod(Arc::new(facts::pod(&value))),
                Kind::Claim => Facts::Claim(Arc::new(facts::claim(&value))),
                Kind::Revision => Facts::Revision(Arc::new(facts::revision(&value))),
                Kind::Lease => Facts::Other,
            },
            value,
        });
        let gone = object.is_terminating()
            && facts::list(&object.value, "/metadata/finalizers").is_empty()
            && (kind != Kind::Pod || object.value.pointer("/metadata/deletionGracePeriodSeconds") == Some(&0.into()));
        // The last finalizer has gone: no watch ever shows this state.
        let (shown, before) = if gone {
            (None, self.objects.get_mut(&kind).and_then(|objects| objects.remove(name)))
        } else {
            let before = self.objects.entry(kind).or_default().insert(name.into(), Arc::clone(&object));
            (Some(Arc::clone(&object)), before)
        };
        self.log(kind, Change { name: name.into(), version: self.version, object: shown, before });
        Ok(object)
    }

    fn log(&mut self, kind: Kind, change: Change) {
        self.logs.entry(kind).or_default().push(change.clone());
        self.fresh.push((kind, change));
    }
}

/// What the apiserver and its admission make of a new Pod: defaults, a token, tolerations.
fn admit_pod(value: &mut Value, injects: bool) {
    if injects {
        inject(value);
    }
    let defaulted = with_defaults(&json!({"spec": value.get("spec").cloned().unwrap_or_default()}));
    value["spec"] = defaulted.get("spec").cloned().unwrap_or_default();
    let token = json!({"name": "kube-api-access-x", "projected": {"sources": []}});
    match value["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(token),
        None => value["spec"]["volumes"] = json!([token]),
    }
    value["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]);
    value["status"] = json!({"phase": "Pending"});
}

/// Of a Pod's spec only images may change, and resources by `pods/resize`; metadata may.
fn allowed_pod_update(old: &Value, new: &Value, part: Part, customised: bool) -> Result<(), Refused> {
    let open: &[&str] = match (part, customised) {
        (Part::Resize, _) => &["resources"],
        (_, false) => &["image"],
        (_, true) => &["image", "env", "envFrom", "volumeMounts", "livenessProbe", "readinessProbe"],
    };
    let blank = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in ["containers", "initContainers"] {
            for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
                for field in open {
                    container[*field] = Value::Null;
                }
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("tolerations");
        }
        spec
    };
    if blank(old) == blank(new) { Ok(()) } else { refused(422, "Pod is invalid: spec: Forbidden: may not be changed") }
}
