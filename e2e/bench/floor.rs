//! The floor: the writes that an update in place cannot do without, made by a bare client.
//!
//! Create: a POST of each Pod, and a PATCH of its readiness gate when its containers are ready.
//! Update: the gate is closed, the image patched, the gate opened when the new container runs.
//! Scale: a DELETE of each Pod.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use asts::api::names::READINESS_GATE;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::audit::Author;
use crate::contender::{AT_ONCE, set_name, template};
use crate::harness::{Context, Result, image};
use crate::live::{Change, PodView};
use crate::settings::Shape;

/// The fake kubelets are the administrator too.
pub const AUTHOR: Author = Author { user: "asts-admin", agent: Some(AGENT) };
const AGENT: &str = "asts-bench";

/// The administrator under the bare client's name.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(AGENT)));
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

pub struct Floor {
    pods: Api<Pod>,
    shape: Shape,
    changes: UnboundedReceiver<Change>,
}

impl Floor {
    pub fn new(client: kube::Client, namespace: &str, shape: Shape, changes: UnboundedReceiver<Change>) -> Self {
        Self { pods: Api::namespaced(client, namespace), shape, changes }
    }

    pub async fn create(&mut self) -> Result {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let posts = for_each(self.names(), room.clone(), {
            let pods = self.pods.clone();
            move |(set, name)| post(pods.clone(), set, name)
        });
        let gates = open_gates(&mut self.changes, self.pods.clone(), room, self.shape.pods(), image("v1"));
        tokio::try_join!(posts, gates)?;
        Ok(())
    }

    pub async fn update(&mut self) -> Result {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let patches = for_each(self.names(), room.clone(), {
            let pods = self.pods.clone();
            move |(_, name)| close_and_patch(pods.clone(), name)
        });
        let gates = open_gates(&mut self.changes, self.pods.clone(), room, self.shape.pods(), image("v2"));
        tokio::try_join!(patches, gates)?;
        Ok(())
    }

    pub async fn scale_to_zero(&self) -> Result {
        let pods = self.pods.clone();
        for_each(self.names(), Arc::new(Semaphore::new(AT_ONCE)), move |(_, name)| remove(pods.clone(), name)).await
    }

    /// Set and Pod.
    fn names(&self) -> Vec<(String, String)> {
        let replicas = self.shape.replicas;
        let of_set = |set: String| (0..replicas).map(move |ordinal| (set.clone(), format!("{set}-{ordinal}")));
        (0..self.shape.sets).map(set_name).flat_map(of_set).collect()
    }
}

/// Does something for each Pod, with a bound on what is in flight.
async fn for_each<W>(names: Vec<(String, String)>, room: Arc<Semaphore>, work: impl Fn((String, String)) -> W) -> Result
where
    W: Future<Output = Result>,
{
    let work = &work;
    let bounded = stream::iter(names).map(Ok).try_for_each_concurrent(AT_ONCE, |name| {
        let room = room.clone();
        async move {
            let _held = room.acquire().await?;
            work(name).await
        }
    });
    bounded.await
}

async fn post(pods: Api<Pod>, set: String, name: String) -> Result {
    let mut pod = template(&set);
    pod["metadata"]["name"] = name.as_str().into();
    pod["spec"]["readinessGates"] = json!([{"conditionType": READINESS_GATE}]);
    pod["spec"]["hostname"] = name.as_str().into();
    let pod: Pod = serde_json::from_value(pod)?;
    pods.create(&PostParams::default(), &pod).await.context(format!("create Pod {name}"))?;
    Ok(())
}

async fn close_and_patch(pods: Api<Pod>, name: String) -> Result {
    turn_gate(&pods, &name, "False", "ContainerRebuilding").await?;
    let patch = json!({"spec": {"containers": [{"name": "app", "image": image("v2")}]}});
    pods.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await.context(format!("patch Pod {name}"))?;
    Ok(())
}

async fn remove(pods: Api<Pod>, name: String) -> Result {
    pods.delete(&name, &DeleteParams::default()).await.context(format!("delete Pod {name}"))?;
    Ok(())
}

async fn turn_gate(pods: &Api<Pod>, name: &str, status: &str, reason: &str) -> Result {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition: Value =
        json!({"type": READINESS_GATE, "status": status, "reason": reason, "lastTransitionTime": now});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    pods.patch_status(name, &PatchParams::default(), &patch).await.context(format!("turn the gate of Pod {name}"))?;
    Ok(())
}

/// Opens the gate of each Pod once, when it runs the image; returns when all are opened.
async fn open_gates(
    changes: &mut UnboundedReceiver<Change>,
    pods: Api<Pod>,
    room: Arc<Semaphore>,
    count: usize,
    image: String,
) -> Result {
    let mut opened = BTreeSet::new();
    let mut tasks = JoinSet::new();
    while opened.len() < count {
        let change = changes.recv().await.context("the watch of Pods")?;
        let waits = change.after.as_ref().is_some_and(|pod| runs_behind_closed_gate(pod, &image));
        if !waits || !opened.insert(change.name.clone()) {
            continue;
        }
        let (pods, room) = (pods.clone(), room.clone());
        tasks.spawn(async move {
            let _held = room.acquire().await?;
            turn_gate(&pods, &change.name, "True", "ContainersCurrent").await
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    Ok(())
}

fn runs_behind_closed_gate(pod: &PodView, image: &str) -> bool {
    let open = pod.gate.as_ref().is_some_and(|(status, _)| status == "True");
    pod.containers_ready && !open && pod.image == image && pod.status_image == image
}
