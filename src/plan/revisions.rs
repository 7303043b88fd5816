//! Which revision is the present template, which is the current one, and what is to be done so
//! that history says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::action::{Question, RevisionAction};
use crate::inplace::diff::differences;
use crate::inplace::env_annotations;
use crate::inplace::quantity::same_quantity;
use crate::model::revision::{
    ClaimSizes, add_claim_sizes, claims_note, hash, is_named_after, revision_data, revision_name,
};
use crate::model::{RevisionFacts, Snapshot, TemplateAnswer, ValidSpec, canonical};

/// A revision that Pods are made from and compared with.
#[derive(Clone, Debug)]
pub struct Revision {
    pub name: Box<str>,
    pub hash: Box<str>,
    pub number: i64,
    /// The raw template, nulls dropped.
    pub template: Arc<Value>,
    /// `None`: not recorded (a native revision) and no Pod shows it; whatever the set asks for.
    pub claim_names: Option<Vec<Box<str>>>,
    /// What the claim templates asked for; `None`: not recorded.
    pub claim_sizes: Option<ClaimSizes>,
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
    /// Names of known ones, on which Pods are, that mean the same as `update`: of a native StatefulSet whose Pods are
    /// taken over by a set that had made its own revision before.
    same_as_update: Vec<Box<str>>,
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
    /// The revision that a Pod's label names: by hash, or by the full name, as native Pods do. For one that means the
    /// same as the update revision, that one.
    pub fn by_label(&self, label: &str) -> Option<&Arc<Revision>> {
        let found = self.known.iter().find(|revision| is_named(revision, label))?;
        Some(if self.same_as_update.contains(&found.name) { &self.update } else { found })
    }
}

fn is_named(revision: &Revision, label: &str) -> bool {
    &*revision.hash == label || &*revision.name == label
}

/// Finds the update and the current revision of a set that is not being deleted.
pub fn choose(snapshot: &Snapshot, spec: &ValidSpec) -> Choice {
    let history = history(snapshot);
    let mut known: Vec<Arc<Revision>> = Vec::with_capacity(history.len());
    let mut questions = Vec::new();
    for facts in &history {
        match shown_claims(snapshot, facts) {
            Ok(shown) => known.push(Arc::new(read(facts, shown))),
            Err(question) => questions.push(question),
        }
    }
    if !questions.is_empty() {
        return Choice::Ask(questions);
    }
    let wanted = Wanted::new(snapshot, spec);
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
    /// Under `OnPodRollingUpdate`, where sizes are part of the revision.
    claim_sizes: Option<ClaimSizes>,
    /// No claim of a slot is smaller than its template asks.
    claims_are_large_enough: bool,
}

impl Wanted {
    fn new(snapshot: &Snapshot, spec: &ValidSpec) -> Wanted {
        let size = |claim: &crate::model::ClaimTemplate| Some((claim.name.as_str().into(), claim.size()?.clone()));
        Wanted {
            claim_sizes: spec.grow_claims.then(|| spec.claim_templates.iter().filter_map(size).collect()),
            claims_are_large_enough: super::grow::all_are_large_enough(snapshot, spec),
            template: spec.template.clone(),
            claim_names: spec.claim_templates.iter().map(|claim| claim.name.as_str().into()).collect(),
        }
    }

    fn same_claims(&self, revision: &Revision) -> bool {
        self.same_sizes(revision) && self.same_names(revision)
    }

    /// A revision that records no sizes was made before they counted: it is the same while no claim has to grow.
    fn same_sizes(&self, revision: &Revision) -> bool {
        let Some(wanted) = &self.claim_sizes else { return true };
        let Some(sizes) = &revision.claim_sizes else { return self.claims_are_large_enough };
        wanted.iter().all(|(name, size)| sizes.get(name).is_none_or(|recorded| same_quantity(recorded, size)))
    }

    fn same_names(&self, revision: &Revision) -> bool {
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
    let mut history: Vec<Arc<RevisionFacts>> = snapshot
        .revisions
        .iter()
        .filter(|facts| !facts.terminating && facts.data.pointer("/spec/template").is_some_and(Value::is_object))
        .filter(|facts| match &facts.controller {
            Some(owner) => owner.uid == snapshot.set.uid,
            None => is_named_after(&snapshot.set.name, &facts.name),
        })
        .cloned()
        .collect();
    history.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    history
}

/// The claim templates of a native revision, which does not record them, as a Pod of it shows them: else one that is
/// added or removed would look as if it had always been so. `None`: recorded, or there is no Pod of it.
fn shown_claims(snapshot: &Snapshot, facts: &RevisionFacts) -> Result<Option<Vec<Box<str>>>, Question> {
    if facts.claim_names().is_some() {
        return Ok(None);
    }
    let mut pods = snapshot.pods.values().chain(snapshot.orphans.values());
    let of_revision = pods.find(|pod| {
        let label = pod.revision_label();
        !pod.is_terminating()
            && pod.ordinal_of(&snapshot.set.name).is_some()
            && (label == &*facts.hash || label == &*facts.name)
    });
    let Some(pod) = of_revision else { return Ok(None) };
    match snapshot.answers.whole_pods.get(&pod.uid) {
        Some(whole) => Ok(Some(claims_of_pod(whole, &facts.template()))),
        None => Err(Question::WholePod { name: pod.name.clone(), uid: pod.uid.clone() }),
    }
}

/// The names of the claim templates that a whole Pod was made with: volumes with a claim of the Pod's own, which the
/// template does not have so.
pub fn claims_of_pod(whole: &Value, template: &Value) -> Vec<Box<str>> {
    let list = |value: &Value| value.pointer("/spec/volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let pod_name = whole.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let in_template = list(template);
    let of_template = |volume: &Value| -> Option<Box<str>> {
        let name = volume.get("name")?.as_str()?;
        let claim = volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?;
        let own = claim == format!("{name}-{pod_name}") && !in_template.contains(volume);
        own.then(|| name.into())
    };
    list(whole).iter().filter_map(of_template).collect()
}

fn read(facts: &RevisionFacts, shown_claims: Option<Vec<Box<str>>>) -> Revision {
    Revision {
        name: facts.name.clone(),
        hash: facts.hash.clone(),
        number: facts.number,
        template: Arc::new(canonical::without_nulls(&facts.template())),
        claim_names: facts.claim_names().or(shown_claims),
        claim_sizes: facts.claim_sizes(),
    }
}

/// What the owned revisions do not record and should: the claims' names that a Pod shows, and the sizes that the update
/// revision stands for from now on.
fn notes(
    history: &[Arc<RevisionFacts>],
    known: &[Arc<Revision>],
    update: Option<usize>,
    wanted: &Wanted,
) -> Vec<RevisionAction> {
    let mut notes = Vec::new();
    for (index, (facts, revision)) in history.iter().zip(known).enumerate() {
        let names = facts.claim_names().is_none().then(|| revision.claim_names.clone()).flatten();
        let sizes = wanted.claim_sizes.as_ref().filter(|_| update == Some(index) && revision.claim_sizes.is_none());
        let names = match sizes {
            Some(_) => names.or_else(|| revision.claim_names.clone()),
            None => names,
        };
        if let Some(names) = names.filter(|_| facts.controller.is_some()) {
            notes.push(RevisionAction::NoteClaims {
                name: facts.name.clone(),
                uid: facts.uid.clone(),
                resource_version: facts.resource_version.clone(),
                note: claims_note(&names, sizes).into(),
            });
        }
    }
    notes
}

/// Finds the revision that means the same as the wanted template: by the text as written, then
/// after defaulting here, then after defaulting by the apiserver.
fn find_equal(snapshot: &Snapshot, known: &[Arc<Revision>], wanted: &Wanted) -> Search {
    let candidates: Vec<usize> = (0..known.len()).rev().filter(|index| wanted.same_claims(&known[*index])).collect();
    let same_text = |index: &usize| *known[*index].template == wanted.template;
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
            } else {
                actions.extend(notes(history, &known, Some(index), wanted));
            }
            Arc::clone(&known[index])
        }
        Target::FallBack(index, message) => {
            invalid_template = Some(message);
            actions.extend(notes(history, &known, None, wanted));
            Arc::clone(&known[index])
        }
        Target::New => {
            actions.extend(notes(history, &known, None, wanted));
            let mut data = revision_data(&wanted.template, wanted.claim_names.iter().map(|name| &**name));
            if let Some(sizes) = &wanted.claim_sizes {
                add_claim_sizes(&mut data, sizes);
            }
            let (hash, name) = free_name(snapshot, &data, &mut collision_count);
            let revision = Arc::new(Revision {
                name: name.clone(),
                hash: hash.clone(),
                number: newest.saturating_add(1),
                template: Arc::new(wanted.template.clone()),
                claim_names: Some(wanted.claim_names.clone()),
                claim_sizes: wanted.claim_sizes.clone(),
            });
            actions.push(RevisionAction::Create { name, hash, number: revision.number, data: Arc::new(data) });
            known.push(Arc::clone(&revision));
            revision
        }
    };
    let same_as_update = match invalid_template {
        None => same_as(&update, snapshot, &known, wanted),
        Some(_) => Vec::new(),
    };
    let current = current(snapshot, &known, &update);
    Revisions { current, update, known, same_as_update, actions, collision_count, invalid_template }
}

/// Other revisions than the update revision that mean the same, of those that Pods' labels name.
fn same_as(update: &Revision, snapshot: &Snapshot, known: &[Arc<Revision>], wanted: &Wanted) -> Vec<Box<str>> {
    let is_in_use = |revision: &Revision| {
        let mut pods = snapshot.pods.values().chain(snapshot.orphans.values());
        pods.any(|pod| is_named(revision, pod.revision_label()))
    };
    let others = known.iter().filter(|revision| revision.name != update.name && is_in_use(revision));
    let same = others.filter(|revision| {
        wanted.same_claims(revision) && differences(&revision.template, &update.template).is_empty()
    });
    same.map(|revision| revision.name.clone()).collect()
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
        if let Some(index) = known.iter().position(|revision| is_named(revision, label)) {
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
