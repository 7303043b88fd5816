//! A record of every watch event of a namespace's Pods and claims, and checks over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use asts::api::names::READINESS_GATE;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::space::{is_ready, ordinal, pod_condition, pod_name, uid};
use super::{Context, Result, Space};
use crate::ensure;

const WATCH_SECONDS: u32 = 280;
const RETRY: Duration = Duration::from_millis(50);

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Seen<K> {
    Added(K),
    Changed(K),
    Gone(K),
}

impl<K> Seen<K> {
    pub fn object(&self) -> &K {
        match self {
            Seen::Added(object) | Seen::Changed(object) | Seen::Gone(object) => object,
        }
    }
}

/// With the time at which this process learnt of it.
#[derive(Clone, Debug)]
pub struct Entry<K> {
    pub at: Instant,
    pub seen: Seen<K>,
}

type Log<K> = Arc<Mutex<Vec<Entry<K>>>>;

/// The part of a recorder that its space keeps, to wait until it has caught up.
#[derive(Clone)]
pub struct PodLog(Log<Pod>);

impl PodLog {
    /// What the recorder has not seen yet of these Pods: they are all there are.
    pub fn lacks(&self, pods: &[Pod]) -> Result {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for entry in self.0.lock().map(|log| log.clone()).unwrap_or_default() {
            let pod = entry.seen.object();
            match &entry.seen {
                Seen::Gone(_) => last.remove(&uid(pod)),
                _ => last.insert(uid(pod), version(pod)),
            };
        }
        for pod in pods {
            let seen = last.remove(&uid(pod)).unwrap_or_default();
            ensure!(seen >= version(pod), "the recorder has not seen the last change of {}", pod_name(pod));
        }
        ensure!(last.is_empty(), "the recorder has not seen {} Pods go", last.len());
        Ok(())
    }
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Ends its watches when it goes.
pub struct Recorder {
    pods: Log<Pod>,
    claims: Log<PersistentVolumeClaim>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Recorder {
    pub async fn start(space: &Space) -> Result<Self> {
        let (pods, pod_task) = record(space, space.api()).await?;
        let (claims, claim_task) = record(space, space.api()).await?;
        space.follow(PodLog(pods.clone()));
        Ok(Self { pods, claims, tasks: vec![pod_task, claim_task] })
    }

    /// What has been seen of Pods so far.
    pub fn pods(&self) -> Vec<Seen<Pod>> {
        self.entries().into_iter().map(|entry| entry.seen).collect()
    }

    /// The same with the times.
    pub fn entries(&self) -> Vec<Entry<Pod>> {
        self.pods.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// When a Pod was first seen to be as the check wants it.
    pub fn first_time(&self, name: &str, what: &str, check: impl Fn(&Pod) -> bool) -> Result<Instant> {
        let entries = self.entries();
        let found = entries.iter().find(|entry| pod_name(entry.seen.object()) == name && check(entry.seen.object()));
        found.map(|entry| entry.at).context(format!("{name} seen {what}"))
    }

    /// The states of a set's Pods, by ordinal, after each event.
    pub fn states(&self, set: &str) -> Vec<BTreeMap<i64, Pod>> {
        let mut now = BTreeMap::new();
        let mut states = Vec::new();
        for seen in self.pods() {
            let pod = seen.object();
            let name = pod_name(pod);
            if name.rsplit_once('-').is_none_or(|(prefix, _)| prefix != set) {
                continue;
            }
            match &seen {
                Seen::Gone(_) => now.remove(&ordinal(name)),
                _ => now.insert(ordinal(name), pod.clone()),
            };
            states.push(now.clone());
        }
        states
    }

    /// The names of the Pods that were made, in that order.
    pub fn made(&self) -> Vec<String> {
        let added = |seen: &Seen<Pod>| match seen {
            Seen::Added(pod) => Some(pod_name(pod).to_owned()),
            _ => None,
        };
        self.pods().iter().filter_map(added).collect()
    }

    /// The names of the Pods whose deletion was asked for, in that order.
    pub fn told_to_go(&self) -> Vec<String> {
        let mut known = BTreeSet::new();
        let mut names = Vec::new();
        for seen in self.pods() {
            let pod = seen.object();
            let leaves = pod.metadata.deletion_timestamp.is_some() || matches!(seen, Seen::Gone(_));
            if leaves && known.insert(uid(pod)) {
                names.push(pod_name(pod).to_owned());
            }
        }
        names
    }

    /// The names of the Pods that a field's value first appeared on, in that order: the first look
    /// at a Pod tells where it began.
    pub fn changed_to(&self, field: impl Fn(&Pod) -> String, value: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for seen in self.pods() {
            let pod = seen.object();
            if field(pod) == value && !names.iter().any(|name| name == pod_name(pod)) {
                names.push(pod_name(pod).to_owned());
            }
        }
        names
    }

    /// The most Pods of these ordinals that were not Ready at the same time, since all were.
    pub fn worst_unready(&self, set: &str, ordinals: std::ops::Range<i64>) -> usize {
        let unready =
            |state: &BTreeMap<i64, Pod>| ordinals.clone().filter(|it| !state.get(it).is_some_and(is_ready)).count();
        let counts: Vec<usize> = self.states(set).iter().map(unready).collect();
        counts.into_iter().skip_while(|count| *count > 0).max().unwrap_or(usize::MAX)
    }

    /// The most Pods of these ordinals that the controller had taken down at the same time and that were not
    /// Ready again: deleted (but for those that were deleted by hand, given by UID) or closed while Ready.
    pub fn worst_taken_down(&self, set: &str, ordinals: std::ops::Range<i64>, by_hand: &BTreeSet<String>) -> usize {
        let (mut now, mut down): (BTreeMap<i64, Pod>, BTreeSet<i64>) = Default::default();
        let mut worst = 0;
        for seen in self.pods() {
            let pod = seen.object();
            let name = pod_name(pod);
            let number = ordinal(name);
            if name.rsplit_once('-').is_none_or(|(prefix, _)| prefix != set) || !ordinals.contains(&number) {
                continue;
            }
            let leaves = pod.metadata.deletion_timestamp.is_some() || matches!(seen, Seen::Gone(_));
            let serves = |pod: &Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none() && !is_closed(pod);
            let served = now.get(&number).is_some_and(|before| uid(before) == uid(pod) && serves(before));
            if served && ((leaves && !by_hand.contains(&uid(pod))) || is_closed(pod)) {
                down.insert(number);
            } else if !leaves && serves(pod) {
                down.remove(&number);
            }
            match &seen {
                Seen::Gone(_) => now.remove(&number),
                _ => now.insert(number, pod.clone()),
            };
            worst = worst.max(down.len());
        }
        worst
    }

    /// Never two Pods under one name, and no claim deleted.
    pub fn keeps_identity(&self) -> Result {
        let mut living: BTreeMap<String, String> = BTreeMap::new();
        for seen in self.pods() {
            let pod = seen.object();
            let name = pod_name(pod).to_owned();
            match &seen {
                Seen::Added(pod) => {
                    let before = living.insert(name.clone(), uid(pod));
                    ensure!(before.is_none(), "two Pods {name} at a time: {before:?} and {}", uid(pod));
                }
                Seen::Changed(_) => {}
                Seen::Gone(_) => {
                    living.remove(&name);
                }
            }
        }
        let claims = self.claims.lock().map(|log| log.clone()).unwrap_or_default();
        for Entry { seen, .. } in claims {
            let claim = seen.object();
            let leaves = claim.metadata.deletion_timestamp.is_some() || matches!(seen, Seen::Gone(_));
            ensure!(!leaves, "claim {} was deleted", claim.name_any());
        }
        Ok(())
    }
}

/// Taken out of service for an update.
fn is_closed(pod: &Pod) -> bool {
    pod_condition(pod, READINESS_GATE).is_some_and(|(status, _)| status == "False")
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Lists, then watches on from there; what is there already counts as added.
async fn record<K>(space: &Space, api: Api<K>) -> Result<(Log<K>, tokio::task::JoinHandle<()>)>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let list = api.list(&ListParams::default()).await?;
    let version = list.metadata.resource_version.context("the list's version")?;
    let log: Log<K> = Arc::new(Mutex::new(
        list.items.into_iter().map(|object| Entry { at: Instant::now(), seen: Seen::Added(object) }).collect(),
    ));
    let written = log.clone();
    let task = space.suite.runtime.spawn(async move {
        if let Err(failure) = follow(api, version, &written).await {
            eprintln!("a recorder ended: {failure}");
        }
    });
    Ok((log, task))
}

/// Watches again where a watch breaks off; where that version is too old by then, what happened in
/// between is seen as one step.
async fn follow<K>(api: Api<K>, mut version: String, log: &Log<K>) -> Result
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    loop {
        match watch(&api, &mut version, log).await? {
            Ended::BrokenOff => {}
            Ended::TooOld => match api.list(&ListParams::default()).await {
                Ok(list) => {
                    version = list.metadata.resource_version.clone().context("the list's version")?;
                    catch_up(list.items, log);
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            },
        }
    }
}

enum Ended {
    BrokenOff,
    TooOld,
}

async fn watch<K>(api: &Api<K>, version: &mut String, log: &Log<K>) -> Result<Ended>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
    let mut stream = match api.watch(&parameters, version).await {
        Ok(stream) => std::pin::pin!(stream),
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(Ended::TooOld),
        Err(_) => {
            tokio::time::sleep(RETRY).await;
            return Ok(Ended::BrokenOff);
        }
    };
    while let Some(event) = stream.next().await {
        let seen = match event {
            Ok(WatchEvent::Added(object)) => Seen::Added(object),
            Ok(WatchEvent::Modified(object)) => Seen::Changed(object),
            Ok(WatchEvent::Deleted(object)) => Seen::Gone(object),
            Ok(WatchEvent::Bookmark(mark)) => {
                *version = mark.metadata.resource_version;
                continue;
            }
            Ok(WatchEvent::Error(status)) if status.code == 410 => return Ok(Ended::TooOld),
            Ok(WatchEvent::Error(_)) | Err(_) => {
                tokio::time::sleep(RETRY).await;
                break;
            }
        };
        *version = seen.object().resource_version().context("an object's version")?;
        note(log, seen);
    }
    Ok(Ended::BrokenOff)
}

fn note<K>(log: &Log<K>, seen: Seen<K>) {
    if let Ok(mut log) = log.lock() {
        log.push(Entry { at: Instant::now(), seen });
    }
}

/// Notes what is different in the list from what was seen last: first what is gone.
fn catch_up<K: Resource + Clone>(list: Vec<K>, log: &Log<K>) {
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    for entry in log.lock().map(|log| log.clone()).unwrap_or_default() {
        let object = entry.seen.object().clone();
        let uid = object.uid().unwrap_or_default();
        match entry.seen {
            Seen::Gone(_) => known.remove(&uid),
            _ => known.insert(uid, object),
        };
    }
    let mut news = Vec::new();
    for object in list {
        match known.remove(&object.uid().unwrap_or_default()) {
            None => news.push(Seen::Added(object)),
            Some(old) if old.resource_version() != object.resource_version() => news.push(Seen::Changed(object)),
            Some(_) => {}
        }
    }
    known.into_values().map(Seen::Gone).chain(news).for_each(|seen| note(log, seen));
}
