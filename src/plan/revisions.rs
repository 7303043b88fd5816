//! Which revision is the present template, which is the current one, and what is to be done so
//! that history says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::action::{Question, RevisionAction};
use crate::inplace::diff::differences;
use crate::inplace::env_annotations;
use crate::model::revision::{hash, revision_data, revision_name};
use crate::model::{RevisionFacts, Snapshot, TemplateAnswer, ValidSpec, canonical};

/// A revision that Pods are made from and compared with.
#[derive(Clone, Debug)]
pub struct Revision {
    pub name: Box<str>,
    pub hash: Box<str>,
    pub number: i64,
    /// The raw template, nulls dropped.
    pub template: Arc<Value>,
    /// `None`: not recorded (a native revision); whatever the set asks for.
    pub claim_names: Option<Vec<Box<str>>>,
}

/// What was found out about the set's revisions.
#[derive(Clone, Debug)]
pub struct Revisions {
    /// Rolled out last in full.
    pub current: Arc<Revision>,
    /// What the present template is.
    pub update: Arc<Revision>,
    /// All that Pods may be on, the two above included.
    pub known: Vec<Arc<Revision>>,
    pub actions: Vec<RevisionAction>,
    pub collision_count: Option<i32>,
    /// The apiserver's words, when it will take no Pod of the present template. `update` is then
    /// the revision that was the last good one.
    pub invalid_template: Option<Box<str>>,
}

/// The outcome of looking at the revisions.
#[derive(Debug)]
pub enum Choice {
    Ask(Vec<Question>),
    Found(Box<Revisions>),
    /// The first template of a set was refused; there is nothing to fall back to.
    Refused(Box<str>),
}

/// The hash under which [`crate::model::Answers::templates`] holds a template.
pub fn template_hash(template: &Value) -> Box<str> {
    hash(template, 0).into()
}

impl Revisions {
    /// The revision that a Pod's label names: by hash, or by the full name, as native Pods do.
    pub fn by_label(&self, label: &str) -> Option<&Arc<Revision>> {
        self.known.iter().find(|revision| &*revision.hash == label || &*revision.name == label)
    }
}

/// Finds the update and the current revision of a set that is not being deleted.
pub fn choose(snapshot: &Snapshot, spec: &ValidSpec) -> Choice {
    let history = history(snapshot);
    let known: Vec<Arc<Revision>> = history.iter().map(|facts| Arc::new(read(facts))).collect();
    let wanted = Wanted::new(spec);
    let search = match check_annotations(spec) {
        Ok(()) => find_equal(snapshot, &known, &wanted),
        Err(message) => Search::Invalid(message.into()),
    };
    let update = match search {
        Search::Ask(questions) => return Choice::Ask(questions),
        Search::Equal(index) => Target::Existing(index),
        Search::New => Target::New,
        Search::Invalid(message) => match last_good(snapshot, &known) {
            Some(index) => Target::FallBack(index, message),
            None => return Choice::Refused(message),
        },
    };
    Choice::Found(Box::new(settle(snapshot, &history, known, &wanted, update)))
}

/// Whether Pods of the present template can hold their environment variables in annotations, where they are to.
fn check_annotations(spec: &ValidSpec) -> Result<(), String> {
    if spec.rolling.env_in_annotations { env_annotations::check_size(&spec.template) } else { Ok(()) }
}

/// The present template, ready to be compared.
struct Wanted {
    template: Value,
    claim_names: Vec<Box<str>>,
    text: String,
}

impl Wanted {
    fn new(spec: &ValidSpec) -> Wanted {
        Wanted {
            text: canonical::text(&spec.template),
            template: spec.template.clone(),
            claim_names: spec.claim_templates.iter().map(|claim| claim.name.as_str().into()).collect(),
        }
    }

    fn same_claims(&self, revision: &Revision) -> bool {
        revision.claim_names.as_ref().is_none_or(|names| {
            let sorted = |names: &[Box<str>]| {
                let mut names = names.to_vec();
                names.sort_unstable();
                names
            };
            sorted(names) == sorted(&self.claim_names)
        })
    }
}

enum Target {
    Existing(usize),
    New,
    FallBack(usize, Box<str>),
}

enum Search {
    Ask(Vec<Question>),
    Equal(usize),
    New,
    Invalid(Box<str>),
}

/// Owned revisions, and orphans that this set may take, oldest first.
fn history(snapshot: &Snapshot) -> Vec<Arc<RevisionFacts>> {
    let prefix = revision_name(&snapshot.set.name, "");
    let mut history: Vec<Arc<RevisionFacts>> = snapshot
        .revisions
        .iter()
        .filter(|facts| !facts.terminating && facts.data.pointer("/spec/template").is_some_and(Value::is_object))
        .filter(|facts| match &facts.controller {
            Some(owner) => owner.uid == snapshot.set.uid,
            None => facts.name.starts_with(&prefix),
        })
        .cloned()
        .collect();
    history.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    history
}

fn read(facts: &RevisionFacts) -> Revision {
    Revision {
        name: facts.name.clone(),
        hash: facts.hash.clone(),
        number: facts.number,
        template: Arc::new(canonical::without_nulls(&facts.template())),
        claim_names: facts.claim_names(),
    }
}

/// Finds the revision that means the same as the wanted template: by the text as written, then
/// after defaulting here, then after defaulting by the apiserver.
fn find_equal(snapshot: &Snapshot, known: &[Arc<Revision>], wanted: &Wanted) -> Search {
    let candidates: Vec<usize> = (0..known.len()).rev().filter(|index| wanted.same_claims(&known[*index])).collect();
    let same_text = |index: &usize| canonical::text(&known[*index].template) == wanted.text;
    // Of several that say the same, the one that is the update revision already: nothing moves.
    let update = snapshot.set.status.update_revision.as_deref();
    let held = candidates.iter().find(|index| update == Some(&*known[**index].name));
    if let Some(index) = held
        && (same_text(index) || differences(&known[*index].template, &wanted.template).is_empty())
    {
        return Search::Equal(*index);
    }
    if let Some(index) = candidates.iter().find(|index| same_text(index)) {
        return Search::Equal(*index);
    }
    if known.is_empty() {
        return Search::New;
    }
    let gaps: Vec<(usize, Vec<_>)> =
        candidates.iter().map(|index| (*index, differences(&known[*index].template, &wanted.template))).collect();
    if let Some((index, _)) = gaps.iter().find(|(_, gap)| gap.is_empty()) {
        return Search::Equal(*index);
    }
    // A value that both give and that differs stays different, whatever the apiserver fills in:
    // only revisions that differ by what one of the two leaves out have to be asked about.
    let open = gaps.iter().filter(|(_, gap)| gap.iter().all(|field| field.old.is_none() || field.new.is_none()));
    let asked: Vec<usize> = open.map(|(index, _)| *index).collect();
    let mut questions = Vec::new();
    // The candidates have the same claims, or do not say.
    let mut ask = |template: &Value| -> Option<TemplateAnswer> {
        let template = with_claim_volumes(template, &wanted.claim_names);
        let hash = template_hash(&template);
        let answer = snapshot.answers.templates.get(&hash).cloned();
        if answer.is_none() {
            questions.push(Question::DefaultedTemplate { hash, template: canonical::text(&template).into() });
        }
        answer
    };
    let new = ask(&wanted.template);
    if let Some(TemplateAnswer::Invalid(message)) = new {
        return Search::Invalid(message);
    }
    let old: Vec<(usize, Option<TemplateAnswer>)> =
        asked.iter().map(|index| (*index, ask(&known[*index].template))).collect();
    if !questions.is_empty() {
        return Search::Ask(questions);
    }
    if let Some(TemplateAnswer::Defaulted(new)) = new {
        for (index, answer) in old {
            if matches!(answer, Some(TemplateAnswer::Defaulted(old)) if differences(&old, &new).is_empty()) {
                return Search::Equal(index);
            }
        }
    }
    Search::New
}

/// The template with a volume for each claim: containers mount them, and without them the
/// apiserver would refuse it.
fn with_claim_volumes(template: &Value, claims: &[Box<str>]) -> Value {
    let mut template = template.clone();
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        super::build::add_claim_volumes(spec, claims, |claim| claim.to_owned());
    }
    template
}

/// What to go on with while the present template is refused.
fn last_good(snapshot: &Snapshot, known: &[Arc<Revision>]) -> Option<usize> {
    let named = |name: &Option<String>| {
        let name = name.as_deref()?;
        known.iter().position(|revision| &*revision.name == name)
    };
    named(&snapshot.set.status.update_revision)
        .or_else(|| named(&snapshot.set.status.current_revision))
        .or_else(|| known.len().checked_sub(1))
}

fn settle(
    snapshot: &Snapshot,
    history: &[Arc<RevisionFacts>],
    mut known: Vec<Arc<Revision>>,
    wanted: &Wanted,
    target: Target,
) -> Revisions {
    let mut actions: Vec<RevisionAction> =
        history.iter().filter(|facts| facts.controller.is_none()).map(adopt).collect();
    let mut collision_count = snapshot.set.status.collision_count;
    let newest = history.iter().map(|facts| facts.number).max().unwrap_or(0);
    let mut invalid_template = None;
    let update = match target {
        Target::Existing(index) => {
            let facts = &history[index];
            let tie = history.iter().filter(|other| other.number == newest).count() > 1;
            if facts.controller.is_some() && (facts.number < newest || tie) {
                actions.push(RevisionAction::Renumber {
                    name: facts.name.clone(),
                    uid: facts.uid.clone(),
                    resource_version: facts.resource_version.clone(),
                    number: newest.saturating_add(1),
                });
            }
            Arc::clone(&known[index])
        }
        Target::FallBack(index, message) => {
            invalid_template = Some(message);
            Arc::clone(&known[index])
        }
        Target::New => {
            let data = revision_data(&wanted.template, wanted.claim_names.iter().map(|name| &**name));
            let (hash, name) = free_name(snapshot, &data, &mut collision_count);
            let revision = Arc::new(Revision {
                name: name.clone(),
                hash: hash.clone(),
                number: newest.saturating_add(1),
                template: Arc::new(wanted.template.clone()),
                claim_names: Some(wanted.claim_names.clone()),
            });
            actions.push(RevisionAction::Create { name, hash, number: revision.number, data: Arc::new(data) });
            known.push(Arc::clone(&revision));
            revision
        }
    };
    let current = current(snapshot, &known, &update);
    Revisions { current, update, known, actions, collision_count, invalid_template }
}

fn adopt(facts: &Arc<RevisionFacts>) -> RevisionAction {
    RevisionAction::Adopt {
        name: facts.name.clone(),
        uid: facts.uid.clone(),
        resource_version: facts.resource_version.clone(),
    }
}

/// A name that no other revision with other data holds.
fn free_name(snapshot: &Snapshot, data: &Value, collision_count: &mut Option<i32>) -> (Box<str>, Box<str>) {
    let mut count = collision_count.unwrap_or(0);
    loop {
        let hash: Box<str> = hash(data, count).into();
        let name: Box<str> = revision_name(&snapshot.set.name, &hash).into();
        let taken = snapshot.revisions.iter().any(|facts| facts.name == name || facts.hash == hash);
        if !taken || count == i32::MAX {
            return (hash, name);
        }
        count += 1;
        *collision_count = Some(count);
    }
}

/// The revision in the status; for a set that has none yet, the one that most of its Pods are on.
fn current(snapshot: &Snapshot, known: &[Arc<Revision>], update: &Arc<Revision>) -> Arc<Revision> {
    if let Some(name) = snapshot.set.status.current_revision.as_deref()
        && let Some(revision) = known.iter().find(|revision| &*revision.name == name)
    {
        return Arc::clone(revision);
    }
    let mut pods_on: BTreeMap<usize, usize> = BTreeMap::new();
    for pod in snapshot.pods.values().chain(snapshot.orphans.values()) {
        let label = pod.revision_label();
        if let Some(index) = known.iter().position(|revision| &*revision.hash == label || &*revision.name == label) {
            *pods_on.entry(index).or_default() += 1;
        }
    }
    pods_on
        .into_iter()
        .max_by_key(|(_, pods)| *pods)
        .map_or_else(|| Arc::clone(update), |(index, _)| Arc::clone(&known[index]))
}

/// Revisions beyond the limit that neither the status nor a Pod names. None while the update
/// revision is not the newest one: what is newer may be of a spec that was not seen here yet.
pub fn trim(snapshot: &Snapshot, spec: &ValidSpec, revisions: &Revisions) -> Vec<RevisionAction> {
    let Some(limit) = spec.revision_history_limit else { return Vec::new() };
    if !revisions.actions.is_empty() || revisions.known.iter().any(|one| one.number > revisions.update.number) {
        return Vec::new();
    }
    let status = &snapshot.set.status;
    let named = |facts: &RevisionFacts| {
        let in_status = [&status.current_revision, &status.update_revision];
        *facts.name == *revisions.current.name
            || *facts.name == *revisions.update.name
            || in_status.iter().any(|name| name.as_deref() == Some(&*facts.name))
            || snapshot
                .pods
                .values()
                .chain(snapshot.orphans.values())
                .any(|pod| pod.revision_label() == &*facts.hash || pod.revision_label() == &*facts.name)
    };
    let spare: Vec<Arc<RevisionFacts>> =
        history(snapshot).into_iter().filter(|facts| facts.controller.is_some() && !named(facts)).collect();
    let beyond = spare.len().saturating_sub(limit);
    spare
        .into_iter()
        .take(beyond)
        .map(|facts| RevisionAction::Delete {
            name: facts.name.clone(),
            uid: facts.uid.clone(),
            resource_version: facts.resource_version.clone(),
            hash: facts.hash.clone(),
        })
        .collect()
}
