//! Leader election on a Lease: one manager writes, others stand by with warm caches.
//!
//! A lease has run out when *this* process has seen it unchanged for its whole duration: the
//! holder's clock is not looked at. A leader stops starting writes well before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Apiserver, At, Kind, Verb};
use super::error::{CallError, ControlError, Failure};
use super::gate::WriteGate;
use super::metrics::Metrics;
use crate::api::names;

/// Which lease, and as whom.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// `None`: the client's own, see [`super::client::connect`].
    pub namespace: Option<String>,
    pub name: String,
    pub identity: String,
    pub duration: Duration,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none: make it.
    Create,
    /// It is ours: move its time on.
    Renew,
    /// Nobody holds it, or its holder let it run out.
    TakeOver,
    /// Another holds it, for this long at least.
    Wait(Duration),
}

/// What follows from the lease as it was read, unchanged since `unchanged_for` as far as this
/// process saw.
pub fn evaluate(spec: Option<&LeaseSpec>, identity: &str, unchanged_for: Duration) -> Step {
    let Some(spec) = spec else { return Step::Create };
    match spec.holder_identity.as_deref().unwrap_or_default() {
        "" => Step::TakeOver,
        holder if holder == identity => Step::Renew,
        _ => {
            let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
            let left = Duration::from_secs(seconds).saturating_sub(unchanged_for);
            if left.is_zero() { Step::TakeOver } else { Step::Wait(left) }
        }
    }
}

/// What this process has seen of the lease, and since when it is so.
#[derive(Debug)]
struct Observed {
    seen: Option<LeaseSpec>,
    since: Instant,
}

impl Observed {
    fn note(&mut self, spec: Option<&LeaseSpec>) -> Duration {
        if self.seen.as_ref() != spec {
            self.seen = spec.cloned();
            self.since = Instant::now();
        }
        self.since.elapsed()
    }
}

/// Takes part in the election.
pub struct Elector {
    apiserver: Arc<Apiserver>,
    gate: Arc<WriteGate>,
    metrics: Arc<Metrics>,
    options: LeaseOptions,
    namespace: String,
    falls_back: AtomicBool,
}

impl Elector {
    pub fn new(apiserver: Arc<Apiserver>, gate: Arc<WriteGate>, metrics: Arc<Metrics>, options: LeaseOptions) -> Self {
        let default_namespace = || apiserver.client().default_namespace().to_owned();
        let namespace = options.namespace.clone().unwrap_or_else(default_namespace);
        Elector { apiserver, gate, metrics, options, namespace, falls_back: AtomicBool::new(false) }
    }

    fn namespace(&self) -> &str {
        if self.falls_back.load(Ordering::Relaxed) { names::FALLBACK_LEASE_NAMESPACE } else { &self.namespace }
    }

    /// Where nobody named a namespace and there is none of ours, as outside of a cluster on which nothing but the
    /// definition is installed, the lease is kept where there always is one. False: not here, or it is already.
    fn fall_back(&self) -> bool {
        let unasked = self.options.namespace.is_none() && self.namespace == names::MANAGER_NAMESPACE;
        let falls_back = unasked && !self.falls_back.swap(true, Ordering::Relaxed);
        if falls_back {
            tracing::warn!(
                "there is no namespace {}: the lease {} is kept in {} (--lease-namespace names another). Managers take turns \
                 only where they use the same",
                self.namespace,
                self.options.name,
                names::FALLBACK_LEASE_NAMESPACE
            );
        }
        falls_back
    }

    /// Waits until this process holds the lease; the gate is open then.
    pub async fn acquire(&self) {
        let mut observed = Observed { seen: None, since: Instant::now() };
        let mut waiting_for = String::new();
        loop {
            let pause = match self.try_once(&mut observed).await {
                Ok(None) => {
                    self.metrics.leader.set(1);
                    tracing::info!(identity = self.options.identity, "holding the lease");
                    return;
                }
                Ok(Some(left)) => {
                    let holder =
                        observed.seen.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                    if holder != waiting_for {
                        tracing::info!(holder, "standing by: another manager holds the lease");
                        waiting_for = holder;
                    }
                    left.min(self.retry_period())
                }
                Err(error) if matches!(error.failure, Failure::Conflict | Failure::AlreadyExists) => {
                    self.retry_period()
                }
                Err(error) if error.failure == Failure::NotFound && self.fall_back() => Duration::ZERO,
                Err(error) if error.failure == Failure::NotFound => {
                    let (namespace, name) = (self.namespace(), &self.options.name);
                    tracing::warn!(
                        "cannot take the lease {namespace}/{name}: there is no namespace {namespace}. Make it (kubectl create namespace {namespace}), \
                         name another with --lease-namespace, or run a single manager with --leader-elect=false"
                    );
                    self.retry_period()
                }
                Err(error) => {
                    tracing::warn!(category = error.failure.category(), "cannot take the lease: {error}");
                    self.retry_period()
                }
            };
            tokio::time::sleep(self.apiserver.chance.jittered(pause)).await;
        }
    }

    /// Renews until it cannot any more. The gate closes by itself before others may take over.
    pub async fn hold(&self) -> ControlError {
        let mut observed = Observed { seen: None, since: Instant::now() };
        let mut pause = self.options.duration / 5;
        loop {
            tokio::time::sleep(pause).await;
            let outcome = tokio::time::timeout(self.options.duration / 4, self.try_once(&mut observed)).await;
            let trouble = match outcome {
                Ok(Ok(None)) => {
                    pause = self.options.duration / 5;
                    continue;
                }
                Ok(Ok(Some(_))) => {
                    self.gate.close();
                    "another manager holds it".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            if !self.gate.is_open() {
                self.metrics.leader.set(0);
                return ControlError::LeaseLost(trouble);
            }
            tracing::warn!("the lease was not renewed, trying again: {trouble}");
            pause = self.retry_period();
        }
    }

    /// Gives the lease back, so that another takes over at once.
    pub async fn release(&self) {
        self.gate.close();
        self.metrics.leader.set(0);
        let Ok(mut lease) = self.read().await else { return };
        let Some(spec) = &mut lease.spec else { return };
        if spec.holder_identity.as_deref() != Some(&self.options.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(self.apiserver.clock.now()));
        match self.replace(&lease).await {
            Ok(()) => tracing::info!("released the lease"),
            Err(error) => tracing::warn!("the lease was not released: {error}"),
        }
    }

    /// `None`: it is ours now. Else how long another holds it at least.
    async fn try_once(&self, observed: &mut Observed) -> Result<Option<Duration>, CallError> {
        // The time counts from before the request: a slow answer must not lengthen our hold.
        let asked_at = Instant::now();
        let lease = match self.read().await {
            Ok(lease) => Some(lease),
            Err(error) if error.failure == Failure::NotFound => None,
            Err(error) => return Err(error),
        };
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let unchanged_for = observed.note(spec);
        match evaluate(spec, &self.options.identity, unchanged_for) {
            Step::Wait(left) => return Ok(Some(left)),
            Step::Create => self.create().await?,
            Step::Renew => self.replace(&self.ours(lease.unwrap_or_default(), false)).await?,
            Step::TakeOver => self.replace(&self.ours(lease.unwrap_or_default(), true)).await?,
        }
        self.gate.open_for(asked_at, self.options.duration * 2 / 3);
        Ok(None)
    }

    fn retry_period(&self) -> Duration {
        (self.options.duration / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// The lease in our name. Its resourceVersion stays: a replace fails when another was faster.
    fn ours(&self, mut lease: Lease, taken_over: bool) -> Lease {
        let now = self.apiserver.clock.now();
        let spec = lease.spec.get_or_insert_default();
        if taken_over {
            spec.acquire_time = Some(MicroTime(now));
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.holder_identity = Some(self.options.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(self.options.duration.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(MicroTime(now));
        lease.metadata.managed_fields = None;
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(names::MANAGER_VERSION_ANNOTATION.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        lease
    }

    async fn read(&self) -> Result<Lease, CallError> {
        self.apiserver.read(Verb::Get, At::one(Kind::Lease, self.namespace(), &self.options.name)).await
    }

    async fn create(&self) -> Result<(), CallError> {
        let metadata = ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() };
        let lease = self.ours(Lease { metadata, spec: None }, true);
        self.send(Verb::Create, At::all(Kind::Lease, self.namespace()), &lease).await
    }

    async fn replace(&self, lease: &Lease) -> Result<(), CallError> {
        self.send(Verb::Replace, At::one(Kind::Lease, self.namespace(), &self.options.name), lease).await
    }

    async fn send(&self, verb: Verb, at: At<'_>, lease: &Lease) -> Result<(), CallError> {
        let body = serde_json::to_value(lease).unwrap_or(Value::Null);
        self.apiserver.write_ungated::<Lease>(verb, at, &body).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn held_by(holder: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn the_lease_decides() {
        let s = Duration::from_secs;
        for (spec, unchanged_for, expected) in [
            (None, s(0), Step::Create),
            (Some(held_by("", 15)), s(0), Step::TakeOver),
            (Some(held_by("me", 15)), s(100), Step::Renew),
            (Some(held_by("other", 15)), s(0), Step::Wait(s(15))),
            (Some(held_by("other", 15)), s(14), Step::Wait(s(1))),
            (Some(held_by("other", 15)), s(15), Step::TakeOver),
            (Some(held_by("other", -1)), s(0), Step::TakeOver),
        ] {
            assert_eq!(evaluate(spec.as_ref(), "me", unchanged_for), expected, "{spec:?} after {unchanged_for:?}");
        }
    }

    #[test]
    fn only_a_change_that_this_process_saw_counts() {
        let earlier = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let mut observed = Observed { seen: Some(held_by("other", 15)), since: earlier };
        assert!(observed.note(Some(&held_by("other", 15))) >= Duration::from_secs(60));
        let renewed = LeaseSpec { renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)), ..held_by("other", 15) };
        assert!(observed.note(Some(&renewed)) < Duration::from_secs(1), "the holder's clock does not matter");
    }
}
