//! The one way to the apiserver: timeouts, bounded retries of reads, a bound on writes in flight,
//! the gate, and the count of each call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::backoff::{self, Chance};
use super::clock::Clock;
use super::error::{CallError, ControlError, Failure};
use super::gate::WriteGate;
use super::metrics::Metrics;
use crate::api::names;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Each is a connection of its own (HTTP/1.1).
pub const WRITES_IN_FLIGHT_MAX: usize = 32;
const READ_TRIES_MAX: u32 = 3;
/// The server ends a watch after this time; a connection silent for longer is dead.
pub const WATCH_SECONDS: u32 = 30;
pub const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// The kinds that the manager talks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pod,
    Claim,
    Revision,
    Set,
    PodTemplate,
    Lease,
    Event,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pod => "Pod",
            Kind::Claim => "PersistentVolumeClaim",
            Kind::Revision => "ControllerRevision",
            Kind::Set => "AdvancedStatefulSet",
            Kind::PodTemplate => "PodTemplate",
            Kind::Lease => "Lease",
            Kind::Event => "Event",
        }
    }

    fn base_and_plural(self) -> (&'static str, &'static str) {
        match self {
            Kind::Pod => ("/api/v1", "pods"),
            Kind::Claim => ("/api/v1", "persistentvolumeclaims"),
            Kind::PodTemplate => ("/api/v1", "podtemplates"),
            Kind::Revision => ("/apis/apps/v1", "controllerrevisions"),
            Kind::Set => ("/apis/apps.asts.dev/v1beta1", "advancedstatefulsets"),
            Kind::Lease => ("/apis/coordination.k8s.io/v1", "leases"),
            Kind::Event => ("/apis/events.k8s.io/v1", "events"),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Create,
    Replace,
    StrategicPatch,
    MergePatch,
    Delete,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Create => "create",
            Verb::Replace => "replace",
            Verb::StrategicPatch | Verb::MergePatch => "patch",
            Verb::Delete => "delete",
        }
    }

    fn method(self) -> Method {
        match self {
            Verb::Get | Verb::List => Method::GET,
            Verb::Create => Method::POST,
            Verb::Replace => Method::PUT,
            Verb::StrategicPatch | Verb::MergePatch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Verb::StrategicPatch => "application/strategic-merge-patch+json",
            Verb::MergePatch => "application/merge-patch+json",
            _ => "application/json",
        }
    }
}

/// Where to do it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    /// Empty for a list or a create.
    pub name: &'a str,
    pub subresource: &'static str,
    /// Without the question mark, escaped.
    pub query: &'a str,
}

impl<'a> At<'a> {
    /// All objects of a kind in a namespace.
    pub fn all(kind: Kind, namespace: &'a str) -> Self {
        At { kind, namespace, name: "", subresource: "", query: "" }
    }

    pub fn one(kind: Kind, namespace: &'a str, name: &'a str) -> Self {
        At { kind, namespace, name, subresource: "", query: "" }
    }

    pub fn status(self) -> Self {
        At { subresource: "status", ..self }
    }

    pub fn resize(self) -> Self {
        At { subresource: "resize", ..self }
    }

    pub fn query(self, query: &'a str) -> Self {
        At { query, ..self }
    }

    fn uri(&self) -> String {
        let (base, plural) = self.kind.base_and_plural();
        let mut uri = format!("{base}/namespaces/{}/{plural}", self.namespace);
        for part in [self.name, self.subresource] {
            if !part.is_empty() {
                uri.push('/');
                uri.push_str(part);
            }
        }
        if !self.query.is_empty() {
            uri.push('?');
            uri.push_str(self.query);
        }
        uri
    }

    fn object(&self, body: Option<&Value>) -> String {
        let name = if self.name.is_empty() {
            body.and_then(|body| body.pointer("/metadata/name")).and_then(Value::as_str).unwrap_or_default()
        } else {
            self.name
        };
        format!("{} {name}", self.kind.name())
    }
}

/// The connection to one apiserver.
pub struct Apiserver {
    client: Client,
    writes: Semaphore,
    gate: Arc<WriteGate>,
    metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
}

impl Apiserver {
    pub fn new(client: Client, gate: Arc<WriteGate>, metrics: Arc<Metrics>, clock: Clock, chance: Chance) -> Self {
        Apiserver { client, writes: Semaphore::new(WRITES_IN_FLIGHT_MAX), gate, metrics, clock, chance }
    }

    /// The client, for watches.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn may_write(&self) -> bool {
        self.gate.is_open()
    }

    /// A read from the store itself; tried again a few times where that can help.
    pub async fn read<T: DeserializeOwned>(&self, verb: Verb, at: At<'_>) -> Result<T, CallError> {
        self.tried_again(verb, at, None).await
    }

    /// A create that the server only pretends to do. Needs no lease.
    pub async fn dry_run_create<T: DeserializeOwned>(&self, at: At<'_>, body: &Value) -> Result<T, CallError> {
        self.tried_again(Verb::Create, at.query("dryRun=All"), Some(body)).await
    }

    /// The same where fields that the server does not know are an error.
    pub async fn strict_dry_run_create(&self, at: At<'_>, body: &Value) -> Result<(), CallError> {
        let at = at.query("dryRun=All&fieldValidation=Strict");
        self.tried_again::<serde::de::IgnoredAny>(Verb::Create, at, Some(body)).await.map(|_| ())
    }

    /// A patch that the server only pretends to do. Needs no lease.
    pub async fn dry_run_patch(&self, at: At<'_>, body: &Value) -> Result<(), CallError> {
        let at = at.query("dryRun=All");
        self.tried_again::<serde::de::IgnoredAny>(Verb::StrategicPatch, at, Some(body)).await.map(|_| ())
    }

    /// A write: made once, only while the gate is open.
    pub async fn write<T: DeserializeOwned>(
        &self,
        verb: Verb,
        at: At<'_>,
        body: Option<&Value>,
    ) -> Result<T, CallError> {
        let permit = self.writes.acquire().await;
        // Looked at last: the wait for the permit may have been long.
        if permit.is_err() || !self.gate.is_open() {
            return Err(CallError::not_leading(verb.name(), at.object(body)));
        }
        self.call(verb, at, body).await
    }

    /// A write that the gate does not guard: the lease itself.
    pub async fn write_ungated<T: DeserializeOwned>(
        &self,
        verb: Verb,
        at: At<'_>,
        body: &Value,
    ) -> Result<T, CallError> {
        self.call(verb, at, Some(body)).await
    }

    async fn tried_again<T: DeserializeOwned>(
        &self,
        verb: Verb,
        at: At<'_>,
        body: Option<&Value>,
    ) -> Result<T, CallError> {
        let mut tries = 1;
        loop {
            match self.call(verb, at, body).await {
                Err(error)
                    if tries < READ_TRIES_MAX && matches!(error.failure, Failure::Unknown | Failure::Throttled) =>
                {
                    let pause = error.retry_after.unwrap_or_else(|| self.chance.delay(tries, backoff::READS));
                    tokio::time::sleep(pause.min(CALL_TIMEOUT)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn call<T: DeserializeOwned>(&self, verb: Verb, at: At<'_>, body: Option<&Value>) -> Result<T, CallError> {
        let result = self.call_uncounted(verb, at, body).await;
        let outcome = result.as_ref().err().map_or("ok", |error| error.failure.category());
        self.metrics.count_call(verb.name(), at.kind.name(), outcome);
        if let Err(error) = &result {
            tracing::debug!(verb = error.verb, object = error.object, category = outcome, "{}", error.message);
        }
        result
    }

    async fn call_uncounted<T: DeserializeOwned>(
        &self,
        verb: Verb,
        at: At<'_>,
        body: Option<&Value>,
    ) -> Result<T, CallError> {
        let local = |message: String| CallError {
            failure: Failure::Local,
            code: 0,
            verb: verb.name(),
            object: at.object(body),
            message,
            retry_after: None,
        };
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| local(error.to_string()))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(verb.method())
            .uri(at.uri())
            .header(header::CONTENT_TYPE, verb.content_type())
            .header(header::ACCEPT, "application/json")
            .body(bytes)
            .map_err(|error| local(error.to_string()))?;
        match tokio::time::timeout(CALL_TIMEOUT, self.client.request::<T>(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(CallError::of_kube(verb.name(), at.object(body), &error)),
            Err(_) => Err(CallError::timed_out(verb.name(), at.object(body), CALL_TIMEOUT)),
        }
    }
}

/// Finds the cluster and connects: the file given, else `KUBECONFIG`, else the Pod's own account.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ControlError> {
    let options = KubeConfigOptions::default();
    let mut runs_in_cluster = false;
    let mut config = match kubeconfig {
        Some(path) => {
            let wrap = |source| ControlError::Kubeconfig { path: path.display().to_string(), source: Box::new(source) };
            let file = Kubeconfig::read_from(path).map_err(wrap)?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(wrap)?
        }
        // What KUBECONFIG names is meant: a mistake in it is not to end in another cluster.
        None if std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty()) => {
            let path = std::env::var_os("KUBECONFIG").unwrap_or_default().to_string_lossy().into_owned();
            let wrap = |source| ControlError::Kubeconfig { path, source: Box::new(source) };
            Config::from_kubeconfig(&options).await.map_err(wrap)?
        }
        None => match Config::incluster() {
            Ok(config) => {
                runs_in_cluster = true;
                config
            }
            Err(_) => Config::infer().await.map_err(|error| ControlError::NoCluster(Box::new(error)))?,
        },
    };
    // The one that a kubeconfig happens to name says nothing of where the plugin and other managers look.
    if !runs_in_cluster {
        config.default_namespace = names::MANAGER_NAMESPACE.to_owned();
    }
    config.default_retry = false;
    config.read_timeout = Some(SILENCE_MAX);
    let agent = concat!("asts-manager/", env!("CARGO_PKG_VERSION"));
    config.headers.push((header::USER_AGENT, header::HeaderValue::from_static(agent)));
    Client::try_from(config).map_err(|error| ControlError::Client(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_the_object() {
        assert_eq!(
            At::one(Kind::Set, "shop", "web").status().uri(),
            "/apis/apps.asts.dev/v1beta1/namespaces/shop/advancedstatefulsets/web/status"
        );
        assert_eq!(At::all(Kind::Pod, "shop").query("limit=1").uri(), "/api/v1/namespaces/shop/pods?limit=1");
    }
}
