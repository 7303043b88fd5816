//! The next step of one Pod's update: what its revision and the present template differ in, what
//! the cluster can do about it, and the patch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::action::{Action, PatchWhy, Question, Resize};
use super::draft::{Context, Draft, target};
use super::lifecycle;
use super::view::{Member, On, Slot};
use crate::api::spec::PodUpdatePolicy;
use crate::inplace::patch::{PatchParts, inquiry_patch, pod_patch, resize_note, resize_patch};
use crate::inplace::restart::Rules;
use crate::inplace::state::{InPlaceState, next_state, state_before_resize};
use crate::inplace::{Change, Cluster, Contents, Decision, InPlacePatch, Inquiry, Pace};
use crate::model::{AnnotationRules, FieldKind, PodFacts, canonical};

/// How soon a dry run that a policy denied is tried again.
const DENIED_RECHECK_SECONDS: i64 = 30;
/// Whole Pods that are read for one plan: the others' turn comes after them.
const WHOLE_PODS_MAX: usize = 16;

/// What can be done to one outdated Pod.
pub enum Step {
    /// Labels, annotations and tolerations: free.
    Free(InPlacePatch),
    InPlace(InPlacePatch),
    Recreate(String),
    /// Not under this policy, for these reasons.
    Blocked(String),
    /// Something has to be known first, or to be allowed: the draft says what.
    Waiting,
}

/// The differences from each old revision to the present template, made once each.
#[derive(Default)]
pub struct Changes {
    by_hash: BTreeMap<Box<str>, Arc<Change>>,
}

impl Changes {
    pub fn of(&mut self, context: Context<'_>, member: &Member) -> Arc<Change> {
        match &member.on {
            On::Known(revision) => Arc::clone(
                self.by_hash.entry(revision.hash.clone()).or_insert_with(|| Arc::new(change(context, member))),
            ),
            On::Shown(_) => Arc::new(change(context, member)),
        }
    }
}

fn change(context: Context<'_>, member: &Member) -> Change {
    let (old_claims, new_claims) = claim_names(context, member);
    let texts = |names: &[Box<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (old_names, new_names) = (texts(&old_claims), texts(&new_claims));
    let old: Vec<&str> = old_names.iter().map(String::as_str).collect();
    let new: Vec<&str> = new_names.iter().map(String::as_str).collect();
    Change::between(
        Contents { template: member.template(), claims: &old },
        Contents { template: &context.revisions.update.template, claims: &new },
        &rules(context),
    )
}

/// The claim templates that a Pod was made with, and those of the update revision.
pub fn claim_names(context: Context<'_>, member: &Member) -> (Vec<Box<str>>, Vec<Box<str>>) {
    let new = super::build::claim_names_of(&context.revisions.update, context.spec);
    (member.claim_names(&new).to_vec(), new)
}

/// What annotations and variables mean for this set.
pub fn rules(context: Context<'_>) -> Rules {
    let rolling = &context.spec.rolling;
    Rules {
        annotations: AnnotationRules {
            restart: rolling.restart_annotations.clone(),
            injectors: context.snapshot.injectors.clone(),
        },
        env_in_annotations: rolling.env_in_annotations,
    }
}

/// What is to be done next to a Pod that is not on the update revision.
pub fn step(context: Context<'_>, draft: &mut Draft, changes: &mut Changes, member: &Member) -> Step {
    let policy = context.spec.rolling.policy;
    let in_place_only = policy == PodUpdatePolicy::InPlaceOnly;
    let decision = match decide(context, changes, member) {
        // Another revision that says the same: only the label is wrong.
        Decision::Patch(patch) if patch.differences.is_empty() && patch.resize.is_empty() => return Step::Free(patch),
        _ if policy == PodUpdatePolicy::ReCreate => return Step::Recreate("podUpdatePolicy is ReCreate".into()),
        decision => decision,
    };
    let key = (member.pod.uid.clone(), context.revisions.update.hash.clone());
    if let Some(message) = context.snapshot.answers.refused_patches.get(&key) {
        let reason = format!("the apiserver refused the update in place: {message}");
        return if in_place_only { Step::Blocked(reason) } else { Step::Recreate(reason) };
    }
    match decision {
        Decision::Patch(patch) if !patch.added_tolerations.is_empty() && !knows_whole(context, draft, &member.pod) => {
            Step::Waiting
        }
        Decision::Patch(patch) if patch.pace == Pace::Free => Step::Free(patch),
        Decision::Patch(patch) => match unbound_claim(context, draft, &patch) {
            Binding::Bound => Step::InPlace(patch),
            Binding::Asked => Step::Waiting,
            Binding::Not(reason) if in_place_only => Step::Blocked(reason),
            Binding::Not(reason) => Step::Recreate(reason),
        },
        Decision::Recreate { reasons } => Step::Recreate(reasons.join("; ")),
        Decision::Blocked { reasons } => Step::Blocked(reasons.join("; ")),
        Decision::Ask(inquiries) => {
            for inquiry in inquiries {
                ask(draft, &member.pod, inquiry);
            }
            Step::Waiting
        }
        Decision::Denied { reason, message } => {
            draft.failures.push((known_reason(&reason), format!("Pod {}: {message}", member.pod.name)));
            draft.wake_in(context.view.now, DENIED_RECHECK_SECONDS);
            Step::Waiting
        }
    }
}

fn decide(context: Context<'_>, changes: &mut Changes, member: &Member) -> Decision {
    let cluster = Cluster {
        abilities: &context.snapshot.abilities,
        in_place_only: context.spec.rolling.policy == PodUpdatePolicy::InPlaceOnly,
        rules: &rules(context),
        now: context.view.now,
    };
    changes.of(context, member).for_pod(&member.pod, &cluster)
}

/// Whether only labels, annotations and tolerations change.
pub fn is_free(context: Context<'_>, changes: &mut Changes, member: &Member) -> bool {
    context.spec.rolling.policy != PodUpdatePolicy::ReCreate
        && matches!(decide(context, changes, member), Decision::Patch(patch) if patch.pace == Pace::Free)
}

enum Binding {
    Bound,
    Asked,
    /// A reason as users read it, with the field's path.
    Not(String),
}

/// Whether the claims of added volumes can be mounted: no scheduler binds a claim for a Pod that is on its node already.
fn unbound_claim(context: Context<'_>, draft: &mut Draft, patch: &InPlacePatch) -> Binding {
    let volumes = context.revisions.update.template.pointer("/spec/volumes").and_then(Value::as_array);
    let changed = patch.differences.iter().filter_map(|difference| difference.entry.as_ref());
    let mut binding = Binding::Bound;
    for entry in changed.filter(|entry| entry.list == "volumes") {
        let volume = volumes.into_iter().flatten().find(|volume| volume["name"] == *entry.name);
        let claim = volume.and_then(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
        let Some(claim) = claim else { continue };
        match context.snapshot.answers.bound_claims.get(claim) {
            Some(None) => {}
            Some(Some(why)) => return Binding::Not(format!("spec.volumes[{}]: {why}", entry.name)),
            None => {
                draft.questions.insert(Question::BoundClaim { name: claim.into() });
                binding = Binding::Asked;
            }
        }
    }
    binding
}

/// One question a kind, whichever Pod it is asked for.
fn ask(draft: &mut Draft, pod: &PodFacts, inquiry: Inquiry) {
    let kinds: Vec<FieldKind> = inquiry.kinds.iter().copied().collect();
    let is_asked = draft
        .questions
        .iter()
        .any(|question| matches!(question, Question::Ability { kinds: asked, .. } if *asked == kinds));
    if !is_asked {
        let patch = canonical::text(&inquiry_patch(pod, &inquiry.spec)).into();
        draft.questions.insert(Question::Ability { kinds, target: target(pod), patch });
    }
}

/// Whether the whole Pod is known; else it is asked for, when its turn has come.
fn knows_whole(context: Context<'_>, draft: &mut Draft, pod: &PodFacts) -> bool {
    if context.snapshot.answers.whole_pods.contains_key(&pod.uid) {
        draft.known_whole += 1;
        return true;
    }
    let asked = draft.questions.iter().filter(|question| matches!(question, Question::WholePod { .. })).count();
    if draft.known_whole + asked < WHOLE_PODS_MAX {
        draft.questions.insert(Question::WholePod { name: pod.name.clone(), uid: pod.uid.clone() });
    } else {
        draft.wake_in(context.view.now, 1);
    }
    false
}

/// The reason of a refusal, as a condition has it.
pub fn known_reason(reason: &str) -> &'static str {
    match reason {
        "AdmissionDenied" => "AdmissionDenied",
        "Forbidden" => "Forbidden",
        "QuotaExceeded" => "QuotaExceeded",
        _ => "Refused",
    }
}

/// What is written before the resize of an update; `None`: there is none, or the Pod has it.
pub fn note_before_resize(context: Context<'_>, pod: &PodFacts, update: &InPlacePatch) -> Option<Value> {
    if update.resize.is_empty() {
        return None;
    }
    state_before_resize(pod, update, context.view.now).map(|state| resize_note(pod, &state))
}

/// The patch of a Pod to the update revision.
pub fn patch_action(context: Context<'_>, slot: &Slot, member: &Member, update: &InPlacePatch) -> Action {
    let revision = &context.revisions.update;
    let pod = &member.pod;
    let why = match update.pace {
        Pace::Free => PatchWhy::Metadata,
        Pace::Slot => PatchWhy::Live,
        Pace::Gate => PatchWhy::InPlace,
    };
    let state: Option<InPlaceState> = match update.pace {
        Pace::Free if !member.half_resized => None,
        // Of a resize that was begun too: what it left is waited for from now on.
        Pace::Free | Pace::Slot | Pace::Gate => Some(next_state(pod, update, &revision.hash, context.view.now)),
    };
    let resize = resize_patch(pod, update)
        .map(|patch| Box::new(Resize { note: note_before_resize(context, pod, update), patch }));
    let whole = context.snapshot.answers.whole_pods.get(&pod.uid);
    let tolerations = whole.and_then(|whole| whole.pointer("/spec/tolerations")).and_then(Value::as_array);
    let paths: Vec<&str> = update.differences.iter().map(|difference| difference.path.as_str()).collect();
    let parts = PatchParts {
        old_template: member.template(),
        new_template: &revision.template,
        update,
        revision_hash: &revision.hash,
        state: state.as_ref(),
        tolerations: tolerations.map_or(&[], Vec::as_slice),
    };
    let mut patch = pod_patch(pod, parts);
    lifecycle::leave_hook_labels(context, member.template(), &revision.template, &mut patch);
    if update.pace != Pace::Free {
        lifecycle::begin_update(context, pod, &mut patch);
    }
    Action::PatchPod {
        ordinal: slot.ordinal,
        target: target(pod),
        why,
        revision: revision.hash.clone(),
        resize,
        patch: Box::new(patch),
        reason: match paths.as_slice() {
            [] if update.resize.is_empty() => format!("revision {} changes nothing of it", revision.name),
            [] => format!("a resize that was begun is taken back to revision {}", revision.name),
            _ => format!("revision {} changes {}", revision.name, paths.join(", ")),
        },
    }
}
