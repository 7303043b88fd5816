//! What stands between each Pod and the present template, for people who ask before anything is done: the functions
//! that [`super::plan`] decides with, and their words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::action::{Action, RevisionAction};
use super::draft::{Context, Draft};
use super::revisions::Revision;
use super::rollout::{is_outdated, may_update};
use super::step::{self, Changes, Step};
use super::view::{Member, On, Slot};
use super::{Unclear, look};
use crate::api::spec::PodUpdatePolicy;
use crate::inplace::decide::claim_reasons;
use crate::inplace::{Change, Class, Cluster, Contents, Decision, Difference, InPlacePatch, Pace};
use crate::model::{Snapshot, canonical};
use crate::plan::Question;

/// The outcome of an explanation.
#[derive(Debug)]
pub enum Explained {
    /// Facts are missing; see [`super::Plan::questions`].
    Ask(Vec<Question>),
    /// The set cannot be acted on, in the words of its condition.
    Refused(String),
    /// It is being deleted: nothing is done for it.
    Terminating,
    Known(Explanation),
}

/// What each Pod is to become, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The revision of the present template; of the last good one where that is refused.
    pub update: RevisionOutlook,
    /// The apiserver's words, when it will take no Pod of the present template.
    pub invalid_template: Option<Box<str>>,
    /// What differs, by the revision that Pods are on now; those of most Pods first.
    pub groups: Vec<Group>,
    /// The Pods of the set's slots, by name.
    pub pods: BTreeMap<Box<str>, PodOutlook>,
    /// Updates of running Pods that nothing holds back, one for all Pods that are alike.
    pub updates: Vec<UpdateOutlook>,
}

/// Pods that take the same update while they run.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateOutlook {
    /// Their names and UIDs, the first to be updated first.
    pub pods: Vec<(Box<str>, Box<str>)>,
    pub pace: Pace,
    /// The revision label that they have.
    pub from: Box<str>,
    /// The hash of the revision that they come to.
    pub revision: Box<str>,
    /// What is changed, in the planner's words.
    pub reason: String,
    /// A dry run of the first one's update, whole.
    pub dry_run: Question,
}

/// A revision, and whether it was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionOutlook {
    pub name: Box<str>,
    pub number: i64,
    pub is_new: bool,
}

/// Pods of one revision, and its differences from the present template.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name of the revision; `None`: the Pods' labels name none that is known.
    pub revision: Option<Box<str>>,
    pub pods: Vec<Box<str>>,
    pub fields: Vec<FieldOutlook>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOutlook {
    pub path: String,
    pub class: Class,
    /// Every Pod of the group can take it while it runs.
    pub in_place: bool,
    pub why: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

/// What becomes of a Pod when its turn comes.
#[derive(Clone, Debug, PartialEq)]
pub struct PodOutlook {
    /// The revision that it is on; `None`: none that is known.
    pub revision: Option<Box<str>>,
    /// The partition holds it back.
    pub held: bool,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is on the present template, or is going anyway.
    Current,
    /// It can take the change while it runs; the containers named are re-created.
    InPlace {
        pace: Pace,
        containers: Vec<Box<str>>,
    },
    Recreate {
        why: String,
    },
    /// `InPlaceOnly` forbids what it would take.
    Blocked {
        why: String,
    },
    /// A policy stands against it, or against asking the apiserver.
    Waits {
        why: String,
    },
}

/// Explains what the present template means for the Pods that are seen.
pub fn explain(snapshot: &Snapshot) -> Explained {
    let explained = look(snapshot, |context| {
        let mut draft = Draft::new(context);
        let explanation = of_context(context, &mut draft);
        if draft.questions.is_empty() {
            Explained::Known(explanation)
        } else {
            Explained::Ask(draft.questions.into_iter().collect())
        }
    });
    explained.unwrap_or_else(|unclear| match unclear {
        Unclear::Refused { message, .. } => Explained::Refused(message),
        Unclear::Terminating => Explained::Terminating,
        Unclear::Ask(questions) => Explained::Ask(questions),
    })
}

fn of_context(context: Context<'_>, draft: &mut Draft) -> Explanation {
    let mut changes = Changes::default();
    let mut pods = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut updates: Vec<UpdateOutlook> = Vec::new();
    // The highest is the first to be updated.
    for slot in context.view.slots.iter().rev() {
        let Some(member) = slot.member() else { continue };
        let outdated = is_outdated(context, member);
        let next = outdated.then(|| step::step(context, draft, &mut changes, member));
        if let Some(Step::Free(patch) | Step::InPlace(patch)) = &next
            && may_update(context, slot)
        {
            add_to_updates(context, &mut updates, slot, member, patch);
        }
        let verdict = next.map_or(Verdict::Current, |next| verdict(draft, next));
        let revision = match &member.on {
            On::Known(revision) => Some(revision.name.clone()),
            On::Shown(_) => None,
        };
        if outdated {
            add_to_group(context, &mut changes, &mut groups, member, revision.as_deref());
        }
        pods.insert(slot.name.clone(), PodOutlook { revision, held: slot.held, verdict });
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.pods.len()));
    let update = &context.revisions.update;
    if pods.is_empty() {
        groups.extend(group_of_nobody(context));
    }
    groups.iter_mut().for_each(|group| group.pods.reverse());
    Explanation {
        update: outlook(context, update),
        invalid_template: context.revisions.invalid_template.clone(),
        groups,
        pods,
        updates,
    }
}

fn outlook(context: Context<'_>, update: &Arc<Revision>) -> RevisionOutlook {
    let created =
        |action: &RevisionAction| matches!(action, RevisionAction::Create { name, .. } if *name == update.name);
    RevisionOutlook {
        name: update.name.clone(),
        number: update.number,
        is_new: context.revisions.actions.iter().any(created),
    }
}

fn verdict(draft: &Draft, next: Step) -> Verdict {
    match next {
        Step::Free(patch) | Step::InPlace(patch) => Verdict::InPlace {
            pace: patch.pace,
            containers: patch.rebuild.into_iter().map(|rebuild| rebuild.container).collect(),
        },
        Step::Recreate(why) => Verdict::Recreate { why },
        Step::Blocked(why) => Verdict::Blocked { why },
        Step::Waiting => {
            let why = draft.failures.last().map(|(_, message)| message.clone());
            Verdict::Waits { why: why.unwrap_or_default() }
        }
    }
}

/// Puts the Pod beside those that are on the same and take the same.
fn add_to_updates(
    context: Context<'_>,
    updates: &mut Vec<UpdateOutlook>,
    slot: &Slot,
    member: &Member,
    patch: &InPlacePatch,
) {
    let named = (member.pod.name.clone(), member.pod.uid.clone());
    let Action::PatchPod { target, revision, resize, patch: whole, reason, .. } =
        step::patch_action(context, slot, member, patch)
    else {
        return;
    };
    let resize = resize.map(|resize| canonical::text(&resize.patch).into());
    let from: Box<str> = member.pod.revision_label().into();
    let alike =
        |update: &&mut UpdateOutlook| update.pace == patch.pace && update.reason == reason && update.from == from;
    if let Some(known) = updates.iter_mut().find(alike) {
        known.pods.push(named);
        return;
    }
    let dry_run =
        Question::Update { target, revision: revision.clone(), resize, patch: canonical::text(&whole).into() };
    updates.push(UpdateOutlook { pods: vec![named], pace: patch.pace, from, revision, reason, dry_run });
}

/// Puts the Pod beside those of its revision. One field that one of them cannot take is taken by none.
fn add_to_group(
    context: Context<'_>,
    changes: &mut Changes,
    groups: &mut Vec<Group>,
    member: &Member,
    revision: Option<&str>,
) {
    let fields = fields(context, changes, member);
    let same_paths = |group: &Group| group.fields.iter().map(|one| &one.path).eq(fields.iter().map(|one| &one.path));
    let known = groups.iter_mut().find(|group| group.revision.as_deref() == revision && same_paths(group));
    let Some(group) = known else {
        groups.push(Group { revision: revision.map(Box::from), pods: vec![member.pod.name.clone()], fields });
        return;
    };
    group.pods.push(member.pod.name.clone());
    for (held, field) in group.fields.iter_mut().zip(fields) {
        if held.in_place && !field.in_place {
            *held = field;
        }
    }
}

/// What differs for a set without Pods.
fn group_of_nobody(context: Context<'_>) -> Option<Group> {
    let (current, update) = (&context.revisions.current, &context.revisions.update);
    let claims: [&str; 0] = [];
    let contents = |template| Contents { template, claims: &claims };
    let change = Change::between(contents(&current.template), contents(&update.template), &step::rules(context));
    let field = |difference: &Difference| FieldOutlook {
        path: difference.path.clone(),
        class: difference.class,
        in_place: difference.class != Class::Static,
        why: difference.reason.clone(),
        old: difference.old.clone(),
        new: difference.new.clone(),
    };
    let fields: Vec<FieldOutlook> = change.differences.iter().map(field).collect();
    (!fields.is_empty()).then(|| Group { revision: Some(current.name.clone()), pods: Vec::new(), fields })
}

fn fields(context: Context<'_>, changes: &mut Changes, member: &Member) -> Vec<FieldOutlook> {
    let change = changes.of(context, member);
    let cluster = Cluster {
        abilities: &context.snapshot.abilities,
        in_place_only: false,
        rules: &step::rules(context),
        now: context.view.now,
    };
    let reasons = match change.for_pod(&member.pod, &cluster) {
        Decision::Recreate { reasons } | Decision::Blocked { reasons } => reasons,
        _ => Vec::new(),
    };
    let key = (member.pod.uid.clone(), context.revisions.update.hash.clone());
    let refused = context.snapshot.answers.refused_patches.get(&key);
    let by_policy = context.spec.rolling.policy == PodUpdatePolicy::ReCreate;
    let outlook = |difference: &Difference| {
        let against = match refused {
            _ if by_policy => Some("podUpdatePolicy is ReCreate"),
            Some(_) => Some("the apiserver refused the update in place"),
            None => reason_of(&reasons, &difference.path),
        };
        FieldOutlook {
            path: difference.path.clone(),
            class: difference.class,
            in_place: against.is_none(),
            why: against.unwrap_or(&difference.reason).to_owned(),
            old: difference.old.clone(),
            new: difference.new.clone(),
        }
    };
    let mut fields: Vec<FieldOutlook> = change.differences.iter().map(outlook).collect();
    fields.extend(claim_fields(context, member));
    fields
}

/// Claim templates that come or go.
fn claim_fields(context: Context<'_>, member: &Member) -> Vec<FieldOutlook> {
    let (old, new) = step::claim_names(context, member);
    let old_set: BTreeSet<&str> = old.iter().map(|name| &**name).collect();
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old_set.iter().copied().collect(), new.iter().map(|name| &**name).collect());
    let field = |reason: String| {
        let (path, why) = reason.split_once(": ")?;
        Some(FieldOutlook {
            path: path.to_owned(),
            class: Class::Static,
            in_place: false,
            why: why.to_owned(),
            old: None,
            new: None,
        })
    };
    claim_reasons(&old, &new).into_iter().filter_map(field).collect()
}

/// What stands against one field, of reasons that begin with the paths that they are about.
fn reason_of<'a>(reasons: &'a [String], path: &str) -> Option<&'a str> {
    reasons.iter().find_map(|reason| {
        let (paths, why) = reason.split_once(": ")?;
        paths.split(", ").any(|one| one == path).then_some(why)
    })
}
