//! A live view of the Pods of a namespace, kept by one watch.

pub mod traffic;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::{mpsc, watch};

use crate::harness::{Failure, Result};

/// How often a condition over all Pods is looked at, at most.
const LOOK: Duration = Duration::from_millis(5);

const READINESS_GATE: &str = asts::api::names::READINESS_GATE;

/// A Pod as the apiserver shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    pub uid: String,
    pub node: String,
    pub ip: String,
    /// The condition Ready is True and the Pod is not being deleted.
    pub ready: bool,
    pub containers_ready: bool,
    /// Status and reason of the condition of our readiness gate.
    pub gate: Option<(String, String)>,
    /// Of the first container.
    pub image: String,
    pub status_image: String,
    pub container_id: String,
    pub restarts: i32,
}

impl PodView {
    fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let container = spec.and_then(|spec| spec.containers.first());
        let running = status.and_then(|status| status.container_statuses.as_ref()?.first());
        let is_true = |type_: &str| condition(pod, type_).is_some_and(|condition| condition.status == "True");
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            ip: status.and_then(|status| status.pod_ip.clone()).unwrap_or_default(),
            ready: pod.metadata.deletion_timestamp.is_none() && is_true("Ready"),
            containers_ready: is_true("ContainersReady"),
            gate: condition(pod, READINESS_GATE)
                .map(|gate| (gate.status.clone(), gate.reason.clone().unwrap_or_default())),
            image: container.and_then(|container| container.image.clone()).unwrap_or_default(),
            status_image: running.map(|running| running.image.clone()).unwrap_or_default(),
            container_id: running.and_then(|running| running.container_id.clone()).unwrap_or_default(),
            restarts: running.map_or(0, |running| running.restart_count),
        }
    }

    /// Ready, with the container of this image both asked for and running.
    pub fn serves(&self, image: &str) -> bool {
        self.ready && self.image == image && self.status_image == image
    }
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// The Pods by name.
pub type Pods = BTreeMap<String, PodView>;

/// A change of one Pod: what was known of it before, and what is now.
pub struct Change {
    pub name: String,
    pub before: Option<PodView>,
    pub after: Option<PodView>,
}

/// How long Pods that had been Ready were not, by name: a Pod that is made anew counts from the old one's last moment
/// to its own first.
#[derive(Default)]
struct OutOfService {
    since: BTreeMap<String, Instant>,
    ended: Duration,
}

impl OutOfService {
    fn take(&mut self, change: &Change) {
        let is_ready = |pod: &Option<PodView>| pod.as_ref().is_some_and(|pod| pod.ready);
        match (is_ready(&change.before), is_ready(&change.after)) {
            (true, false) => {
                self.since.insert(change.name.clone(), Instant::now());
            }
            (false, true) => {
                self.ended += self.since.remove(&change.name).map_or(Duration::ZERO, |since| since.elapsed())
            }
            _ => {}
        }
    }
}

/// Ends its watch when it goes.
pub struct Live {
    pods: Arc<Mutex<Pods>>,
    out_of_service: Arc<Mutex<OutOfService>>,
    changed: watch::Receiver<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Live {
    /// Begins to watch, and returns with the channel of all changes from now on. Where nobody
    /// listens they are dropped.
    pub fn start(client: kube::Client, namespace: &str) -> (Self, mpsc::UnboundedReceiver<Change>) {
        let api: Api<Pod> = Api::namespaced(client, namespace);
        let pods = Arc::new(Mutex::new(Pods::new()));
        let (tell, changed) = watch::channel(0);
        let (changes, listener) = mpsc::unbounded_channel();
        let out_of_service = Arc::new(Mutex::new(OutOfService::default()));
        let keeper =
            Keeper { pods: pods.clone(), out_of_service: out_of_service.clone(), changes, listed: Pods::new() };
        let task = tokio::spawn(keep(api, keeper, tell));
        (Self { pods, out_of_service, changed, task }, listener)
    }

    pub fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long Pods have been out of service and came back, all together.
    pub fn out_of_service(&self) -> Duration {
        self.out_of_service.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Waits until the Pods are as the check wants them.
    pub async fn until(&self, what: &str, limit: Duration, check: impl Fn(&Pods) -> bool) -> Result {
        let started = Instant::now();
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if check(&self.pods()) {
                return Ok(());
            }
            let Some(left) = limit.checked_sub(started.elapsed()) else {
                let pods = self.pods();
                let ready = pods.values().filter(|pod| pod.ready).count();
                return Err(Failure(format!(
                    "not within {} s: {what}; of {} Pods {ready} are Ready",
                    limit.as_secs(),
                    pods.len()
                )));
            };
            // Without a change the time runs out, and that is looked at above.
            let _ = tokio::time::timeout(left, changed.changed()).await;
            tokio::time::sleep(LOOK).await;
        }
    }
}

struct Keeper {
    pods: Arc<Mutex<Pods>>,
    out_of_service: Arc<Mutex<OutOfService>>,
    changes: mpsc::UnboundedSender<Change>,
    /// What a list has brought so far.
    listed: Pods,
}

impl Keeper {
    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(name(&pod), PodView::of(&pod));
            }
            Event::InitDone => self.replace(),
            Event::Apply(pod) => {
                let after = PodView::of(&pod);
                let before = self.lock().insert(name(&pod), after.clone());
                self.tell(name(&pod), before, Some(after));
            }
            Event::Delete(pod) => {
                let before = self.lock().remove(&name(&pod));
                self.tell(name(&pod), before, None);
            }
        }
    }

    fn replace(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let mut before = std::mem::replace(&mut *self.lock(), listed.clone());
        for (name, after) in listed {
            let earlier = before.remove(&name);
            self.tell(name, earlier, Some(after));
        }
        for (name, earlier) in before {
            self.tell(name, Some(earlier), None);
        }
    }

    fn tell(&self, name: String, before: Option<PodView>, after: Option<PodView>) {
        if before != after {
            let change = Change { name, before, after };
            self.out_of_service.lock().unwrap_or_else(PoisonError::into_inner).take(&change);
            let _ = self.changes.send(change);
        }
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

async fn keep(api: Api<Pod>, mut keeper: Keeper, tell: watch::Sender<u64>) {
    let mut events = watcher(api, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                keeper.take(event);
                tell.send_modify(|version| *version += 1);
            }
            // The watcher lists anew after an error.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
