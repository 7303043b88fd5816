//! A controller as its executor should be: lagging views, the planner, and then exactly what
//! [`crate::plan::action::Plan`] says, one request after another, each of which can be lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::chaos::Fault;
use super::mutants::Mutant;
use super::store::{Guard, KINDS, Kind, Object, timestamp};
use super::world::{Event, SET, World, note};
use crate::inplace::Heard;
use crate::model::snapshot::Refusal;
use crate::model::{Abilities, Answers, Patterns, SetFacts, Snapshot, TemplateAnswer};
use crate::plan::Plan;
use crate::plan::action::{Action, Question, RevisionAction};
use crate::plan::prepull::pulled_by_helpers;

/// How long a view may be behind our own writes before they are read live.
const OWN_WRITES_MS: i64 = 5000;
const RESYNC_MS: i64 = 300_000;
/// How long a patch that was refused is not tried again.
const REFUSED_PATCH_KEPT_MS: i64 = 600_000;

/// By the Pod's UID and the revision's hash: what the apiserver said, and when.
type RefusedPatches = BTreeMap<(Box<str>, Box<str>), (Box<str>, i64)>;

pub struct Controller {
    pub alive: bool,
    /// Grows with each crash: answers to an earlier life are not heard.
    pub epoch: u64,
    pub views: BTreeMap<Kind, View>,
    pub next: Option<i64>,
    pub run: Option<Run>,
    pub in_flight: Vec<Written>,
    pub refusals: BTreeMap<String, Refusal>,
    /// With the time of the refusal.
    pub refused_patches: RefusedPatches,
    pub templates: BTreeMap<Box<str>, TemplateAnswer>,
    /// Nodes and images that helpers have pulled.
    pub pulled_images: BTreeSet<(Box<str>, Box<str>)>,
    pub heard: Heard,
    /// News came while it was busy.
    pub dirty: bool,
    pub failures: u32,
}

/// What a controller has seen of a kind.
#[derive(Default)]
pub struct View {
    pub cursor: usize,
    pub objects: BTreeMap<Box<str>, Arc<Object>>,
    /// News up to this version is known already, also that the object went.
    pub floors: BTreeMap<Box<str>, u64>,
    pub pending: bool,
    /// Its watch hangs until then.
    pub frozen_until_ms: i64,
}

impl View {
    /// A live read, made when the store was at this version; news that came since stays.
    pub fn learn(&mut self, name: &str, object: Option<Arc<Object>>, version: u64) {
        if self.floors.get(name).is_some_and(|floor| *floor > version) {
            return;
        }
        match object {
            Some(object) => drop(self.objects.insert(name.into(), object)),
            None => drop(self.objects.remove(name)),
        }
        self.floors.insert(name.into(), version);
    }
}

/// A write of our own that the views may not show yet.
#[derive(Clone, Debug)]
pub struct Written {
    pub kind: Kind,
    pub name: Box<str>,
    pub what: Expect,
    pub since_ms: i64,
}

#[derive(Clone, Debug)]
pub enum Expect {
    Version(u64),
    Gone(Box<str>),
    /// Nobody knows whether it was done.
    Unknown,
}

/// One plan being carried out.
pub struct Run {
    pub snapshot: Snapshot,
    /// The snapshot before a mutant got hold of it: what the plan is judged by.
    pub honest: Snapshot,
    pub read: Read,
    pub plan: Plan,
    pub stage: Stage,
    /// What is done at once; each a sequence of requests.
    pub chains: Vec<VecDeque<Request>>,
    pub waiting: usize,
    pub failed: bool,
    pub rounds: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Refresh,
    Questions,
    Revisions(usize),
    Status,
    Actions(usize),
    Disruptions,
    Done,
}

/// Which state of the set a request rests on.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub set_version: u64,
    pub set_uid: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    DryRun,
    Create,
    Delete,
    Patch,
    MergePatch,
    PatchStatus,
    Resize,
    PutStatus,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub controller: usize,
    pub epoch: u64,
    pub chain: usize,
    pub verb: Verb,
    pub kind: Kind,
    pub name: Box<str>,
    pub body: Value,
    pub guard: Guard,
    pub intent: Intent,
    pub read: Read,
    /// The client has given up: nobody hears the answer.
    pub abandoned: bool,
    pub fault: Option<Fault>,
    /// For another set than the one that is looked at.
    pub is_for_another: bool,
    /// Of a deletion, in place of the object's own.
    pub grace_seconds: Option<i64>,
}

#[derive(Clone, Debug)]
pub enum Intent {
    Ask(Question),
    Refresh,
    /// The revision that a Pod's label names.
    FindRevision,
    /// The set is there, the same, and not being deleted.
    CheckSet,
    /// The set is as the plan saw it.
    LookAtSet,
    /// No Pod and no status names this revision.
    CheckRevision(Box<str>),
    Revision(RevisionAction),
    Status,
    Claim,
    Act(Action),
}

#[derive(Debug)]
pub struct Answered {
    pub request: Request,
    pub outcome: Outcome,
    /// The store's version when the request arrived.
    pub version: u64,
}

#[derive(Debug)]
pub enum Outcome {
    Done(Option<Arc<Object>>),
    Template(TemplateAnswer),
    Refused(u16, String),
    Unknown,
}

impl Controller {
    pub fn new(_: usize) -> Controller {
        Controller {
            alive: true,
            epoch: 0,
            views: KINDS.into_iter().map(|kind| (kind, View::default())).collect(),
            next: None,
            run: None,
            in_flight: Vec::new(),
            refusals: BTreeMap::new(),
            refused_patches: BTreeMap::new(),
            templates: BTreeMap::new(),
            pulled_images: BTreeSet::new(),
            heard: Heard::default(),
            dirty: false,
            failures: 0,
        }
    }

    pub fn set(&self) -> Option<&SetFacts> {
        self.views.get(&Kind::Set)?.objects.get(SET)?.set()
    }

    fn shows(&self, written: &Written) -> bool {
        let Some(view) = self.views.get(&written.kind) else { return true };
        let object = view.objects.get(&written.name);
        match &written.what {
            Expect::Version(version) => {
                object.is_some_and(|object| object.version >= *version)
                    || view.floors.get(&written.name).is_some_and(|floor| floor >= version)
            }
            Expect::Gone(uid) => object.is_none_or(|object| object.uid != *uid || object.is_terminating()),
            Expect::Unknown => false,
        }
    }
}

impl World {
    /// Something was written: each watch will bring it some time.
    pub fn news(&mut self, controller: usize, kind: Kind) {
        let lag = self.random.range(1, self.swarm.watch_lag_ms);
        let now = self.now;
        let Some(view) = self.controllers[controller].views.get_mut(&kind) else { return };
        if !view.pending {
            view.pending = true;
            let late = self.chaos.of_news(&self.swarm, self.faults) == Some(Fault::Late);
            let lag = if late { lag * 40 } else { lag };
            let at = (now + lag).max(view.frozen_until_ms);
            self.at(at, Event::Deliver { controller, kind });
        }
    }

    pub fn deliver(&mut self, controller: usize, kind: Kind) {
        let faults = self.faults;
        let some = self.random.below(6);
        let visible = self.visible(controller, kind);
        let Some(view) = self.controllers[controller].views.get_mut(&kind) else { return };
        view.pending = false;
        if faults && view.frozen_until_ms > self.now {
            view.pending = true;
            let at = view.frozen_until_ms;
            self.at(at, Event::Deliver { controller, kind });
            return;
        }
        let empty = Vec::new();
        let log = self.store.logs.get(&kind).unwrap_or(&empty);
        let visible = visible.max(view.cursor);
        let end = if some == 0 { (view.cursor + 1).min(visible) } else { visible };
        let mut changed = false;
        for change in &log[view.cursor.min(end)..end] {
            if view.floors.get(&change.name).is_some_and(|floor| *floor >= change.version) {
                continue;
            }
            changed = true;
            view.floors.insert(change.name.clone(), change.version);
            match &change.object {
                Some(object) => drop(view.objects.insert(change.name.clone(), Arc::clone(object))),
                None => drop(view.objects.remove(&change.name)),
            }
        }
        view.cursor = end;
        let more = end < visible;
        if more {
            self.news(controller, kind);
        }
        if changed && self.controllers[controller].alive {
            self.wake(controller, self.now + 10);
        }
    }

    /// How many events of a kind may have been seen by now.
    pub fn visible(&self, controller: usize, kind: Kind) -> usize {
        let all = self.store.logs.get(&kind).map_or(0, Vec::len);
        let hidden = self.script.behind.iter().filter(|one| one.controller == controller && one.kind == kind);
        let hidden: usize = hidden.map(|one| one.events).sum();
        if self.faults { all.saturating_sub(hidden) } else { all }
    }

    pub fn wake(&mut self, controller: usize, at: i64) {
        let one = &mut self.controllers[controller];
        if one.run.is_some() {
            one.dirty = true;
        }
        if one.next.is_none_or(|next| at < next) {
            one.next = Some(at);
            self.at(at, Event::Reconcile { controller });
        }
    }

    /// It starts again with nothing in memory, from lists.
    pub fn restart(&mut self, controller: usize) {
        let epoch = self.controllers[controller].epoch;
        let mut fresh = Controller { epoch, ..Controller::new(controller) };
        let old = self.old_caches_of(controller);
        for kind in KINDS {
            let (objects, cursor) = self.store.as_of(kind, old.map_or(self.store.version, |old| old.version));
            let pending = self.controllers[controller].views.get(&kind).is_some_and(|view| view.pending);
            let frozen_until_ms = old.map_or(0, |old| old.until_ms);
            fresh.views.insert(kind, View { cursor, objects, pending, frozen_until_ms, ..View::default() });
        }
        self.controllers[controller] = fresh;
        for kind in KINDS.into_iter().filter(|_| old.is_some()) {
            self.news(controller, kind);
        }
        note!(self, "c{controller} starts");
        self.wake(controller, self.now);
    }

    pub fn crash(&mut self, controller: usize) {
        let one = &mut self.controllers[controller];
        if !one.alive {
            return;
        }
        one.alive = false;
        one.epoch += 1;
        one.run = None;
        one.next = None;
        note!(self, "c{controller} crashes");
        let pause = self.random.range(1, self.swarm.restart_ms);
        self.after(pause, Event::Restart { controller });
    }

    pub fn reconcile(&mut self, controller: usize) {
        let now = self.now;
        let one = &mut self.controllers[controller];
        if !one.alive || one.next.is_none_or(|next| next > now) {
            return;
        }
        one.next = None;
        if one.run.is_some() {
            one.dirty = true;
            return;
        }
        one.dirty = false;
        let Some(set) = one.set().cloned() else { return };
        let written = std::mem::take(&mut one.in_flight);
        let mut open: Vec<Written> = written.into_iter().filter(|written| !one.shows(written)).collect();
        if self.mutant == Some(Mutant::NoReadYourWrites) {
            open.clear();
        }
        one.in_flight = open;
        let unknown = one.in_flight.iter().any(|written| matches!(written.what, Expect::Unknown));
        let since = one.in_flight.iter().map(|written| written.since_ms).min();
        one.refused_patches.retain(|_, (_, since)| now - *since < REFUSED_PATCH_KEPT_MS);
        let mut honest = self.snapshot(controller, set);
        let one = &mut self.controllers[controller];
        one.heard.look(&mut honest.pods, honest.now);
        one.pulled_images.extend(pulled_by_helpers(&honest));
        honest.answers.pulled_images.clone_from(&one.pulled_images);
        let mut snapshot = honest.clone();
        self.mutate_snapshot(&mut snapshot);
        let one = &mut self.controllers[controller];
        let read = Read {
            set_version: one.views.get(&Kind::Set).and_then(|view| view.objects.get(SET)).map_or(0, |set| set.version),
            set_uid: snapshot.set.uid.clone(),
        };
        let run = Run {
            snapshot,
            honest,
            read,
            plan: Plan::default(),
            stage: Stage::Refresh,
            chains: Vec::new(),
            waiting: 0,
            failed: false,
            rounds: 0,
        };
        match since {
            None => {
                one.run = Some(Run { stage: Stage::Questions, ..run });
                self.make_plan(controller);
            }
            Some(since) if unknown || now - since >= OWN_WRITES_MS => {
                one.run = Some(run);
                self.read_own_writes(controller);
            }
            Some(since) => self.wake(controller, (since + OWN_WRITES_MS).max(now + 1)),
        }
    }

    fn read_own_writes(&mut self, controller: usize) {
        let written = self.controllers[controller].in_flight.clone();
        let gets = written
            .into_iter()
            .map(|one| VecDeque::from([self.request(controller, Verb::Get, one.kind, &one.name, Intent::Refresh)]))
            .collect();
        self.issue(controller, gets);
    }

    pub fn snapshot(&self, controller: usize, set: SetFacts) -> Snapshot {
        let one = &self.controllers[controller];
        let view = |kind: Kind| one.views.get(&kind).into_iter().flat_map(|view| view.objects.values());
        let mut snapshot = Snapshot {
            pods: BTreeMap::new(),
            orphans: BTreeMap::new(),
            foreign: BTreeMap::new(),
            helpers: BTreeMap::new(),
            claims: view(Kind::Claim)
                .filter_map(|object| object.claim())
                .map(|claim| (claim.name.clone(), Arc::clone(claim)))
                .collect(),
            revisions: view(Kind::Revision).filter_map(|object| object.revision()).cloned().collect(),
            now: timestamp(self.clock_of(controller)),
            abilities: if self.script.customised { Abilities::customised() } else { Abilities::stock() },
            injectors: Patterns::of_injectors([]),
            creates_max: usize::MAX,
            answers: Answers {
                templates: one.templates.clone(),
                refusals: one.refusals.values().cloned().collect(),
                refused_patches: one
                    .refused_patches
                    .iter()
                    .map(|(key, (message, _))| (key.clone(), message.clone()))
                    .collect(),
                ..Answers::default()
            },
            set,
        };
        for pod in view(Kind::Pod).filter_map(|object| object.pod()) {
            let map = match &pod.controller {
                _ if pod.helper.is_some() => {
                    if pod.helper.as_ref().is_some_and(|helper| helper.owner_uid == snapshot.set.uid) {
                        snapshot.helpers.insert(pod.name.clone(), Arc::clone(pod));
                    }
                    continue;
                }
                Some(owner) if owner.uid == snapshot.set.uid => &mut snapshot.pods,
                _ if pod.ordinal_of(&snapshot.set.name).is_none() => continue,
                Some(_) => &mut snapshot.foreign,
                None => &mut snapshot.orphans,
            };
            map.insert(pod.name.clone(), Arc::clone(pod));
        }
        snapshot.revisions.retain(|revision| match &revision.controller {
            Some(owner) => owner.uid == snapshot.set.uid,
            None => true,
        });
        snapshot
    }

    /// What the run asked for is done; what comes now?
    pub fn finished(&mut self, controller: usize) {
        let now = self.now;
        let ahead = self.ahead_of(controller);
        let one = &mut self.controllers[controller];
        let Some(run) = one.run.take() else { return };
        let wake_at = run.plan.wake_at.map(|at| at.as_millisecond() - timestamp(0).as_millisecond() - ahead);
        one.failures = if run.failed { (one.failures + 1).min(12) } else { 0 };
        let backoff = i64::from(50 * 2_i32.pow(one.failures.min(8)));
        let again = run.failed || std::mem::take(&mut one.dirty) || run.stage == Stage::Refresh;
        if again {
            let pause = if run.failed { backoff } else { 5 };
            self.wake(controller, now + pause);
        }
        self.wake(controller, wake_at.map_or(now + RESYNC_MS, |at| at.clamp(now + 1, now + RESYNC_MS)));
    }
}
