//! What the apiserver said that Pods can take in place, and which nodes have a customised kubelet.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use super::backoff::{self, Chance};
use super::cache::{Scope, SharedStore};
use super::client::WATCH_SECONDS;
use super::queue::Queue;
use crate::api::names;
use crate::model::{Abilities, Can, FieldKind, Nodes};

/// What an apiserver takes, it goes on taking until it is another one.
const YES_KEPT: Duration = Duration::from_secs(3600);
const NO_KEPT: Duration = Duration::from_secs(600);
/// A webhook that knows no dry runs hid the answer: the real patch tells, for this long.
const UNTOLD_KEPT: Duration = Duration::from_secs(60);
/// How often the apiserver's version is read: another one may take other fields.
const VERSION_PERIOD: Duration = Duration::from_secs(60);
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to try again to list nodes, where that is forbidden.
const FORBIDDEN_PERIOD: Duration = Duration::from_secs(60);

/// How it is known what the cluster's Pods can take in place: the flag `--in-place`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InPlace {
    /// Found out by dry runs, and by the nodes' label.
    #[default]
    Auto,
    /// What every Kubernetes takes.
    Stock,
    /// Everything that can be made to work, on every node.
    Customised,
    /// These kinds of field on top of what every Kubernetes takes, on every node.
    Fields(Vec<FieldKind>),
}

impl std::str::FromStr for InPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(InPlace::Auto),
            "stock" => return Ok(InPlace::Stock),
            "customised" => return Ok(InPlace::Customised),
            _ => {}
        }
        let known = |name: &str| FieldKind::of_name(name).filter(|kind| FieldKind::CUSTOMISED.contains(kind));
        let parts = text.split(',').map(str::trim);
        let kinds: Result<Vec<FieldKind>, &str> = parts.map(|name| known(name).ok_or(name)).collect();
        kinds.map(InPlace::Fields).map_err(|unknown| {
            let names = FieldKind::CUSTOMISED.map(FieldKind::name).join(", ");
            format!("{unknown:?} is not known: use auto, stock, customised, or some of {names} with commas between")
        })
    }
}

/// What was found, for all sets.
#[derive(Default)]
pub struct AbilityCache {
    setting: InPlace,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    version: Option<String>,
    answers: BTreeMap<FieldKind, (Can, Instant)>,
    /// `None`: not listed yet.
    nodes: Option<Nodes>,
}

impl AbilityCache {
    pub fn new(setting: InPlace) -> Self {
        AbilityCache { setting, found: Mutex::default() }
    }

    /// Whether dry runs and nodes tell, and not a flag.
    pub fn is_auto(&self) -> bool {
        self.setting == InPlace::Auto
    }

    /// The nodes were listed once, or cannot be, or do not matter.
    pub fn is_synced(&self) -> bool {
        !self.is_auto() || self.found().nodes.is_some()
    }

    /// What is known now.
    pub fn abilities(&self) -> Abilities {
        let now = Instant::now();
        let mut found = self.found();
        found.answers.retain(|_, (_, until)| *until > now);
        let mut by_flag = match &self.setting {
            InPlace::Stock => Abilities::stock(),
            InPlace::Customised => Abilities::customised(),
            InPlace::Fields(kinds) => Abilities::by_hand(kinds.iter().copied()),
            InPlace::Auto => {
                return Abilities {
                    apiserver: found.answers.iter().map(|(kind, (can, _))| (*kind, can.clone())).collect(),
                    nodes: found.nodes.clone().unwrap_or(Nodes::Unreadable),
                    by_hand: BTreeSet::new(),
                };
            }
        };
        // The flag cannot speak of resizes: some clusters do not have them.
        let resize = found.answers.get(&FieldKind::Resize);
        by_flag.apiserver.extend(resize.map(|(can, _)| (FieldKind::Resize, can.clone())));
        by_flag
    }

    /// The apiserver took these kinds of field.
    pub fn takes(&self, kinds: &[FieldKind]) {
        self.learn(kinds, &Can::Yes, YES_KEPT);
    }

    /// The apiserver refused these kinds of field.
    pub fn refuses(&self, kinds: &[FieldKind]) {
        self.learn(kinds, &Can::No("this apiserver does not take it".into()), NO_KEPT);
    }

    /// A webhook kept the apiserver from telling.
    pub fn cannot_tell(&self, kinds: &[FieldKind]) {
        self.learn(kinds, &Can::Yes, UNTOLD_KEPT);
    }

    fn learn(&self, kinds: &[FieldKind], can: &Can, kept: Duration) {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        tracing::info!(kinds = names.join(","), answer = ?can, "the apiserver was asked what it takes in place");
        let until = Instant::now() + kept;
        self.found().answers.extend(kinds.iter().map(|kind| (*kind, (can.clone(), until))));
    }

    /// What another version said does not count.
    fn version_is(&self, version: String) {
        let mut found = self.found();
        if found.version.as_ref().is_some_and(|old| *old != version) {
            found.answers.clear();
        }
        found.version = Some(version);
    }

    /// Which nodes have a customised kubelet. True where this is news.
    pub fn nodes_are(&self, nodes: Nodes) -> bool {
        let mut found = self.found();
        let news = found.nodes.as_ref() != Some(&nodes);
        found.nodes = Some(nodes);
        news
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the apiserver's version from time to time, until it is dropped.
pub async fn watch_version(client: Client, abilities: Arc<AbilityCache>) {
    loop {
        match tokio::time::timeout(VERSION_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(version)) => abilities.version_is(version.git_version),
            Ok(Err(error)) => tracing::debug!("the apiserver's version cannot be read: {error}"),
            Err(_) => tracing::debug!("the apiserver did not tell its version in time"),
        }
        tokio::time::sleep(VERSION_PERIOD).await;
    }
}

/// Keeps the names of the nodes with a customised kubelet up to date, until it is dropped. Metadata
/// of the labelled ones is all that is read.
pub async fn watch_nodes(client: Client, abilities: Arc<AbilityCache>, everyone: Everyone, chance: Chance) {
    let api: Api<PartialObjectMeta<Node>> = Api::all(client);
    let selector = format!("{}=true", names::CUSTOMISED_KUBELET_LABEL);
    let config = Config { timeout: Some(WATCH_SECONDS), ..Config::default().labels(&selector) };
    let mut stream = pin!(watcher(api, config));
    let mut listed: Option<BTreeSet<Box<str>>> = None;
    let mut known: BTreeSet<Box<str>> = BTreeSet::new();
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = Some(BTreeSet::new()),
            Ok(Event::InitApply(node)) => drop(listed.get_or_insert_default().insert(node.name_any().into())),
            Ok(Event::InitDone) => known = listed.take().unwrap_or_default(),
            Ok(Event::Apply(node)) => drop(known.insert(node.name_any().into())),
            Ok(Event::Delete(node)) => drop(known.remove(node.name_any().as_str())),
            Err(error) => {
                failures += 1;
                if is_forbidden(&error) {
                    tracing::warn!("nodes cannot be listed, so each counts as one with a stock kubelet: {error}");
                    everyone.tell(abilities.nodes_are(Nodes::Unreadable));
                    tokio::time::sleep(FORBIDDEN_PERIOD).await;
                } else {
                    tracing::debug!("the watch of nodes failed: {error}");
                    tokio::time::sleep(chance.delay(failures, backoff::WATCHES)).await;
                }
                continue;
            }
        }
        failures = 0;
        if listed.is_none() {
            everyone.tell(abilities.nodes_are(Nodes::Labelled(Arc::new(known.clone()))));
        }
    }
}

fn is_forbidden(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code == 403
        }
        _ => false,
    }
}

/// All sets.
pub struct Everyone {
    pub scopes: Vec<Scope>,
    pub store: Arc<SharedStore>,
    pub queue: Arc<Queue>,
}

impl Everyone {
    /// Each is to be looked at, where something is new.
    fn tell(&self, news: bool) {
        if news {
            let keys = self.store.lock().set_keys(&self.scopes);
            for key in keys {
                self.queue.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_place_is_parsed() {
        assert_eq!("auto".parse(), Ok(InPlace::Auto));
        assert_eq!("env, probes".parse(), Ok(InPlace::Fields(vec![FieldKind::Env, FieldKind::Probes])));
        for kind in FieldKind::CUSTOMISED {
            assert_eq!(kind.name().parse(), Ok(InPlace::Fields(vec![kind])));
        }
        assert!("env,hostPath".parse::<InPlace>().is_err_and(|error| error.contains("hostPath")));
        assert!("resize".parse::<InPlace>().is_err(), "every Kubernetes has it");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_after_a_while() {
        let cache = AbilityCache::new(InPlace::Auto);
        assert_eq!(cache.abilities().of(FieldKind::Env, None), Can::Unknown);
        cache.refuses(&[FieldKind::Env]);
        cache.takes(&[FieldKind::Probes]);
        assert!(matches!(cache.abilities().of(FieldKind::Env, None), Can::No(_)));
        tokio::time::advance(NO_KEPT + Duration::from_secs(1)).await;
        assert_eq!(cache.abilities().of(FieldKind::Env, None), Can::Unknown);
        assert_eq!(cache.abilities().of(FieldKind::Probes, None), Can::Yes);
    }

    #[tokio::test]
    async fn a_cluster_that_cannot_resize_is_one_whatever_the_flag_says() {
        for setting in [InPlace::Auto, InPlace::Stock, InPlace::Customised, InPlace::Fields(vec![FieldKind::Env])] {
            let cache = AbilityCache::new(setting);
            assert_eq!(cache.abilities().of(FieldKind::Resize, Some("any")), Can::Yes);
            cache.refuses(&[FieldKind::Resize]);
            assert!(matches!(cache.abilities().of(FieldKind::Resize, Some("any")), Can::No(_)));
        }
    }

    #[tokio::test]
    async fn another_version_is_asked_anew() {
        let cache = AbilityCache::new(InPlace::Auto);
        cache.version_is("v1.36.1".to_owned());
        cache.takes(&[FieldKind::Env]);
        cache.version_is("v1.36.1".to_owned());
        assert_eq!(cache.abilities().of(FieldKind::Env, None), Can::Yes);
        cache.version_is("v1.37.2".to_owned());
        assert_eq!(cache.abilities().of(FieldKind::Env, None), Can::Unknown);
    }

    #[tokio::test]
    async fn nothing_is_begun_before_the_nodes_are_known() {
        let cache = AbilityCache::new(InPlace::Auto);
        assert!(!cache.is_synced());
        let one = || Nodes::Labelled(Arc::new(["a".into()].into()));
        assert!(cache.nodes_are(one()) && !cache.nodes_are(one()), "news, and then none");
        assert!(cache.is_synced() && AbilityCache::new(InPlace::Stock).is_synced());
    }
}
