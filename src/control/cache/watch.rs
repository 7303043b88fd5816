//! Keeps one kind of one scope in the store up to date.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Client};

use super::{Scope, SharedStore, Watched};
use crate::api::names;
use crate::control::backoff::{self, Chance};
use crate::control::client::{Kind, WATCH_SECONDS};
use crate::control::metrics::{KindLabel, Metrics};
use crate::control::queue::Queue;

/// Most objects in one page of a list.
pub const PAGE_SIZE: u32 = 250;

/// Watches until it is dropped. Failures are logged and tried again.
pub async fn run<W: Watched>(
    client: Client,
    scope: Scope,
    store: Arc<SharedStore>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    chance: Chance,
) {
    let api: Api<W> = match &scope {
        Scope::All => Api::all(client),
        Scope::Namespace(namespace) => Api::namespaced(client, namespace),
    };
    let kind = KindLabel { kind: W::KIND.name() };
    let config = Config { page_size: Some(W::PAGE_SIZE), timeout: Some(WATCH_SECONDS), ..Config::default() };
    let mut stream = pin!(watcher(api, config));
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) {
                    failures = 0;
                }
                let (concerned, count) = {
                    let mut store = store.lock();
                    let concerned = store.event::<W>(&scope, event);
                    (concerned, W::table(&mut store).len())
                };
                metrics.cached.get_or_create(&kind).set(i64::try_from(count).unwrap_or(i64::MAX));
                for key in concerned {
                    queue.add(key);
                }
            }
            Err(error) => {
                failures += 1;
                metrics.watch_restarts.get_or_create(&kind).inc();
                log(kind.kind, failures, &error);
                tokio::time::sleep(chance.delay(failures, backoff::WATCHES)).await;
            }
        }
    }
}

/// An expired watch is daily business; a failure that stays is not.
fn log(kind: &'static str, failures: u32, error: &Error) {
    let expired = matches!(error, Error::WatchError(status) if status.code == 410);
    let unknown = match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            kind == Kind::Set.name() && names::is_unknown_resource(status.code, &status.message)
        }
        _ => false,
    };
    if unknown {
        tracing::warn!(kind, failures, "{}", names::NOT_INSTALLED);
    } else if expired {
        tracing::debug!(kind, "the watch expired, listing anew");
    } else if failures == 1 {
        tracing::info!(kind, "the watch failed, beginning again: {error}");
    } else {
        tracing::warn!(kind, failures, "the watch cannot be started: {error}");
    }
}
