//! Puts the parts together, and takes them apart at the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::abilities::{self, AbilityCache, Everyone, InPlace};
use super::backoff::Chance;
use super::cache::claim::ClaimObject;
use super::cache::pod::PodObject;
use super::cache::revision::RevisionObject;
use super::cache::set::SetObject;
use super::cache::{Scope, SharedStore, Watched, watch};
use super::client::{self, Apiserver};
use super::clock::Clock;
use super::error::ControlError;
use super::events;
use super::gate::WriteGate;
use super::lease::{Elector, LeaseOptions};
use super::metrics::Metrics;
use super::queue::Queue;
use super::reconcile::{Reconciler, Rules};
use super::server::{self, Answer};
use crate::model::Patterns;
use crate::plan;

/// Sets that are looked at at the same time.
const WORKERS: usize = 16;
/// Each set is looked at this often even if nothing happens.
const RESYNC: Duration = Duration::from_secs(300);
/// How long the end may wait for the lease's release.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How the manager is to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub kubeconfig: Option<PathBuf>,
    /// Empty: all.
    pub namespaces: Vec<String>,
    /// `None`: alone, without election.
    pub lease: Option<LeaseOptions>,
    pub metrics_address: SocketAddr,
    pub health_address: SocketAddr,
    pub in_place: InPlace,
    /// Patterns of annotations that injectors read, beside those that are known.
    pub injector_annotations: Vec<String>,
}

/// The parts that all tasks share.
pub struct Manager {
    scopes: Vec<Scope>,
    apiserver: Arc<Apiserver>,
    store: Arc<SharedStore>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    rules: Rules,
}

/// Runs until a signal asks for the end, or the lease is lost.
pub async fn run(options: Options) -> Result<(), ControlError> {
    let metrics = Arc::new(Metrics::default());
    let gate = Arc::new(if options.lease.is_some() { WriteGate::default() } else { WriteGate::always_open() });
    let metrics_listener = server::listen(options.metrics_address, "--metrics-address").await?;
    let health_listener = server::listen(options.health_address, "--health-address").await?;
    let client = client::connect(options.kubeconfig.as_deref()).await?;
    let apiserver = Apiserver::new(client, Arc::clone(&gate), Arc::clone(&metrics), Clock::system(), Chance::system());
    let rules = Rules {
        abilities: Arc::new(AbilityCache::new(options.in_place.clone())),
        injectors: Patterns::of_injectors(options.injector_annotations.iter().map(String::as_str)),
        planner: Arc::new(plan::plan),
    };
    let manager = Manager::new(scopes(&options.namespaces), apiserver, Arc::clone(&metrics), rules);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        metrics_address = %bound(&metrics_listener, options.metrics_address),
        health_address = %bound(&health_listener, options.health_address),
        in_place = ?options.in_place,
        "starting"
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(metrics_listener, metrics_answer(Arc::clone(&metrics))));
    tasks.spawn(server::serve(health_listener, health_answer(&manager)));
    manager.spawn_watches(&mut tasks);
    let elector = options
        .lease
        .map(|lease| Elector::new(Arc::clone(&manager.apiserver), gate, Arc::clone(&manager.metrics), lease));
    let outcome = tokio::select! {
        ended = lead(&manager, elector.as_ref(), &mut tasks) => Err(ended),
        signal = ended_by_signal() => signal,
    };
    // Calls in flight end here; the caches of the next leader show what they came to.
    tasks.abort_all();
    if let Some(elector) = &elector
        && outcome.is_ok()
        && tokio::time::timeout(RELEASE_TIMEOUT, elector.release()).await.is_err()
    {
        tracing::warn!("the lease was not released in time: others wait until it runs out");
    }
    outcome
}

/// Returns only when the lease is lost.
pub async fn lead(manager: &Manager, elector: Option<&Elector>, tasks: &mut JoinSet<()>) -> ControlError {
    match elector {
        Some(elector) => elector.acquire().await,
        None => {
            manager.metrics.leader.set(1);
        }
    }
    let work = async {
        manager.wait_for_caches().await;
        manager.spawn_workers(tasks);
        tracing::info!(sets = manager.queue.len(), "the caches are complete, working");
        std::future::pending::<ControlError>().await
    };
    match elector {
        // Renewed also while the caches fill: that may take longer than the lease lasts.
        Some(elector) => tokio::select! {
            biased;
            lost = elector.hold() => lost,
            never = work => never,
        },
        None => work.await,
    }
}

impl Manager {
    pub fn new(scopes: Vec<Scope>, apiserver: Apiserver, metrics: Arc<Metrics>, rules: Rules) -> Self {
        let queue = Arc::new(Queue::new(Arc::clone(&metrics), apiserver.chance.clone()));
        Manager { scopes, apiserver: Arc::new(apiserver), store: Arc::default(), queue, metrics, rules }
    }

    /// The connection, for the election.
    pub fn apiserver(&self) -> Arc<Apiserver> {
        Arc::clone(&self.apiserver)
    }

    pub fn spawn_watches(&self, tasks: &mut JoinSet<()>) {
        for scope in &self.scopes {
            self.spawn_watch::<SetObject>(scope, tasks);
            self.spawn_watch::<PodObject>(scope, tasks);
            self.spawn_watch::<ClaimObject>(scope, tasks);
            self.spawn_watch::<RevisionObject>(scope, tasks);
        }
        let abilities = &self.rules.abilities;
        if abilities.is_auto() {
            let client = || self.apiserver.client().clone();
            let everyone = Everyone {
                scopes: self.scopes.clone(),
                store: Arc::clone(&self.store),
                queue: Arc::clone(&self.queue),
            };
            tasks.spawn(abilities::watch_nodes(
                client(),
                Arc::clone(abilities),
                everyone,
                self.apiserver.chance.clone(),
            ));
            tasks.spawn(abilities::watch_version(client(), Arc::clone(abilities)));
        }
    }

    fn spawn_watch<W: Watched>(&self, scope: &Scope, tasks: &mut JoinSet<()>) {
        tasks.spawn(watch::run::<W>(
            self.apiserver.client().clone(),
            scope.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.queue),
            Arc::clone(&self.metrics),
            self.apiserver.chance.clone(),
        ));
    }

    async fn wait_for_caches(&self) {
        while !(self.rules.abilities.is_synced() && self.store.lock().is_synced(&self.scopes)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn spawn_workers(&self, tasks: &mut JoinSet<()>) {
        let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
        let (sender, publisher) = events::channel(Arc::clone(&self.apiserver), Arc::clone(&self.metrics), instance);
        tasks.spawn(publisher.run());
        let reconciler = Arc::new(Reconciler::new(
            Arc::clone(&self.apiserver),
            Arc::clone(&self.store),
            Arc::clone(&self.queue),
            sender,
            Arc::clone(&self.metrics),
            self.rules.clone(),
        ));
        for _ in 0..WORKERS {
            let reconciler = Arc::clone(&reconciler);
            tasks.spawn(async move { reconciler.work().await });
        }
        for key in self.store.lock().set_keys(&self.scopes) {
            self.queue.add(key);
        }
        tasks.spawn(resync(
            self.scopes.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.queue),
            self.apiserver.chance.clone(),
        ));
    }
}

/// Looks at every set from time to time, spread over the period.
async fn resync(scopes: Vec<Scope>, store: Arc<SharedStore>, queue: Arc<Queue>, chance: Chance) {
    loop {
        tokio::time::sleep(RESYNC / 2).await;
        let keys = store.lock().set_keys(&scopes);
        for key in keys {
            queue.add_after(key, chance.jittered(RESYNC / 2));
        }
    }
}

/// The address that a listener got, with the port that was picked for it.
fn bound(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

async fn ended_by_signal() -> Result<(), ControlError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ControlError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ControlError::Runtime)?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "ending");
    Ok(())
}

fn scopes(namespaces: &[String]) -> Vec<Scope> {
    if namespaces.is_empty() {
        return vec![Scope::All];
    }
    let mut scopes: Vec<Scope> = namespaces.iter().map(|name| Scope::Namespace(name.as_str().into())).collect();
    scopes.sort();
    scopes.dedup();
    scopes
}

fn metrics_answer(metrics: Arc<Metrics>) -> Answer {
    Arc::new(move |path| (path == "/metrics").then(|| (StatusCode::OK, metrics.render())))
}

fn health_answer(manager: &Manager) -> Answer {
    let (store, scopes) = (Arc::clone(&manager.store), manager.scopes.clone());
    let abilities = Arc::clone(&manager.rules.abilities);
    Arc::new(move |path| match path {
        "/healthz" => Some((StatusCode::OK, "ok\n".to_owned())),
        "/readyz" if abilities.is_synced() && store.lock().is_synced(&scopes) => {
            Some((StatusCode::OK, "ok\n".to_owned()))
        }
        "/readyz" => Some((StatusCode::SERVICE_UNAVAILABLE, "the caches are not complete yet\n".to_owned())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_become_scopes_once_each() {
        assert_eq!(scopes(&[]), [Scope::All]);
        let names = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(scopes(&names), [Scope::Namespace("a".into()), Scope::Namespace("b".into())]);
    }
}
