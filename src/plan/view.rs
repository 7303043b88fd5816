//! The Pods of a set, sorted into slots, condemned ones, and what stands in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::action::Question;
use super::revisions::{Revision, Revisions, claims_of_pod};
use crate::api::names;
use crate::inplace::defaults::with_defaults;
use crate::inplace::project::template_of_pod;
use crate::inplace::state::InPlaceState;
use crate::inplace::{Change, Contents, Rules};
use crate::model::{Hooks, Ordinal, PodFacts, Ranges, Snapshot, ValidSpec};

/// One ordinal of the set, and who holds it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Counted from the lowest slot.
    pub index: usize,
    pub ordinal: Ordinal,
    pub name: Box<str>,
    pub holder: Holder,
    /// Not to be changed by a rollout: below the partition, or the last in priority order.
    pub held: bool,
    /// `status.updatedOrdinals` has it, for the present update revision.
    pub was_updated: bool,
}

#[derive(Clone, Debug)]
pub enum Holder {
    Nobody,
    Member(Member),
    /// An orphan that is being adopted.
    Adopting,
    /// Someone else's Pod, in words that follow "Pod web-0".
    Foreign(String),
}

/// A Pod of the set.
#[derive(Clone, Debug)]
pub struct Member {
    pub pod: Arc<PodFacts>,
    pub on: On,
    /// A resize was begun and not ended: it may have other resources than its revision gives it.
    pub half_resized: bool,
}

/// What a Pod was made from.
#[derive(Clone, Debug)]
pub enum On {
    Known(Arc<Revision>),
    /// The label names no revision: what the Pod itself shows.
    Shown(Arc<Shown>),
}

/// What a Pod shows that it was made from.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub template: Value,
    pub claim_names: Vec<Box<str>>,
}

impl Member {
    /// It is what the revision makes, in all parts.
    pub fn is_on(&self, revision: &Revision) -> bool {
        !self.half_resized && self.is_made_from(revision)
    }

    /// The same, but for what a resize that was begun may have left.
    pub fn is_made_from(&self, revision: &Revision) -> bool {
        matches!(&self.on, On::Known(on) if on.hash == revision.hash)
    }

    /// The revision that the Pod is on and whose hash its label does not hold: a native full name, or none.
    pub fn unlabelled(&self) -> Option<&Arc<Revision>> {
        match &self.on {
            On::Known(on) if &*on.hash != self.pod.revision_label() => Some(on),
            _ => None,
        }
    }

    pub fn template(&self) -> &Value {
        match &self.on {
            On::Known(revision) => &revision.template,
            On::Shown(shown) => &shown.template,
        }
    }

    pub fn claim_names<'a>(&'a self, when_unknown: &'a [Box<str>]) -> &'a [Box<str>] {
        match &self.on {
            On::Known(revision) => revision.claim_names.as_deref().unwrap_or(when_unknown),
            On::Shown(shown) => &shown.claim_names,
        }
    }
}

impl Slot {
    pub fn member(&self) -> Option<&Member> {
        match &self.holder {
            Holder::Member(member) => Some(member),
            _ => None,
        }
    }

    pub fn pod(&self) -> Option<&Arc<PodFacts>> {
        self.member().map(|member| &member.pod)
    }
}

/// All Pods that a plan looks at.
#[derive(Debug)]
pub struct View {
    /// By ascending ordinal.
    pub slots: Vec<Slot>,
    /// Pods of the set whose ordinal is no slot, by ascending ordinal.
    pub condemned: Vec<(Ordinal, Arc<PodFacts>)>,
    /// Orphans to adopt.
    pub adopt: Vec<Arc<PodFacts>>,
    /// Pods of ours that the selector does not match any more.
    pub release: Vec<Arc<PodFacts>>,
    pub now: Timestamp,
    pub min_ready_seconds: i64,
    pub hooks: Hooks,
}

impl View {
    pub fn is_available(&self, pod: &PodFacts) -> bool {
        pod.is_available(self.min_ready_seconds, self.now) && self.hooks.let_count(pod)
    }

    pub fn slot_is_available(&self, slot: &Slot) -> bool {
        slot.pod().is_some_and(|pod| self.is_available(pod))
    }

    /// The slots that have no available Pod.
    pub fn unavailable(&self) -> impl Iterator<Item = Ordinal> {
        self.slots.iter().filter(|slot| !self.slot_is_available(slot)).map(|slot| slot.ordinal)
    }

    pub fn slot(&self, ordinal: Ordinal) -> Option<&Slot> {
        self.slots.binary_search_by_key(&ordinal, |slot| slot.ordinal).ok().map(|index| &self.slots[index])
    }

    /// Questions about Pods whose label names no known revision, or the view.
    pub fn build(snapshot: &Snapshot, spec: &ValidSpec, revisions: &Revisions) -> Result<View, Vec<Question>> {
        let mut view = View {
            slots: Vec::with_capacity(spec.slots.len()),
            condemned: Vec::new(),
            adopt: Vec::new(),
            release: Vec::new(),
            now: snapshot.now,
            min_ready_seconds: spec.min_ready_seconds,
            hooks: spec.hooks.clone(),
        };
        let mut questions = Vec::new();
        let mut members: BTreeMap<Ordinal, Member> = BTreeMap::new();
        for pod in snapshot.pods.values() {
            let ordinal = pod.ordinal_of(&snapshot.set.name);
            match ordinal.filter(|_| spec.selector.matches_map(&pod.labels)) {
                None => view.release.push(Arc::clone(pod)),
                Some(ordinal) if !spec.slots.contains(ordinal) => view.condemned.push((ordinal, Arc::clone(pod))),
                Some(ordinal) => {
                    match resolve(snapshot, revisions, pod) {
                        Ok(on) => {
                            let half_resized = InPlaceState::resizing_of(pod).is_some();
                            members.insert(ordinal, Member { pod: Arc::clone(pod), on, half_resized })
                        }
                        Err(question) => {
                            questions.push(question);
                            None
                        }
                    };
                }
            }
        }
        if !questions.is_empty() {
            return Err(questions);
        }
        view.condemned.sort_by_key(|(ordinal, _)| *ordinal);
        view.adopt = snapshot.orphans.values().filter(|pod| may_adopt(snapshot, spec, pod)).cloned().collect();
        let updated = updated_before(snapshot, revisions);
        for (index, ordinal) in spec.slots.ordinals().iter().enumerate() {
            let name: Box<str> = format!("{}-{ordinal}", snapshot.set.name).into();
            let holder = members.remove(ordinal).map_or_else(|| stranger(snapshot, spec, &name), Holder::Member);
            let was_updated = updated.contains(*ordinal);
            view.slots.push(Slot { index, ordinal: *ordinal, name, holder, held: false, was_updated });
        }
        Ok(view)
    }
}

/// The ordinals that were on the update revision when the status was written.
fn updated_before(snapshot: &Snapshot, revisions: &Revisions) -> Ranges {
    let status = &snapshot.set.status;
    match &status.updated_ordinals {
        Some(text) if status.update_revision.as_deref() == Some(&*revisions.update.name) => Ranges::parse_text(text),
        _ => Ranges::default(),
    }
}

fn may_adopt(snapshot: &Snapshot, spec: &ValidSpec, pod: &PodFacts) -> bool {
    !pod.is_terminating() && pod.ordinal_of(&snapshot.set.name).is_some() && spec.selector.matches_map(&pod.labels)
}

/// Who, if not a member, holds this name.
fn stranger(snapshot: &Snapshot, spec: &ValidSpec, name: &str) -> Holder {
    if let Some(orphan) = snapshot.orphans.get(name) {
        return if may_adopt(snapshot, spec, orphan) {
            Holder::Adopting
        } else if orphan.is_terminating() {
            Holder::Foreign("has no controller and is being deleted".into())
        } else {
            Holder::Foreign("has no controller, and labels that the selector does not match".into())
        };
    }
    if let Some(pod) = snapshot.foreign.get(name) {
        let owner = pod.controller.as_ref().map_or_else(
            || "another object".to_owned(),
            |owner| format!("{} {} (UID {})", owner.kind, owner.name, owner.uid),
        );
        return Holder::Foreign(format!("is controlled by {owner}"));
    }
    match snapshot.pods.get(name) {
        Some(_) => Holder::Foreign("is being released: the selector does not match it".into()),
        None => Holder::Nobody,
    }
}

/// What a Pod was made from, by its label, else by the Pod itself.
fn resolve(snapshot: &Snapshot, revisions: &Revisions, pod: &PodFacts) -> Result<On, Question> {
    if let Some(revision) = revisions.by_label(pod.revision_label()) {
        return Ok(On::Known(Arc::clone(revision)));
    }
    if pod.is_terminating() {
        return Ok(On::Shown(Arc::default()));
    }
    let Some(whole) = snapshot.answers.whole_pods.get(&pod.uid) else {
        return Err(Question::WholePod { name: pod.name.clone(), uid: pod.uid.clone() });
    };
    for revision in [&revisions.update, &revisions.current] {
        let wanted = with_defaults(&revision.template);
        let shown = template_of_pod(whole, &wanted);
        let contents = |template| Contents { template, claims: &[] };
        let claims = claims_of_pod(whole, &revision.template);
        let same_claims = revision.claim_names.as_ref().is_none_or(|names| same_names(names, &claims));
        if same_claims && Change::between(contents(&shown), contents(&wanted), &Rules::default()).differences.is_empty()
        {
            return Ok(On::Known(Arc::clone(revision)));
        }
    }
    Ok(On::Shown(Arc::new(Shown {
        template: template_of_pod(whole, &with_defaults(&revisions.update.template)),
        claim_names: claims_of_pod(whole, &revisions.update.template),
    })))
}

fn same_names(left: &[Box<str>], right: &[Box<str>]) -> bool {
    left.len() == right.len() && left.iter().all(|name| right.contains(name))
}

/// The hostname and the pod-name label of a Pod: its name where that is valid, else a shortened
/// form with a hash, which is stable and different for each Pod.
pub fn short_name(pod_name: &str, dots_allowed: bool) -> String {
    let fits = pod_name.len() <= names::LABEL_VALUE_BYTES_MAX && (dots_allowed || !pod_name.contains('.'));
    if fits {
        return pod_name.to_owned();
    }
    let (set, ordinal) = pod_name.rsplit_once('-').unwrap_or((pod_name, "0"));
    let hash = crate::model::revision::hash_text(pod_name, 10);
    let room = names::LABEL_VALUE_BYTES_MAX.saturating_sub(hash.len() + ordinal.len() + 2);
    let prefix: String = set.chars().map(|letter| if letter == '.' { '-' } else { letter }).take(room).collect();
    format!("{}-{hash}-{ordinal}", prefix.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_the_pods_name_where_that_is_valid() {
        assert_eq!(short_name("web-0", false), "web-0");
        assert_eq!(short_name("my.web-0", true), "my.web-0");
    }

    #[test]
    fn a_long_or_dotted_name_is_shortened_to_something_valid_and_unique() {
        let one = format!("{}-3", "a".repeat(180));
        let other = format!("{}b-3", "a".repeat(180));
        for name in [one.as_str(), other.as_str(), "my.web-0"] {
            let short = short_name(name, false);
            assert!(short.len() <= 63, "{short}");
            assert!(!short.contains('.') && !short.starts_with('-') && !short.ends_with('-'), "{short}");
        }
        assert_ne!(short_name(&one, false), short_name(&other, false));
        assert_ne!(short_name("my.web-0", false), short_name("my-web-0", false));
    }
}
