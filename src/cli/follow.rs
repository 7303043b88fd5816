//! Reads a set with its Pods and revisions, once or as they change.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, future};
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::DefaultBackoff};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::connect::Session;
use super::error::CliError;
use super::seen::{Picture, PodSeen, RevisionSeen, controlled};
use super::target::Target;
use crate::api::{AdvancedStatefulSet, names};
use crate::model::{Selector, ValidSpec};

/// Most objects in one page of a list.
const PAGE_SIZE: u32 = 500;

/// What is heard of one object.
#[derive(Debug)]
pub enum News<K> {
    Is(Box<K>),
    /// It was deleted.
    Gone,
    /// The server cannot be heard for now, in words; it is tried again.
    Interrupted(String),
}

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>;

fn events<K>(api: Api<K>, config: watcher::Config) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    Box::pin(watcher(api, config.page_size(PAGE_SIZE)).backoff(DefaultBackoff::default()))
}

/// What a failed watch means: an error where trying again is no use, else words.
pub fn judged(error: watcher::Error) -> Result<String, CliError> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => match &error {
            kube::Error::Api(status) if [400, 401, 403, 404, 405].contains(&status.code) => Err(error.into()),
            _ => Ok(super::error::of_client(&error)),
        },
        WatchError(status) if [401, 403].contains(&status.code) => Err(kube::Error::Api(status).into()),
        // Too old by now: it begins anew by itself.
        WatchError(status) => Ok(status.message),
        other => Ok(other.to_string()),
    }
}

/// Follows one set by its name. It was there before: what is not found is gone.
pub fn one_set(
    session: &Session,
    target: &Target,
) -> impl Stream<Item = Result<News<AdvancedStatefulSet>, CliError>> + Send + use<> {
    let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
    let mut found = false;
    events(target.api(session), config).filter_map(move |event| {
        future::ready(match event {
            Ok(Event::Apply(set)) => Some(Ok(News::Is(Box::new(set)))),
            Ok(Event::InitApply(set)) => {
                found = true;
                Some(Ok(News::Is(Box::new(set))))
            }
            Ok(Event::Init) => {
                found = false;
                None
            }
            Ok(Event::InitDone) if found => None,
            Ok(Event::InitDone | Event::Delete(_)) => Some(Ok(News::Gone)),
            Err(error) => Some(judged(error).map(News::Interrupted)),
        })
    })
}

/// Reads the set with all that is its own. Where only the set can be read, what is missing is said in the picture.
pub async fn read(session: &Session, target: &Target) -> Result<Picture, CliError> {
    let set = target.api(session).get(&target.name).await?;
    let selected = ListParams::default().labels(&selector_text(&set));
    let mut unseen = Vec::new();
    let mut pods = listed(namespaced::<PodSeen>(session, target).list(&selected).await, &mut unseen)?;
    if pulls_ahead(&set) && unseen.is_empty() {
        let helpers = ListParams::default().labels(&helper_labels(&set));
        pods.extend(listed(namespaced::<PodSeen>(session, target).list(&helpers).await, &mut unseen)?);
    }
    let revisions = listed(namespaced::<RevisionSeen>(session, target).list(&selected).await, &mut unseen)?;
    Ok(Picture::new(set, pods.into_iter().map(Arc::new), revisions, unseen))
}

fn pulls_ahead(set: &AdvancedStatefulSet) -> bool {
    ValidSpec::parse(&set.spec).is_ok_and(|spec| spec.rolling.pre_pull)
}

/// What the Pods have that pull its images ahead.
fn helper_labels(set: &AdvancedStatefulSet) -> String {
    format!("{}={}", names::PRE_PULL_LABEL, set.metadata.uid.as_deref().unwrap_or_default())
}

fn listed<K: Clone>(
    answer: Result<kube::core::ObjectList<K>, kube::Error>,
    unseen: &mut Vec<String>,
) -> Result<Vec<K>, CliError> {
    match answer {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            unseen.push(status.message);
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// The revisions of a set, by number.
pub async fn revisions(session: &Session, set: &AdvancedStatefulSet) -> Result<Vec<RevisionSeen>, CliError> {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let api: Api<RevisionSeen> = Api::namespaced(session.client.clone(), &namespace);
    let found = api.list(&ListParams::default().labels(&selector_text(set))).await?;
    Ok(controlled(set.metadata.uid.as_deref().unwrap_or_default(), found.items))
}

fn selector_text(set: &AdvancedStatefulSet) -> String {
    Selector::parse(&set.spec.selector).map(|selector| selector.to_text()).unwrap_or_default()
}

fn namespaced<K>(session: &Session, target: &Target) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(Client::clone(&session.client), &target.namespace)
}

/// Objects of a kind as a watch shows them.
struct Shelf<K> {
    events: Events<K>,
    /// By UID.
    objects: BTreeMap<String, Arc<K>>,
    /// Of a list that is not whole yet.
    coming: Option<BTreeMap<String, Arc<K>>>,
    /// Everything that is there was seen once.
    is_whole: bool,
    /// What the server said when it refused; there is nothing to follow then.
    refused: Option<String>,
}

impl<K> Shelf<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    fn new(api: Api<K>, labels: &str) -> Self {
        let events = events(api, watcher::Config::default().labels(labels));
        Shelf { events, objects: BTreeMap::new(), coming: None, is_whole: false, refused: None }
    }

    /// Takes one event; words where the server cannot be heard.
    fn take(&mut self, event: watcher::Result<Event<K>>) -> Result<Option<String>, CliError> {
        let key = |object: &K| object.meta().uid.clone().unwrap_or_default();
        match event {
            Ok(Event::Init) => self.coming = Some(BTreeMap::new()),
            Ok(Event::InitApply(object)) => {
                self.coming.get_or_insert_default().insert(key(&object), Arc::new(object));
            }
            Ok(Event::InitDone) => {
                self.objects = self.coming.take().unwrap_or_default();
                self.is_whole = true;
            }
            Ok(Event::Apply(object)) => {
                self.objects.insert(key(&object), Arc::new(object));
            }
            Ok(Event::Delete(object)) => {
                self.objects.remove(&key(&object));
            }
            Err(error) => match judged(error) {
                Ok(words) => return Ok(Some(words)),
                Err(CliError::Api(error)) => match *error {
                    kube::Error::Api(status) if status.code == 403 => {
                        self.refused = Some(status.message);
                        self.is_whole = true;
                        self.events = Box::pin(futures::stream::pending());
                    }
                    error => return Err(error.into()),
                },
                Err(error) => return Err(error),
            },
        }
        Ok(None)
    }
}

/// A set with its Pods and revisions, followed.
pub struct Follower {
    set: Pin<Box<dyn Stream<Item = Result<News<AdvancedStatefulSet>, CliError>> + Send>>,
    pods: Shelf<PodSeen>,
    helpers: Shelf<PodSeen>,
    revisions: Shelf<RevisionSeen>,
    latest: AdvancedStatefulSet,
}

/// What a step of following brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be something new in the picture.
    Changed,
    Gone,
    Interrupted(String),
}

impl Follower {
    /// # Errors
    /// Where the set is not there or may not be read.
    pub async fn start(session: &Session, target: &Target) -> Result<Follower, CliError> {
        let latest = target.api(session).get(&target.name).await?;
        let labels = selector_text(&latest);
        Ok(Follower {
            set: Box::pin(one_set(session, target)),
            pods: Shelf::new(namespaced(session, target), &labels),
            // Also where none are made now: the set may ask for them later.
            helpers: Shelf::new(namespaced(session, target), &helper_labels(&latest)),
            revisions: Shelf::new(namespaced(session, target), &labels),
            latest,
        })
    }

    /// Waits for whatever happens next. May be dropped and called again: nothing is lost.
    pub async fn step(&mut self) -> Result<Step, CliError> {
        tokio::select! {
            Some(news) = self.set.next() => Ok(match news? {
                News::Is(set) => {
                    self.latest = *set;
                    Step::Changed
                }
                News::Gone => Step::Gone,
                News::Interrupted(words) => Step::Interrupted(words),
            }),
            Some(event) = self.pods.events.next() => Ok(heard(self.pods.take(event)?)),
            Some(event) = self.helpers.events.next() => Ok(heard(self.helpers.take(event)?)),
            Some(event) = self.revisions.events.next() => Ok(heard(self.revisions.take(event)?)),
            else => Ok(Step::Gone),
        }
    }

    /// `None` until everything was seen once.
    pub fn picture(&self) -> Option<Picture> {
        if !self.pods.is_whole || !self.helpers.is_whole || !self.revisions.is_whole {
            return None;
        }
        let pods = self.pods.objects.values().chain(self.helpers.objects.values()).cloned();
        let revisions = self.revisions.objects.values().map(|revision| RevisionSeen::clone(revision));
        let unseen = [&self.pods.refused, &self.revisions.refused].into_iter().flatten().cloned().collect();
        Some(Picture::new(self.latest.clone(), pods, revisions, unseen))
    }

    pub fn set(&self) -> &AdvancedStatefulSet {
        &self.latest
    }
}

fn heard(words: Option<String>) -> Step {
    words.map_or(Step::Changed, Step::Interrupted)
}
