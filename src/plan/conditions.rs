//! Conditions: how a set stands, why, and since when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::draft::{Context, Draft};
use super::grow;
use super::status::Counts;
use crate::api::names::conditions as types;
use crate::api::{AdvancedStatefulSetStatus, Condition};
use crate::model::{Ranges, Snapshot};

/// Longest message of a condition, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A condition as it should stand, without its times.
pub struct Wanted {
    pub type_: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Wanted {
    fn new(type_: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Wanted {
        Wanted { type_, status, reason, message: message.into() }
    }
}

/// All conditions: ours as they should stand, those that others wrote as they are.
pub fn conditions(
    context: Context<'_>,
    draft: &mut Draft,
    counts: &Counts,
    complete: bool,
    status: &AdvancedStatefulSetStatus,
) -> Vec<Condition> {
    let progressing = progressing(context, draft, counts, complete, status);
    let mut wanted = vec![available(context, counts), paused(context), blocked(draft), failure(context, draft)];
    wanted.extend(claims(context, draft));
    let mut merged = merge(context.snapshot, &wanted);
    put(&mut merged, progressing);
    drop_stale(&mut merged, &wanted);
    merged
}

/// The stored conditions with these in their place.
pub fn merge(snapshot: &Snapshot, wanted: &[Wanted]) -> Vec<Condition> {
    let mut merged = snapshot.set.status.conditions.clone();
    for one in wanted {
        put(&mut merged, stamp(snapshot, one));
    }
    merged
}

fn put(conditions: &mut Vec<Condition>, new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Conditions that a set has only while they have something to say of its spec.
const ONLY_WHERE_WANTED: [&str; 1] = [types::CLAIM_RESIZE_BLOCKED];

fn drop_stale(conditions: &mut Vec<Condition>, wanted: &[Wanted]) {
    let is_wanted = |type_: &str| wanted.iter().any(|one| one.type_ == type_);
    conditions.retain(|one| !ONLY_WHERE_WANTED.contains(&one.type_.as_str()) || is_wanted(&one.type_));
}

fn stamp(snapshot: &Snapshot, wanted: &Wanted) -> Condition {
    let status = if wanted.status { "True" } else { "False" };
    let old = snapshot.set.status.conditions.iter().find(|old| old.type_ == wanted.type_);
    let kept = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    Condition {
        type_: wanted.type_.to_owned(),
        status: status.to_owned(),
        reason: Some(wanted.reason.to_owned()),
        message: Some(cut(&wanted.message)),
        observed_generation: Some(snapshot.set.generation),
        last_transition_time: Some(kept.unwrap_or_else(|| whole_seconds(snapshot.now))),
        last_update_time: None,
    }
}

/// The apiserver stores times in whole seconds; a finer one would differ from what is stored.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let mut end = MESSAGE_BYTES_MAX - 4;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} …", &message[..end])
}

fn available(context: Context<'_>, counts: &Counts) -> Wanted {
    let replicas = context.view.slots.len();
    let least = replicas.saturating_sub(context.spec.rolling.max_unavailable);
    let message = format!("{} of {replicas} Pods are available, at least {least} should be", counts.slots_available);
    if counts.slots_available >= least {
        Wanted::new(types::AVAILABLE, true, "MinimumPodsAvailable", message)
    } else {
        Wanted::new(types::AVAILABLE, false, "MinimumPodsUnavailable", message)
    }
}

fn paused(context: Context<'_>) -> Wanted {
    if context.spec.rolling.paused {
        Wanted::new(types::PAUSED, true, "Paused", "no Pod changes revision until the rollout is resumed")
    } else {
        Wanted::new(types::PAUSED, false, "NotPaused", "")
    }
}

fn blocked(draft: &Draft) -> Wanted {
    if draft.blocked.is_empty() {
        return Wanted::new(types::IN_PLACE_UPDATE_BLOCKED, false, "NothingBlocked", "");
    }
    let texts: Vec<String> =
        draft.blocked.iter().map(|(reasons, pods)| format!("{}: {reasons}", named(pods))).collect();
    Wanted::new(types::IN_PLACE_UPDATE_BLOCKED, true, "NotPossibleInPlace", texts.join(". "))
}

/// The first few of them.
fn named(pods: &[Box<str>]) -> String {
    const NAMED_MAX: usize = 5;
    let word = if pods.len() == 1 { "Pod" } else { "Pods" };
    let more = if pods.len() > NAMED_MAX { format!(" and {} more", pods.len() - NAMED_MAX) } else { String::new() };
    format!("{word} {}{more}", pods[..pods.len().min(NAMED_MAX)].join(", "))
}

fn failure(context: Context<'_>, draft: &Draft) -> Wanted {
    if let Some(message) = &context.revisions.invalid_template {
        let message =
            format!("spec.template is refused, the Pods stay on {}: {message}", context.revisions.update.name);
        return Wanted::new(types::REPLICA_FAILURE, true, "InvalidTemplate", message);
    }
    if let Some((reason, message)) = draft.failures.first() {
        return Wanted::new(types::REPLICA_FAILURE, true, reason, message.clone());
    }
    refused(context.snapshot).unwrap_or_else(|| Wanted::new(types::REPLICA_FAILURE, false, "NothingRefused", ""))
}

/// What the apiserver refused lately, in its own words.
pub fn refused(snapshot: &Snapshot) -> Option<Wanted> {
    let refusals = &snapshot.answers.refusals;
    let first = refusals.first()?;
    let reason = match first.reason.as_str() {
        "QuotaExceeded" => "QuotaExceeded",
        "Forbidden" => "Forbidden",
        "AdmissionDenied" => "AdmissionDenied",
        "Invalid" => "Invalid",
        _ => "Refused",
    };
    let more = if refusals.len() > 1 { format!(" (and {} more refusals)", refusals.len() - 1) } else { String::new() };
    Some(Wanted::new(types::REPLICA_FAILURE, true, reason, format!("{}: {}{more}", first.object, first.message)))
}

fn claims(context: Context<'_>, draft: &Draft) -> Option<Wanted> {
    if !context.spec.grow_claims {
        return None;
    }
    if let Some((reason, _)) = draft.claims_blocked.first() {
        let told: Vec<&str> = draft.claims_blocked.iter().map(|(_, message)| message.as_str()).collect();
        return Some(Wanted::new(types::CLAIM_RESIZE_BLOCKED, true, reason, told.join(". ")));
    }
    let pending = grow::left_to_the_node(context);
    Some(if pending.is_empty() {
        Wanted::new(types::CLAIM_RESIZE_BLOCKED, false, "NothingBlocked", "")
    } else {
        let message = format!(
            "the volumes have grown, their file systems grow when the node does it, for some drivers when the Pod is made anew: {}",
            pending.join(", ")
        );
        Wanted::new(types::CLAIM_RESIZE_BLOCKED, false, "FileSystemResizePending", message)
    })
}

/// Whether things move, stand by order, or are stuck.
fn progressing(
    context: Context<'_>,
    draft: &mut Draft,
    counts: &Counts,
    complete: bool,
    status: &AdvancedStatefulSetStatus,
) -> Condition {
    let snapshot = context.snapshot;
    let old = snapshot.set.status.conditions.iter().find(|old| old.type_ == types::PROGRESSING);
    let state = state(context, draft, counts, complete);
    let moving = matches!(state, State::Moving(_));
    let was_moving = old.is_some_and(|old| old.reason.as_deref().is_none_or(|reason| !is_standing(reason)));
    let all_exist = context.view.slots.iter().all(|slot| slot.pod().is_some());
    let progressed = made_progress(&snapshot.set.status, status, all_exist) || !was_moving || !moving;
    let kept = old.and_then(|old| old.last_update_time.clone()).filter(|_| !progressed);
    let moved_at = match kept {
        Some(time) => time,
        None if moving => whole_seconds(snapshot.now),
        None => old
            .filter(|old| old.reason.as_deref() == Some(state.reason()))
            .and_then(|old| old.last_update_time.clone())
            .unwrap_or_else(|| whole_seconds(snapshot.now)),
    };
    let due = moved_at
        .0
        .saturating_add(SignedDuration::from_secs(context.spec.progress_deadline_seconds))
        .unwrap_or(Timestamp::MAX);
    let wanted = if moving && snapshot.now >= due {
        let message = format!("no progress for {} s; {}", context.spec.progress_deadline_seconds, state.message());
        Wanted::new(types::PROGRESSING, false, "ProgressDeadlineExceeded", message)
    } else {
        if moving {
            draft.wake(due);
        }
        Wanted::new(types::PROGRESSING, true, state.reason(), state.message())
    };
    Condition { last_update_time: Some(moved_at), ..stamp(snapshot, &wanted) }
}

const STANDING: [&str; 4] = ["Complete", "Paused", "OnDelete", "Partitioned"];

/// Whether a reason of `Progressing` says that nothing moves, by order or because all is done.
pub fn is_standing(reason: &str) -> bool {
    STANDING.contains(&reason)
}

enum State {
    /// Nothing to do, or nothing that may be done: a reason of [`STANDING`].
    Standing(&'static str, String),
    Moving((&'static str, String)),
}

impl State {
    fn reason(&self) -> &'static str {
        match self {
            State::Standing(reason, _) | State::Moving((reason, _)) => reason,
        }
    }

    fn message(&self) -> &str {
        match self {
            State::Standing(_, message) | State::Moving((_, message)) => message,
        }
    }
}

fn state(context: Context<'_>, draft: &Draft, counts: &Counts, complete: bool) -> State {
    let replicas = context.view.slots.len();
    let update = &context.revisions.update.name;
    let busy = context.view.slots.iter().find(|slot| !context.view.slot_is_available(slot));
    let busy = busy.map(|slot| {
        let why = slot.pod().map_or_else(|| "does not exist yet".to_owned(), |pod| describe(context, pod));
        format!("Pod {} {why}", slot.name)
    });
    if let Some((reason, why)) = stands_by_order(context, draft, counts) {
        let also = busy.map_or_else(String::new, |busy| format!("; {busy}"));
        return State::Standing(
            reason,
            format!("{} of {replicas} Pods are on an older revision, {why}{also}", counts.outdated),
        );
    }
    if complete {
        let untried = replicas == 0 && context.revisions.current.hash != context.revisions.update.hash;
        return if untried {
            nothing_to_roll_out(context)
        } else {
            State::Standing("Complete", format!("all {replicas} Pods are available on {update}"))
        };
    }
    if let Some(waiting) = draft.waiting.first() {
        return State::Moving((waiting.reason, waiting.message.clone()));
    }
    if let Some(busy) = busy {
        return State::Moving(("WaitingForPods", busy));
    }
    if counts.outdated > 0 && !draft.blocked.is_empty() {
        let pods: Vec<Box<str>> = draft.blocked.iter().flat_map(|(_, pods)| pods.iter().cloned()).collect();
        let message = format!("{} cannot be updated in place, see InPlaceUpdateBlocked", named(&pods));
        return State::Moving(("WaitingForInPlaceUpdate", message));
    }
    State::Moving(("Moving", format!("{} of {replicas} Pods are on {update}", counts.updated)))
}

/// Whether Pods are on an older revision because they are to be, and why. What is waited for must then be none of the
/// rollout: a Pod to be made or removed, or one that is on its new revision already. A pause holds all of them.
fn stands_by_order(context: Context<'_>, draft: &Draft, counts: &Counts) -> Option<(&'static str, &'static str)> {
    let slots = &context.view.slots;
    let scaling = counts.condemned > 0 || slots.iter().any(|slot| slot.pod().is_none());
    if counts.outdated == 0 || scaling || !draft.holds.is_empty() {
        return None;
    }
    if context.spec.rolling.paused && !context.spec.on_delete {
        return Some(("Paused", "the rollout is paused"));
    }
    let updates_wait = counts.under_way > 0
        || slots.iter().any(|slot| {
            !context.view.slot_is_available(slot)
                && slot.member().is_some_and(|member| member.is_on(&context.revisions.update))
        });
    if updates_wait {
        return None;
    }
    if context.spec.on_delete {
        return Some(("OnDelete", "until they are deleted by hand"));
    }
    (counts.held == counts.outdated).then_some(("Partitioned", "held back by the partition"))
}

/// No Pods, and a template that none was made of yet.
fn nothing_to_roll_out(context: Context<'_>) -> State {
    let update = &context.revisions.update.name;
    let current = &context.revisions.current.name;
    let rolling = &context.spec.rolling;
    if rolling.paused {
        State::Standing("Paused", format!("there are no Pods, and the rollout of {update} is paused"))
    } else if !rolling.partition_is_zero {
        State::Standing(
            "Partitioned",
            format!("there are no Pods; the partition keeps some on {current} when there are"),
        )
    } else {
        State::Standing("Complete", format!("all 0 Pods are available on {update}"))
    }
}

fn describe(context: Context<'_>, pod: &crate::model::PodFacts) -> String {
    if pod.is_terminating() {
        return "is being deleted".to_owned();
    }
    if pod.unschedulable {
        return "cannot be scheduled".to_owned();
    }
    let waiting = pod.containers.iter().find_map(|container| Some((container, container.waiting_reason.as_deref()?)));
    if let Some((container, reason)) = waiting {
        return format!("is not Ready: container {} is waiting ({reason})", container.name);
    }
    if pod.is_ready() && !context.view.hooks.let_count(pod) {
        return "is Ready, and its lifecycle hook has not called it normal".to_owned();
    }
    if pod.is_ready() {
        return format!("is Ready, and not yet for {} s", context.spec.min_ready_seconds);
    }
    "is not Ready".to_owned()
}

/// Whether anything came nearer to what is wanted. A Pod that is deleted and made again, and again, is no progress: so an
/// ordinal counts as updated once, and a Pod that is gone counts where all that are wanted exist.
fn made_progress(old: &AdvancedStatefulSetStatus, new: &AdvancedStatefulSetStatus, all_exist: bool) -> bool {
    old.observed_generation != new.observed_generation
        || old.update_revision != new.update_revision
        || updated_count(new) > updated_count(old)
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
        || (all_exist && new.replicas < old.replicas)
        || claims_done(new) > claims_done(old)
}

fn updated_count(status: &AdvancedStatefulSetStatus) -> i64 {
    status.updated_ordinals.as_deref().map_or(0, |text| Ranges::parse_text(text).count())
}

/// Claims that are asked to be, or are, as large as their templates ask.
fn claims_done(status: &AdvancedStatefulSetStatus) -> i32 {
    status.volume_claims.iter().map(|claim| claim.compatible_replicas + claim.compatible_ready_replicas).sum()
}
