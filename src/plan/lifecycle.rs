//! Lifecycle hooks: a Pod waits before it is deleted, updated in place or called normal, while somebody holds it. Where
//! it stands is a label of the Pod, written together with what is done to it anyway, or in one write of its own.
//!
//! Nothing here takes a Pod down: a hook that marks its Pods not ready closes their gate through [`Draft::take_down`],
//! with the budget and the ledger as for any other disruption.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::action::{Action, GateWhy, PatchWhy, PlannedEvent};
use super::draft::{Context, Draft, Waiting, target, turn_gate};
use super::rollout::{is_marked, is_outdated, may_update};
use super::view::Slot;
use crate::api::names;
use crate::model::{Gate, Hook, HookState, Hooks, Ordinal, PodFacts};

/// A Pod that a hook holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    pod: Box<str>,
    /// What it waits for, by which hook and mark: words that follow the Pod's name.
    why: String,
    since: Timestamp,
}

impl Hold {
    fn text(&self) -> String {
        format!("Pod {} {} since {}", self.pod, self.why, self.since)
    }
}

/// The state of a new Pod.
pub fn begin_life(hooks: &Hooks, now: Timestamp, pod: &mut Value) {
    if hooks.is_empty() {
        return;
    }
    let state = match &hooks.pre_normal {
        Some(hook) if hook.missing_on(&shown_marks(pod)).is_some() => HookState::PreparingNormal,
        _ => HookState::Normal,
    };
    Move::To(state).write_into(pod, now);
}

/// What hooks look at, of a Pod that is not made yet.
fn shown_marks(pod: &Value) -> PodFacts {
    let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
    let finalizers = pod.pointer("/metadata/finalizers").and_then(Value::as_array);
    PodFacts {
        labels: labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
            .collect(),
        finalizers: finalizers.into_iter().flatten().filter_map(|name| name.as_str().map(Box::from)).collect(),
        ..PodFacts::default()
    }
}

/// Whether no hook keeps a Pod from being deleted; else what there is to do about it is in the draft.
/// `slot`: `None` for a Pod whose ordinal is no slot, which is outside the budget.
pub fn may_delete(context: Context<'_>, draft: &mut Draft, slot: Option<&Slot>, pod: &PodFacts) -> bool {
    let Some(hook) = &context.view.hooks.pre_delete else { return true };
    let Some(mark) = hook.held_by(pod) else { return true };
    let asked = Asked { hook, mark, state: HookState::PreparingDelete };
    prepare(context, draft, slot, pod, &asked);
    false
}

/// The same for an update in place.
pub fn may_patch(context: Context<'_>, draft: &mut Draft, slot: &Slot, pod: &PodFacts) -> bool {
    let Some(hook) = &context.view.hooks.in_place_update else { return true };
    if let Some(mark) = hook.held_by(pod) {
        let asked = Asked { hook, mark, state: HookState::PreparingUpdate };
        prepare(context, draft, Some(slot), pod, &asked);
        return false;
    }
    if pod.hook_state() != Some(HookState::Updated) || hook.missing_on(pod).is_none() {
        return true;
    }
    // Whoever answers may be putting the Pod back into service right now: it is asked again.
    let mut action = Move::To(HookState::PreparingUpdate).action(context, pod, slot.ordinal);
    if let Action::PatchPod { patch, .. } = &mut action {
        for (key, value) in &hook.labels {
            patch["metadata"]["labels"][&**key] = (**value).into();
        }
        if !hook.finalizers.is_empty() {
            patch["metadata"]["finalizers"] = json!(hook.finalizers);
        }
    }
    draft.act(&pod.name, action);
    false
}

/// What a hook is asked for.
struct Asked<'a> {
    hook: &'a Hook,
    /// The mark that holds the Pod.
    mark: String,
    /// `PreparingDelete` or `PreparingUpdate`.
    state: HookState,
}

impl Asked<'_> {
    fn why(&self) -> String {
        let (what, hook) = match self.state {
            HookState::PreparingDelete => ("deleted", "preDelete"),
            _ => ("updated in place", "inPlaceUpdate"),
        };
        format!("waits to be {what}: the hook {hook} holds it by {}", self.mark)
    }
}

/// Tells whoever answers the hook to get the Pod ready, once; and takes it out of service where the hook says so.
fn prepare(context: Context<'_>, draft: &mut Draft, slot: Option<&Slot>, pod: &PodFacts, asked: &Asked<'_>) {
    let now = context.view.now;
    let told = pod.hook_state() == Some(asked.state);
    let closes = asked.hook.mark_not_ready && matches!(pod.gate, Gate::Open | Gate::Unset);
    let ordinal = slot.map_or_else(|| pod.ordinal_of(&context.snapshot.set.name).unwrap_or(0), |slot| slot.ordinal);
    let why = asked.why();
    let begun = match (told, closes) {
        (true, false) => true,
        (_, true) => {
            let action = close(context, pod, ordinal, asked.state, &why);
            match slot {
                Some(slot) => draft.take_down(context, slot, pod, action),
                None => {
                    draft.act(&pod.name, action);
                    true
                }
            }
        }
        (false, false) => tell(context, draft, slot, pod, ordinal, asked),
    };
    if !told && begun {
        let message = format!("Pod {} {why}", pod.name);
        draft.events.push(PlannedEvent { warning: false, reason: "WaitingForHook", action: "Hook", message });
    }
    if told || begun {
        let since = pod.hook_state_since.filter(|_| told).unwrap_or_else(|| whole_seconds(now));
        draft.holds.push(Hold { pod: pod.name.clone(), why, since });
    }
}

/// The label alone, for a Pod that stays in service or is not in service anyway. Whoever answers may take it out of
/// service on their own, so no more are told at a time than may be down.
fn tell(
    context: Context<'_>,
    draft: &mut Draft,
    slot: Option<&Slot>,
    pod: &PodFacts,
    ordinal: Ordinal,
    asked: &Asked<'_>,
) -> bool {
    if asked.hook.mark_not_ready && pod.gate == Gate::Absent && pod.is_ready() {
        let message = format!(
            "Pod {} has no readiness gate {}: it stays Ready while the hook holds it",
            pod.name,
            names::READINESS_GATE
        );
        draft.warn("NoReadinessGate", "Hook", message);
    }
    if slot.is_some() && pod.is_ready() {
        if draft.unavailable_or_prepared_besides(ordinal) >= context.spec.rolling.max_unavailable {
            return false;
        }
        draft.prepared.insert(ordinal);
    }
    draft.act(&pod.name, Move::To(asked.state).action(context, pod, ordinal));
    true
}

fn close(context: Context<'_>, pod: &PodFacts, ordinal: Ordinal, state: HookState, why: &str) -> Action {
    let mut action = turn_gate(pod, ordinal, GateWhy::Close, context.view.now, format!("it {why}"));
    if let Action::PatchPodStatus { patch, .. } = &mut action {
        Move::To(state).write_into(patch, context.view.now);
        if let Some(reason) = patch.pointer_mut("/status/conditions/0/reason") {
            let to_be_updated = state == HookState::PreparingUpdate;
            *reason = if to_be_updated { names::REASON_CONTAINER_REBUILDING } else { state.text() }.into();
        }
    }
    action
}

/// Slots whose Pod was told to get ready lately, and is in service. One that is held for longer than the progress
/// deadline stops no other.
pub fn prepared(context: Context<'_>) -> BTreeSet<Ordinal> {
    let slots = context.view.slots.iter();
    slots.filter(|slot| slot.pod().is_some_and(|pod| is_prepared(context, pod))).map(|slot| slot.ordinal).collect()
}

/// Somebody gets this Pod ready for what is to be done to it, and not for too long.
pub fn is_prepared(context: Context<'_>, pod: &PodFacts) -> bool {
    let preparing = pod.hook_state().is_some_and(HookState::is_preparing);
    preparing && pod.hook_state_since.is_none_or(|since| context.view.now < stuck_at(context, since))
}

fn stuck_at(context: Context<'_>, since: Timestamp) -> Timestamp {
    let limit = SignedDuration::from_secs(context.spec.progress_deadline_seconds);
    since.saturating_add(limit).unwrap_or(Timestamp::MAX)
}

/// Takes the labels of hooks out of a patch where the template did not change them: they are in the hands of whoever
/// answers the hooks.
pub fn leave_hook_labels(context: Context<'_>, old_template: &Value, new_template: &Value, patch: &mut Value) {
    let label = |template: &Value, key: &str| template.get("metadata")?.get("labels")?.get(key).cloned();
    if let Some(labels) = patch.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| {
            !context.view.hooks.own_label(key) || label(old_template, key) != label(new_template, key)
        });
    }
}

/// The state of a Pod that is patched now, in the same patch.
pub fn begin_update(context: Context<'_>, pod: &PodFacts, patch: &mut Value) {
    if !context.view.hooks.is_empty() {
        Move::To(HookState::Updating).write_into(patch, context.view.now);
    } else if pod.labels.contains_key(names::HOOK_STATE_LABEL) {
        Move::Gone.write_into(patch, context.view.now);
    }
}

/// A change of the state label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Move {
    To(HookState),
    /// The set has no hooks any more.
    Gone,
}

impl Move {
    /// Adds the label and its time to an object or a patch.
    pub fn write_into(self, object: &mut Value, now: Timestamp) {
        let (state, since) = match self {
            Move::To(state) => (state.text().into(), whole_seconds(now).to_string().into()),
            Move::Gone => (Value::Null, Value::Null),
        };
        object["metadata"]["labels"][names::HOOK_STATE_LABEL] = state;
        object["metadata"]["annotations"][names::HOOK_STATE_SINCE_ANNOTATION] = since;
    }

    /// A write of its own.
    pub fn action(self, context: Context<'_>, pod: &PodFacts, ordinal: Ordinal) -> Action {
        let mut patch = json!({"metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version}});
        self.write_into(&mut patch, context.view.now);
        let reason = match self {
            Move::To(state) => format!("its lifecycle state is {}", state.text()),
            Move::Gone => "its set has no lifecycle hooks any more".to_owned(),
        };
        Action::PatchPod {
            ordinal,
            target: target(pod),
            why: PatchWhy::HookState,
            revision: pod.revision_label().into(),
            resize: None,
            patch: Box::new(patch),
            reason,
        }
    }
}

/// Where a Pod goes from its state, when nothing else is done to it and its last update is done.
pub fn next_state(context: Context<'_>, draft: &Draft, slot: Option<&Slot>, pod: &PodFacts) -> Option<Move> {
    let hooks = &context.view.hooks;
    if hooks.is_empty() {
        return pod.labels.contains_key(names::HOOK_STATE_LABEL).then_some(Move::Gone);
    }
    let missing = |hook: &Option<Hook>| hook.as_ref().is_some_and(|hook| hook.missing_on(pod).is_some());
    let normal = if missing(&hooks.pre_normal) { HookState::PreparingNormal } else { HookState::Normal };
    let updated = if missing(&hooks.in_place_update) { HookState::Updated } else { normal };
    let state = pod.hook_state()?;
    let next = match state {
        HookState::Normal => return None,
        // With the opening of its gate.
        HookState::PreparingNormal if pod.gate == Gate::Unset && !pod.containers_ready => return None,
        HookState::PreparingNormal => normal,
        HookState::PreparingUpdate | HookState::PreparingDelete if is_still_wanted(context, draft, slot, pod) => {
            return None;
        }
        HookState::PreparingDelete => normal,
        // Whoever answers has let it go already, and puts it back first.
        HookState::PreparingUpdate | HookState::Updating | HookState::Updated => updated,
    };
    (next != state).then_some(Move::To(next))
}

/// Whether a Pod that was told to get ready is still to be deleted or updated.
fn is_still_wanted(context: Context<'_>, draft: &Draft, slot: Option<&Slot>, pod: &PodFacts) -> bool {
    let Some(slot) = slot else { return pod.hook_state() == Some(HookState::PreparingDelete) };
    let updates = slot.member().is_some_and(|member| may_update(context, slot) && is_outdated(context, member));
    is_marked(pod)
        || (updates && !draft.unwanted.contains(&slot.ordinal))
        || draft.holds.iter().any(|hold| hold.pod == pod.name)
}

/// Whether a hook keeps a Pod out of service, which is to make this move.
pub fn keeps_gate_closed(
    context: Context<'_>,
    draft: &Draft,
    slot: Option<&Slot>,
    pod: &PodFacts,
    moves: Option<Move>,
) -> bool {
    let hooks = &context.view.hooks;
    let state = match moves {
        Some(Move::To(state)) => Some(state),
        Some(Move::Gone) => None,
        None => pod.hook_state().filter(|_| !hooks.is_empty()),
    };
    let marks = |hook: &Option<Hook>| hook.as_ref().is_some_and(|hook| hook.mark_not_ready);
    match state {
        Some(HookState::PreparingNormal) => {
            hooks.pre_normal.as_ref().is_some_and(|hook| hook.mark_not_ready && hook.missing_on(pod).is_some())
        }
        Some(HookState::PreparingUpdate) => {
            (pod.gate != Gate::Unset || marks(&hooks.in_place_update)) && is_still_wanted(context, draft, slot, pod)
        }
        Some(HookState::PreparingDelete) => {
            (pod.gate != Gate::Unset || marks(&hooks.pre_delete)) && is_still_wanted(context, draft, slot, pod)
        }
        _ => false,
    }
}

/// Says who is held, by what and since when; and which of them are stuck.
pub fn report(context: Context<'_>, draft: &mut Draft) {
    let slots = context.view.slots.iter();
    let held = slots.filter_map(Slot::pod).filter_map(|pod| not_normal(context, pod));
    let held: Vec<Hold> = held.collect();
    draft.holds.extend(held);
    let Some(first) = draft.holds.iter().min_by_key(|hold| hold.since) else { return };
    let more = match draft.holds.len() - 1 {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    let message = format!("{}{more}", first.text());
    draft.waiting.insert(0, Waiting { reason: "WaitingForHook", message });
    for hold in draft.holds.clone() {
        let due = stuck_at(context, hold.since);
        if context.view.now < due {
            draft.wake(due);
        } else {
            draft.warn("StuckInHook", "Hook", hold.text());
        }
    }
}

/// A Pod that only its hook keeps from being called normal.
fn not_normal(context: Context<'_>, pod: &PodFacts) -> Option<Hold> {
    let hooks = &context.view.hooks;
    let (hook, name) = match pod.hook_state()? {
        HookState::PreparingNormal => (hooks.pre_normal.as_ref()?, "preNormal"),
        HookState::Updated => (hooks.in_place_update.as_ref()?, "inPlaceUpdate"),
        _ => return None,
    };
    let runs = pod.is_ready() || (pod.containers_ready && !pod.is_terminating());
    let mark = hook.missing_on(pod).filter(|_| runs)?;
    let since = pod.hook_state_since.unwrap_or(context.view.now);
    let why = format!("waits to be called normal: the hook {name} misses {mark}");
    Some(Hold { pod: pod.name.clone(), why, since })
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
