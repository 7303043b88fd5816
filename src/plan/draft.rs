//! A plan while it is being made: what the phases share, and the one place where the budget is
//! spent.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::action::{Action, GateWhy, PatchWhy, PlannedEvent, Question, Target};
use super::lifecycle::{self, Hold};
use super::revisions::Revisions;
use super::view::{Slot, View};
use crate::api::Disruption;
use crate::api::names;
use crate::inplace::patch::{fence_patch, gate_patch};
use crate::inplace::progress::What;
use crate::inplace::state::InPlaceState;
use crate::inplace::{Progress, progress};
use crate::model::pod::is_newer;
use crate::model::{Gate, LivePod, Ordinal, PodFacts, Snapshot, ValidSpec};

/// What every phase sees.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub snapshot: &'a Snapshot,
    pub spec: &'a ValidSpec,
    pub revisions: &'a Revisions,
    pub view: &'a View,
}

/// What the phases have decided so far.
#[derive(Default)]
pub struct Draft {
    pub questions: BTreeSet<Question>,
    pub actions: Vec<Action>,
    pub disruptions: Vec<Action>,
    pub ledger: Vec<Disruption>,
    pub events: Vec<PlannedEvent>,
    pub wake_at: Option<Timestamp>,
    /// Pods that this plan makes.
    pub creates: usize,
    /// Why a Pod, claim or hook holds things up; the first is shown.
    pub waiting: Vec<Waiting>,
    /// What stands against the growth of claims: a reason, and the words.
    pub claims_blocked: Vec<(&'static str, String)>,
    /// The nodes of the next Pods do not have the new images yet: nothing that serves is touched.
    pub images_are_waited_for: bool,
    /// One of them cannot be pulled.
    pub images_fail: bool,
    pub helpers_wanted: BTreeSet<Box<str>>,
    /// Slots whose claims grow now: others wait for them as for Pods that are not available.
    pub growing: BTreeSet<Ordinal>,
    /// What cannot be made in place under `InPlaceOnly`: reasons, and the Pods that they hold for.
    pub blocked: Vec<(String, Vec<Box<str>>)>,
    /// Pods that had to be known whole for their update, and were.
    pub known_whole: usize,
    /// What stands in the way of Pods that should exist.
    pub failures: Vec<(&'static str, String)>,
    /// Ordinals for which this plan creates a Pod on the update revision, or, with priorities, deletes the old one for
    /// it: the order must not turn round before the new one is there.
    pub updated: BTreeSet<Ordinal>,
    /// Pods that a lifecycle hook holds.
    pub holds: Vec<Hold>,
    /// Slots whose Pod cannot be updated as its hook was asked for.
    pub unwanted: BTreeSet<Ordinal>,
    /// Slots whose Pod somebody gets ready, and that count as available meanwhile.
    pub prepared: BTreeSet<Ordinal>,
    /// Slots that are not available, or that the ledger names.
    unavailable: BTreeSet<Ordinal>,
    touched: BTreeSet<Box<str>>,
}

/// Something that has to happen before things go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase, begins with `Waiting`.
    pub reason: &'static str,
    pub message: String,
}

impl Draft {
    pub fn new(context: Context<'_>) -> Draft {
        let view = context.view;
        let mut draft = Draft { ledger: context.snapshot.set.status.disrupted.clone(), ..Draft::default() };
        draft.unavailable = view.unavailable().collect();
        let in_slots = view.slots.iter().filter_map(Slot::pod);
        for pod in in_slots.chain(view.condemned.iter().map(|(_, pod)| pod)) {
            let times = [pod.available_at(view.min_ready_seconds), proved_at(context, pod)];
            for at in times.into_iter().flatten().filter(|at| *at > view.now) {
                draft.wake(at);
            }
        }
        draft.count_ledger(context);
        draft.prepared = lifecycle::prepared(context);
        draft
    }

    fn count_ledger(&mut self, context: Context<'_>) {
        let named = self.ledger.iter().map(|entry| entry.ordinal);
        self.unavailable.extend(named.filter(|ordinal| context.spec.slots.contains(*ordinal)));
    }

    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub fn wake_in(&mut self, now: Timestamp, seconds: i64) {
        self.wake(now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now));
    }

    pub fn wait(&mut self, reason: &'static str, message: String) {
        self.waiting.push(Waiting { reason, message });
    }

    /// A Pod may not be re-created, and cannot be updated in place.
    pub fn block(&mut self, pod: &str, reasons: String) {
        match self.blocked.iter_mut().find(|(known, _)| *known == reasons) {
            Some((_, pods)) => pods.push(pod.into()),
            None => self.blocked.push((reasons, vec![pod.into()])),
        }
    }

    pub fn warn(&mut self, reason: &'static str, action: &'static str, message: String) {
        self.events.push(PlannedEvent { warning: true, reason, action, message });
    }

    pub fn is_touched(&self, name: &str) -> bool {
        self.touched.contains(name)
    }

    /// Nothing else is to be done to this Pod in this plan.
    pub fn leave(&mut self, name: &str) {
        self.touched.insert(name.into());
    }

    /// Adds an action that takes nothing down that is Ready. One per Pod and plan.
    pub fn act(&mut self, name: &str, action: Action) {
        if self.touched.insert(name.into()) {
            self.actions.push(action);
        }
    }

    /// How many slots are not available, this one apart.
    pub fn unavailable_besides(&self, ordinal: Ordinal) -> usize {
        self.unavailable.len() - usize::from(self.unavailable.contains(&ordinal))
    }

    /// The same with those that somebody gets ready.
    pub fn unavailable_or_prepared_besides(&self, ordinal: Ordinal) -> usize {
        self.unavailable.union(&self.prepared).filter(|other| **other != ordinal).count()
    }

    /// The same with those whose claims grow.
    pub fn busy_besides(&self, ordinal: Ordinal) -> usize {
        let busy = self.unavailable.iter().chain(&self.prepared).chain(&self.growing);
        busy.filter(|other| **other != ordinal).collect::<BTreeSet<_>>().len()
    }

    pub fn unavailable_count(&self) -> usize {
        self.unavailable.len()
    }

    /// Takes a Pod down, or goes on with taking it down. A Pod that is Ready needs room in the
    /// budget and an entry in the ledger; its resourceVersion, which the action carries, makes
    /// sure that one that is not Ready here is not Ready when it is done either.
    /// False: not now.
    pub fn disrupt(&mut self, context: Context<'_>, slot: &Slot, pod: &PodFacts, action: Action) -> bool {
        if self.is_touched(&pod.name) {
            return false;
        }
        let deletes = matches!(action, Action::DeletePod { .. });
        if deletes && !lifecycle::may_delete(context, self, Some(slot), pod) {
            return false;
        }
        self.take_down(context, slot, pod, action)
    }

    /// [`Draft::disrupt`], whatever the hooks say.
    pub fn take_down(&mut self, context: Context<'_>, slot: &Slot, pod: &PodFacts, action: Action) -> bool {
        if !pod.is_ready() {
            self.act(&pod.name, action);
            self.unavailable.insert(slot.ordinal);
            return true;
        }
        let entry = self.ledger.iter().find(|entry| entry.ordinal == slot.ordinal).cloned();
        let under_way =
            entry.as_ref().is_some_and(|entry| *entry.uid == *pod.uid && matches!(pod.gate, Gate::Closed { .. }));
        let budget = context.spec.rolling.max_unavailable.min(names::DISRUPTED_MAX);
        // One that a hook keeps from being available is nothing that the others would miss, and one that has its slot goes on.
        // It may serve all the same, and the budget may have been larger when it and others were taken down.
        let counts = context.view.hooks.let_count(pod);
        if entry.is_none() && self.ledger.len() >= budget {
            return false;
        }
        if !under_way {
            let has_slot = entry.as_ref().is_some_and(|entry| *entry.uid == *pod.uid);
            let down = match (counts, has_slot) {
                (true, false) => self.unavailable_besides(slot.ordinal),
                (true, true) => {
                    let mut down = self.down_besides(context, slot.ordinal);
                    down.extend(context.view.unavailable().filter(|other| *other != slot.ordinal));
                    down.len()
                }
                (false, _) => self.down_besides(context, slot.ordinal).len(),
            };
            if down >= budget {
                return false;
            }
        }
        match &entry {
            Some(entry)
                if under_way || (*entry.uid == *pod.uid && *entry.resource_version == *pod.resource_version) => {}
            // A hook keeps this ordinal down since an older disruption: it stays that one disruption.
            Some(entry) if !counts && is_later(context, entry, pod) => {
                let entry = disruption(context, slot, pod);
                self.ledger.retain(|older| older.ordinal != slot.ordinal);
                self.ledger.push(entry);
            }
            // The disruption of this Pod goes on with another step: its slot is kept, and the status
            // has to be written again, so that nobody has given the slot away meanwhile. The entry's
            // own write was done or never will be: the Pod has moved on since.
            Some(entry)
                if *entry.uid == *pod.uid
                    && is_newer(&pod.resource_version, &entry.resource_version)
                    && !is_over(context, entry, Some(pod)) =>
            {
                self.ledger.retain(|entry| entry.ordinal != slot.ordinal);
                self.ledger.push(disruption(context, slot, pod));
            }
            // An older entry of this ordinal has to leave first.
            Some(_) => {
                self.ask_live(context, slot.ordinal);
                return false;
            }
            None => self.ledger.push(disruption(context, slot, pod)),
        }
        self.unavailable.insert(slot.ordinal);
        self.touched.insert(pod.name.clone());
        self.disruptions.push(action);
        true
    }

    /// Lets entries of the ledger go that a live read shows to be over, and asks for the reads
    /// where something waits for it.
    pub fn review_ledger(&mut self, context: Context<'_>, more_is_wanted: bool) {
        let over: Vec<Ordinal> = self
            .ledger
            .iter()
            .filter(|entry| {
                is_over(context, entry, context.view.slot(entry.ordinal).and_then(Slot::pod).map(|pod| &**pod))
            })
            .map(|entry| entry.ordinal)
            .collect();
        let budget = context.spec.rolling.max_unavailable.min(names::DISRUPTED_MAX);
        let blocks = self.ledger.len() >= budget || self.unavailable.len() >= budget;
        if !over.is_empty() && (over.len() == self.ledger.len() || (more_is_wanted && blocks)) {
            for ordinal in over {
                self.ask_live(context, ordinal);
            }
        }
        let answers = &context.snapshot.answers.live_pods;
        let (gone, kept): (Vec<Disruption>, Vec<Disruption>) =
            std::mem::take(&mut self.ledger).into_iter().partition(|entry| match answers.get(&entry.ordinal) {
                Some(LivePod::Gone) => is_over(context, entry, None),
                Some(LivePod::Found(pod)) => is_over(context, entry, Some(pod)),
                None => false,
            });
        self.ledger = kept;
        for entry in gone {
            if context.view.slot(entry.ordinal).is_some_and(|slot| context.view.slot_is_available(slot)) {
                self.unavailable.remove(&entry.ordinal);
            }
        }
    }

    /// Which other slots the ledger names, but for those that a live read shows to serve again, whatever their hooks say.
    fn down_besides(&mut self, context: Context<'_>, ordinal: Ordinal) -> BTreeSet<Ordinal> {
        let others = self.ledger.iter().filter(|entry| entry.ordinal != ordinal);
        let down: BTreeSet<Ordinal> = others
            .filter(|entry| context.spec.slots.contains(entry.ordinal))
            .filter(|entry| match context.snapshot.answers.live_pods.get(&entry.ordinal) {
                Some(LivePod::Found(pod)) => !serves_again(context, entry, pod),
                Some(LivePod::Gone) | None => true,
            })
            .map(|entry| entry.ordinal)
            .collect();
        // What this plan takes down needs no asking.
        let stored = &context.snapshot.set.status.disrupted;
        if down.len() >= context.spec.rolling.max_unavailable {
            for entry in stored.iter().filter(|entry| down.contains(&entry.ordinal)) {
                self.ask_live(context, entry.ordinal);
            }
        }
        down
    }

    fn ask_live(&mut self, context: Context<'_>, ordinal: Ordinal) {
        if !context.snapshot.answers.live_pods.contains_key(&ordinal) {
            let name = format!("{}-{ordinal}", context.snapshot.set.name).into();
            self.questions.insert(Question::LivePod { ordinal, name });
        }
    }

    /// Entries whose disruption was never carried out and is not carried out by this plan: the
    /// Pod's resourceVersion is moved, so that no late request can do it any more.
    pub fn fence(&mut self, context: Context<'_>) {
        let mut fences = Vec::new();
        for entry in &self.ledger {
            let of_slot = context.view.slot(entry.ordinal).and_then(Slot::pod);
            let condemned = || context.view.condemned.iter().find(|(ordinal, _)| *ordinal == entry.ordinal);
            // A condemned Pod may stay for long: until the one in its place is available.
            let Some(pod) = of_slot.or_else(|| condemned().map(|(_, pod)| pod)) else { continue };
            let pending = *entry.uid == *pod.uid && *entry.resource_version == *pod.resource_version
                || is_resize_pending(entry, pod);
            if pending && !self.is_touched(&pod.name) {
                fences.push((std::sync::Arc::clone(pod), entry.ordinal));
            }
        }
        for (pod, ordinal) in fences {
            let patch = fence_patch(&pod, context.view.now);
            self.act(
                &pod.name,
                Action::PatchPod {
                    ordinal,
                    target: target(&pod),
                    why: PatchWhy::Fence,
                    revision: pod.revision_label().into(),
                    resize: None,
                    patch: Box::new(patch),
                    reason: "a planned disruption is not wanted any more".into(),
                },
            );
        }
    }
}

fn disruption(context: Context<'_>, slot: &Slot, pod: &PodFacts) -> Disruption {
    Disruption {
        ordinal: slot.ordinal,
        uid: pod.uid.to_string(),
        resource_version: pod.resource_version.to_string(),
        revision: super::scale::revision_for(context, slot).hash.to_string(),
    }
}

/// When a Pod that was changed while it was Ready, and stayed so, has been available for long
/// enough since.
fn proved_at(context: Context<'_>, pod: &PodFacts) -> Option<Timestamp> {
    let state = pod.in_place_state.as_deref().and_then(InPlaceState::parse)?;
    let patient = SignedDuration::from_secs(context.view.min_ready_seconds);
    Some(state.patched_at.saturating_add(patient).unwrap_or(Timestamp::MAX))
}

/// Whether an entry's disruption is over, or can never happen any more, going by this state of
/// the ordinal's Pod.
fn is_over(context: Context<'_>, entry: &Disruption, pod: Option<&PodFacts>) -> bool {
    let wanted = context.spec.slots.contains(entry.ordinal);
    let Some(pod) = pod else { return !wanted };
    if !wanted {
        return has_moved(entry, pod);
    }
    context.view.is_available(pod) && is_over_but_for_hooks(context, entry, pod)
}

/// Whether the Pod of an entry is as available as one that nobody took down, whatever its hook says. One whose node has no
/// room for a resize serves meanwhile.
fn serves_again(context: Context<'_>, entry: &Disruption, pod: &PodFacts) -> bool {
    let resizes = matches!(progress(pod, context.view.now), Progress::Waiting(waiting) if waiting.what == What::Resize);
    let available = pod.is_available(context.view.min_ready_seconds, context.view.now);
    is_over_but_for_hooks(context, entry, pod)
        || (has_moved(entry, pod)
            && available
            && resizes
            && !matches!(pod.gate, Gate::Closed { .. })
            && !is_resize_pending(entry, pod))
}

/// The same for an ordinal that is wanted, whatever its hook says.
fn is_over_but_for_hooks(context: Context<'_>, entry: &Disruption, pod: &PodFacts) -> bool {
    let now = context.view.now;
    let proved = proved_at(context, pod).is_none_or(|at| at <= now);
    let available = pod.is_available(context.view.min_ready_seconds, now);
    has_moved(entry, pod) && available && !is_under_way(context, pod) && proved && !is_resize_pending(entry, pod)
}

fn has_moved(entry: &Disruption, pod: &PodFacts) -> bool {
    *pod.uid != *entry.uid || *pod.resource_version != *entry.resource_version
}

/// Whether this is the Pod of after the entry, and not one that an old view shows. Another Pod says so only live.
fn is_later(context: Context<'_>, entry: &Disruption, pod: &PodFacts) -> bool {
    if *entry.uid == *pod.uid {
        return is_newer(&pod.resource_version, &entry.resource_version);
    }
    let live = context.snapshot.answers.live_pods.get(&entry.ordinal);
    matches!(live, Some(LivePod::Found(live)) if live.uid == pod.uid)
}

/// A resize of the entry's Pod was begun, and one of its writes may still be on its way. Of another Pod none stands in
/// the ledger: it was not Ready, and what made it Ready moved it past them.
fn is_resize_pending(entry: &Disruption, pod: &PodFacts) -> bool {
    *entry.uid == *pod.uid && InPlaceState::resizing_of(pod).is_some_and(|resizing| resizing.pending)
}

/// A Pod whose containers are, or are about to be, re-created in place.
pub fn is_under_way(context: Context<'_>, pod: &PodFacts) -> bool {
    matches!(pod.gate, Gate::Closed { .. }) || progress(pod, context.view.now) != Progress::Done
}

/// The target of an action on a Pod.
pub fn target(pod: &PodFacts) -> Target {
    Target { name: pod.name.clone(), uid: pod.uid.clone(), resource_version: pod.resource_version.clone() }
}

/// Turns a Pod's readiness gate.
pub fn turn_gate(pod: &PodFacts, ordinal: Ordinal, why: GateWhy, now: Timestamp, reason: String) -> Action {
    Action::PatchPodStatus {
        ordinal,
        target: target(pod),
        why,
        patch: Box::new(gate_patch(pod, why == GateWhy::Open, now, &reason)),
        reason,
    }
}
