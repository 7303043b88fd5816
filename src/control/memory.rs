//! What is remembered of one set between two looks at it. All of it can be lost without harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::apply::AtOnce;
use super::backoff::{self, Chance};
use super::error::{CallError, Failure, Refused};
use super::inflight::Inflight;
use crate::inplace::Heard;
use crate::model::snapshot::{HeldUpdate, Refusal};
use crate::model::{Abilities, Can, FieldKind, PodFacts};

/// A refused in-place patch is tried again after this time: the cluster may have changed.
const REFUSED_PATCH_KEPT: Duration = Duration::from_secs(600);
/// A dry run that a policy denied is made again after this time.
const DENIAL_KEPT: Duration = Duration::from_secs(25);
/// After a refused update, others to the same revision are tried by a dry run first for this long.
const HELD_UPDATE_KEPT: Duration = Duration::from_secs(3600);
/// How soon after a denial an update is tried by a dry run, at first and at most: one that passes dry runs and is
/// denied all the same must not take Pods out of service over and over.
const DENIED_UPDATE_PAUSE: Duration = Duration::from_secs(15);
const DENIED_UPDATE_PAUSE_MAX: Duration = Duration::from_secs(600);
/// A node keeps an image that nothing uses for longer than this, unless its disk is full.
const PULLED_IMAGE_KEPT: Duration = Duration::from_secs(600);
const PULLED_IMAGES_MAX: usize = 2000;
/// Most refusals of a set whose words are kept.
const REFUSALS_MAX: usize = 100;
/// Most refused writes of a set whose pauses are kept.
const HELD_MAX: usize = 4096;

/// Writes of one sort: what refuses some of them likely refuses the others too.
pub type Sort = &'static str;
/// Pods and claims that are made.
pub const CREATES: Sort = "creates";
/// Labels, annotations and tolerations of Pods.
pub const LABELS: Sort = "labels";
/// Revisions.
pub const REVISIONS: Sort = "revisions";

/// Most bytes of whole Pods that are kept of a set.
const WHOLE_PODS_BYTES_MAX: usize = 8 << 20;

/// A Pod's UID and a revision's hash.
type PodAndRevision = (Box<str>, Box<str>);

/// A node's name and an image.
type NodeAndImage = (Box<str>, Box<str>);

/// What is remembered of one set.
#[derive(Debug, Default)]
pub struct SetMemory {
    /// Whose memory it is: a set made anew under the same name starts with none.
    pub uid: Box<str>,
    pub inflight: Inflight,
    pub refusals: Refusals,
    refused_patches: BTreeMap<PodAndRevision, (Box<str>, Instant)>,
    /// By revision hash.
    held_updates: BTreeMap<Box<str>, RefusedUpdate>,
    /// Dry runs that a policy denied: they say nothing about other sets.
    denials: BTreeMap<FieldKind, (Can, Instant)>,
    pulled_images: BTreeMap<NodeAndImage, Instant>,
    pub heard: Heard,
    /// Hashes of the templates that were asked about.
    pub templates: BTreeSet<Box<str>>,
    pub creates_at_once: AtOnce,
    pub whole_pods: WholePods,
    pub status_written_at: Option<Instant>,
    /// The last report about a set that cannot be understood.
    pub reported: Option<(i64, String)>,
}

/// What is remembered of refused updates in place to one revision.
#[derive(Debug)]
struct RefusedUpdate {
    /// A denial's reason and message, and until when nothing is tried.
    denied: Option<(Box<str>, Box<str>, Instant)>,
    /// How often it was denied when a Pod was out of service for it.
    tries: u32,
    since: Instant,
}

impl SetMemory {
    pub fn of(uid: &str) -> Self {
        SetMemory { uid: uid.into(), ..SetMemory::default() }
    }

    /// The apiserver will not take the patch of this Pod to this revision.
    pub fn refuse_patch(&mut self, uid: &str, revision: &str, message: &str) {
        self.refused_patches.insert((uid.into(), revision.into()), (message.into(), Instant::now()));
        let update = self.refused_update(revision);
        update.denied = None;
    }

    /// A policy or a lacking right denied an update in place to this revision, or its dry run.
    pub fn deny_update(&mut self, revision: &str, reason: &str, message: &str, dry_run: bool) {
        let update = self.refused_update(revision);
        update.tries = update.tries.saturating_add(u32::from(!dry_run));
        let doubled = if dry_run { 1 } else { 2u32.saturating_pow(update.tries.saturating_sub(1)) };
        let pause = DENIED_UPDATE_PAUSE.saturating_mul(doubled).min(DENIED_UPDATE_PAUSE_MAX);
        update.denied = Some((reason.into(), message.into(), Instant::now() + pause));
    }

    fn refused_update(&mut self, revision: &str) -> &mut RefusedUpdate {
        let since = Instant::now();
        let fresh = || RefusedUpdate { denied: None, tries: 0, since };
        let update = self.held_updates.entry(revision.into()).or_insert_with(fresh);
        update.since = since;
        update
    }

    /// The updates that are not begun now, or not without a dry run.
    pub fn held_updates(&mut self) -> BTreeMap<Box<str>, HeldUpdate> {
        self.held_updates.retain(|_, update| update.since.elapsed() < HELD_UPDATE_KEPT);
        let now = Instant::now();
        let held = |update: &RefusedUpdate| match &update.denied {
            Some((reason, message, until)) if *until > now => {
                HeldUpdate::Denied { reason: reason.clone(), message: message.clone() }
            }
            _ => HeldUpdate::Ask,
        };
        self.held_updates.iter().map(|(revision, update)| (revision.clone(), held(update))).collect()
    }

    /// A policy denied the dry run of a patch of these kinds of field.
    pub fn deny(&mut self, kinds: &[FieldKind], reason: &str, message: &str) {
        let denied = || Can::Denied { reason: reason.into(), message: message.into() };
        self.denials.extend(kinds.iter().map(|kind| (*kind, (denied(), Instant::now()))));
    }

    /// Puts the denials that still count where nothing is known.
    pub fn add_denials(&mut self, abilities: &mut Abilities) {
        self.denials.retain(|_, (_, since)| since.elapsed() < DENIAL_KEPT);
        for (kind, (denied, _)) in &self.denials {
            abilities.apiserver.entry(*kind).or_insert_with(|| denied.clone());
        }
    }

    /// The refused patches that still count.
    pub fn refused_patches(&mut self) -> BTreeMap<PodAndRevision, Box<str>> {
        self.refused_patches.retain(|_, (_, since)| since.elapsed() < REFUSED_PATCH_KEPT);
        self.refused_patches.iter().map(|(key, (message, _))| (key.clone(), message.clone())).collect()
    }
}

impl SetMemory {
    /// Helpers have made nodes pull these images.
    pub fn remember_pulled(&mut self, pulled: &[NodeAndImage]) {
        if self.pulled_images.len() < PULLED_IMAGES_MAX {
            self.pulled_images.extend(pulled.iter().map(|pair| (pair.clone(), Instant::now())));
        }
    }

    /// Those that the nodes still have, as far as can be told.
    pub fn pulled_images(&mut self) -> BTreeSet<NodeAndImage> {
        self.pulled_images.retain(|_, since| since.elapsed() < PULLED_IMAGE_KEPT);
        self.pulled_images.keys().cloned().collect()
    }
}

/// Whole Pods that were read, until they change.
#[derive(Debug, Default)]
pub struct WholePods {
    kept: BTreeMap<Box<str>, WholePod>,
    bytes: usize,
}

/// As text, which takes a fraction of the room.
#[derive(Debug)]
struct WholePod {
    uid: Box<str>,
    resource_version: Box<str>,
    text: Box<str>,
}

impl WholePod {
    fn is_of(&self, pod: &PodFacts) -> bool {
        self.uid == pod.uid && self.resource_version == pod.resource_version
    }
}

impl WholePods {
    /// The Pod as it was read, where it is still that.
    pub fn get(&self, pod: &PodFacts) -> Option<Value> {
        let kept = self.kept.get(&pod.name).filter(|kept| kept.is_of(pod))?;
        serde_json::from_str(&kept.text).ok()
    }

    /// Keeps a Pod, where there is room.
    pub fn put(&mut self, name: &str, pod: &Value) {
        self.remove(name);
        let text = pod.to_string().into_boxed_str();
        let field = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().into();
        if self.bytes.saturating_add(text.len()) <= WHOLE_PODS_BYTES_MAX {
            self.bytes += text.len();
            let (uid, resource_version) = (field("/metadata/uid"), field("/metadata/resourceVersion"));
            self.kept.insert(name.into(), WholePod { uid, resource_version, text });
        }
    }

    /// Forgets those that have changed or are gone.
    pub fn keep_only(&mut self, pods: &BTreeMap<Box<str>, Arc<PodFacts>>) {
        self.kept.retain(|name, kept| pods.get(name).is_some_and(|pod| kept.is_of(pod)));
        self.bytes = self.kept.values().map(|kept| kept.text.len()).sum();
    }

    fn remove(&mut self, name: &str) {
        if let Some(old) = self.kept.remove(name) {
            self.bytes = self.bytes.saturating_sub(old.text.len());
        }
    }
}

/// Writes of one set that were refused and not made since, and when to try them again.
#[derive(Debug, Default)]
pub struct Refusals {
    held: BTreeMap<String, Held>,
    pauses: BTreeMap<Sort, Pause>,
}

#[derive(Debug)]
struct Held {
    sort: Sort,
    /// `None`: enough others are told of.
    refusal: Option<Refusal>,
    tries: u32,
    retry_at: Instant,
}

/// Of all writes of a sort.
#[derive(Debug)]
struct Pause {
    /// How often in a row.
    rounds: u32,
    until: Instant,
}

impl Refusals {
    /// The write of `object` was refused.
    pub fn refused(&mut self, object: &str, sort: Sort, error: &CallError, chance: &Chance) {
        let Failure::Refused(refused) = error.failure else { return };
        let known = self.held.get(object);
        if known.is_none() && self.held.len() >= HELD_MAX {
            return;
        }
        let is_told = known.is_some_and(|held| held.refusal.is_some())
            || self.held.values().filter(|held| held.refusal.is_some()).count() < REFUSALS_MAX;
        let tries = self.tries(object).saturating_add(1);
        let pause = error.retry_after.unwrap_or_else(|| chance.delay(tries, backoff::REFUSALS));
        let refusal = is_told.then(|| Refusal {
            object: object.to_owned(),
            reason: refused.reason().to_owned(),
            message: error.message.clone(),
        });
        self.held.insert(object.to_owned(), Held { sort, refusal, tries, retry_at: Instant::now() + pause });
    }

    /// The write of `object` was made.
    pub fn made(&mut self, object: &str) {
        self.held.remove(object);
    }

    /// Writes of this sort were refused for a cause that others may share: all of the sort pause, longer each time.
    pub fn pause(&mut self, sort: Sort, chance: &Chance) {
        let pause = self.pauses.entry(sort).or_insert_with(|| Pause { rounds: 0, until: Instant::now() });
        pause.rounds = pause.rounds.saturating_add(1);
        pause.until = Instant::now() + chance.delay(pause.rounds, backoff::REFUSALS);
    }

    /// Writes of this sort went well.
    pub fn resume(&mut self, sort: Sort) {
        self.pauses.remove(sort);
    }

    /// The sort does not pause.
    pub fn may_send(&self, sort: Sort) -> bool {
        self.pauses.get(sort).is_none_or(|pause| pause.until <= Instant::now())
    }

    /// The pause after the last refusal of this object is over, or there was none. Where no more can be remembered,
    /// others wait with those that are.
    pub fn may_try(&self, object: &str) -> bool {
        let now = Instant::now();
        match self.held.get(object) {
            Some(held) => held.retry_at <= now,
            None => self.held.len() < HELD_MAX || self.held.values().any(|held| held.retry_at <= now),
        }
    }

    /// How often this object was refused in a row.
    pub fn tries(&self, object: &str) -> u32 {
        self.held.get(object).map_or(0, |held| held.tries)
    }

    /// Forgets what is not wanted any more.
    pub fn keep_only(&mut self, wanted: &BTreeSet<String>) {
        self.held.retain(|object, _| wanted.contains(object));
        self.pauses.retain(|sort, _| self.held.values().any(|held| held.sort == *sort));
    }

    pub fn list(&self) -> Vec<Refusal> {
        self.held.values().filter_map(|held| held.refusal.clone()).collect()
    }

    /// When something may be tried again.
    pub fn retry_after(&self) -> Option<Duration> {
        let now = Instant::now();
        let until = |held: &Held| self.pauses.get(held.sort).map_or(held.retry_at, |all| all.until.max(held.retry_at));
        let pauses = self.pauses.values().map(|pause| pause.until).filter(|until| *until > now);
        let soonest = self.held.values().map(until).chain(pauses).min()?;
        // What is due already was not tried in this round for a reason: do not spin.
        Some(soonest.saturating_duration_since(now).max(backoff::REFUSALS.first))
    }
}

/// Whether a refusal says something about other objects of the set too.
pub fn is_shared(refused: Refused) -> bool {
    refused != Refused::NameTaken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota() -> CallError {
        CallError {
            failure: Failure::Refused(Refused::QuotaExceeded),
            code: 403,
            verb: "create",
            object: "Pod web-0".to_owned(),
            message: "exceeded quota".to_owned(),
            retry_after: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_tried_again_and_told_until_it_is_made() {
        let mut refusals = Refusals::default();
        for _ in 0..12 {
            refusals.refused("Pod web-0", CREATES, &quota(), &Chance::system());
            assert!(!refusals.may_try("Pod web-0"));
            assert!(refusals.may_try("Pod web-1"));
            let pause = refusals.retry_after().unwrap();
            assert!(pause < Duration::from_secs(20), "it heals within 30 s of the cause's end: {pause:?}");
            tokio::time::advance(pause).await;
            assert!(refusals.may_try("Pod web-0"));
        }
        assert_eq!(refusals.list()[0].reason, "QuotaExceeded");
        refusals.made("Pod web-0");
        assert!(refusals.list().is_empty() && refusals.retry_after().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_wanted_any_more_is_forgotten() {
        let mut refusals = Refusals::default();
        refusals.refused("Pod web-0", CREATES, &quota(), &Chance::system());
        refusals.pause(CREATES, &Chance::system());
        assert!(!refusals.may_send(CREATES));
        refusals.keep_only(&BTreeSet::new());
        assert!(refusals.list().is_empty() && refusals.may_send(CREATES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sort_that_is_refused_pauses_longer_each_time_and_others_go_on() {
        let mut refusals = Refusals::default();
        refusals.refused("Pod web-0", "labels", &quota(), &Chance::system());
        let mut last = Duration::ZERO;
        for round in 0..8 {
            refusals.pause("labels", &Chance::system());
            assert!(!refusals.may_send("labels") && refusals.may_send("deletes") && refusals.may_try("Pod web-1"));
            last = refusals.retry_after().unwrap();
            assert!(last < Duration::from_secs(20), "{round}: {last:?}");
            tokio::time::advance(last).await;
            assert!(refusals.may_send("labels"), "what is to wake the set wakes it when something may be done");
        }
        assert!(last > Duration::from_secs(10), "it grows: {last:?}");
        refusals.resume("labels");
        refusals.pause("labels", &Chance::system());
        assert!(refusals.retry_after().unwrap() < Duration::from_secs(1), "and begins anew after a success");
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_very_many_refused_writes_pauses_and_some_are_told() {
        let mut refusals = Refusals::default();
        for number in 0..5000 {
            refusals.refused(&format!("Pod web-{number}"), "labels", &quota(), &Chance::system());
        }
        assert_eq!(refusals.list().len(), REFUSALS_MAX);
        assert!((0..5000).all(|number| !refusals.may_try(&format!("Pod web-{number}"))));
        tokio::time::advance(refusals.retry_after().unwrap()).await;
        assert!(refusals.may_try("Pod web-4999"), "one that is not remembered waits for the first of those that are");
    }

    #[test]
    fn whole_pods_are_kept_within_bounds() {
        let mut pods = WholePods::default();
        let pod = serde_json::json!({"metadata": {"uid": "u", "resourceVersion": "1", "x": "x".repeat(1 << 20)}});
        for number in 0..20 {
            pods.put(&format!("web-{number}"), &pod);
            pods.put("web-0", &pod);
        }
        assert_eq!(pods.kept.len(), 7, "of the eight that would fit, each has a few bytes more");
        assert!(pods.bytes <= WHOLE_PODS_BYTES_MAX);
        pods.keep_only(&BTreeMap::new());
        assert_eq!((pods.kept.len(), pods.bytes), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulled_image_is_remembered_for_a_while() {
        let mut memory = SetMemory::of("u");
        memory.remember_pulled(&[("node".into(), "app:v2".into())]);
        assert_eq!(memory.pulled_images().len(), 1);
        tokio::time::advance(PULLED_IMAGE_KEPT).await;
        assert!(memory.pulled_images().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_update_is_tried_by_a_dry_run_later_and_later_where_dry_runs_pass() {
        let mut memory = SetMemory::of("u");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            memory.deny_update("hash", "AdmissionDenied", "frozen", false);
            let begun = Instant::now();
            while memory.held_updates()["hash"] != HeldUpdate::Ask {
                tokio::time::advance(Duration::from_secs(15)).await;
            }
            pauses.push(begun.elapsed().as_secs());
        }
        assert_eq!(pauses[..3], [15, 30, 60]);
        assert_eq!(pauses[7], 600);
        memory.deny_update("hash", "AdmissionDenied", "frozen", true);
        tokio::time::advance(DENIED_UPDATE_PAUSE).await;
        assert_eq!(memory.held_updates()["hash"], HeldUpdate::Ask, "no Pod was out of service for it");
        tokio::time::advance(HELD_UPDATE_KEPT).await;
        assert!(memory.held_updates().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_update_is_asked_about_after_its_refusal_is_forgotten() {
        let mut memory = SetMemory::of("u");
        memory.refuse_patch("pod-uid", "hash", "no");
        tokio::time::advance(REFUSED_PATCH_KEPT).await;
        assert!(memory.refused_patches().is_empty());
        assert_eq!(memory.held_updates()["hash"], HeldUpdate::Ask);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_patch_counts_for_a_while() {
        let mut memory = SetMemory::of("u");
        memory.refuse_patch("pod-uid", "hash", "no");
        assert_eq!(memory.refused_patches().len(), 1);
        tokio::time::advance(REFUSED_PATCH_KEPT).await;
        assert!(memory.refused_patches().is_empty());
    }
}
