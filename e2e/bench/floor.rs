//! The floor: the writes that the manager cannot do without, made by a bare client that decides nothing.
//!
//! Create: of each set a ControllerRevision, a status at first and at last, and an event; a POST of each Pod, and a PATCH
//! of its readiness gate when its containers are ready. Update: the same for the sets; each gate is closed, the image
//! patched with the revision's label, the gate opened when the new container runs. Scale: the two statuses and the event
//! of each set, a DELETE of each Pod.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use asts::api::names::{
    IN_PLACE_STATE_ANNOTATION, KIND, POD_INDEX_LABEL, POD_NAME_LABEL, READINESS_GATE, REVISION_LABEL,
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::audit::Author;
use crate::contender::{AT_ONCE, Sets, template};
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
    sets: Api<DynamicObject>,
    revisions: Api<ControllerRevision>,
    events: Api<Event>,
    pods: Api<Pod>,
    shape: Shape,
    changes: UnboundedReceiver<Change>,
}

/// A set as the bare client knows it.
#[derive(Clone)]
struct Owner {
    name: String,
    uid: String,
}

impl Floor {
    pub fn new(client: kube::Client, namespace: &str, shape: Shape, changes: UnboundedReceiver<Change>) -> Self {
        Self {
            sets: Sets::api(client.clone(), namespace, KIND),
            revisions: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client, namespace),
            shape,
            changes,
        }
    }

    pub async fn create(&mut self) -> Result {
        let owners = self.begin(Some("v1")).await?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let posts = for_each(self.slots(&owners), room.clone(), {
            let pods = self.pods.clone();
            move |(owner, ordinal)| post(pods.clone(), owner, ordinal)
        });
        let events = self.publish(&owners, "SuccessfulCreate");
        let gates = open_gates(&mut self.changes, self.pods.clone(), room, self.shape.pods(), image("v1"));
        tokio::try_join!(posts, gates, events)?;
        self.tell(&owners, "v1").await
    }

    pub async fn update(&mut self) -> Result {
        let owners = self.begin(Some("v2")).await?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let patches = for_each(self.slots(&owners), room.clone(), {
            let pods = self.pods.clone();
            move |(owner, ordinal)| close_and_patch(pods.clone(), pod_name(&owner, ordinal))
        });
        let events = self.publish(&owners, "SuccessfulUpdateInPlace");
        let gates = open_gates(&mut self.changes, self.pods.clone(), room, self.shape.pods(), image("v2"));
        tokio::try_join!(patches, gates, events)?;
        self.tell(&owners, "v2").await
    }

    pub async fn scale_to_zero(&self) -> Result {
        let owners = self.begin(None).await?;
        let pods = self.pods.clone();
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let gone = for_each(self.slots(&owners), room, move |(owner, ordinal)| {
            remove(pods.clone(), pod_name(&owner, ordinal))
        });
        tokio::try_join!(gone, self.publish(&owners, "SuccessfulDelete"))?;
        self.tell(&owners, "v2").await
    }

    /// The sets, of which each gets its first status, and a revision where the template is another.
    async fn begin(&self, tag: Option<&str>) -> Result<Vec<Owner>> {
        let sets = self.sets.list(&ListParams::default()).await.context("list the sets")?;
        let owners: Vec<Owner> = sets
            .items
            .into_iter()
            .filter_map(|set| Some(Owner { name: set.metadata.name?, uid: set.metadata.uid? }))
            .collect();
        if let Some(tag) = tag {
            for_each(owners.clone(), Arc::new(Semaphore::new(AT_ONCE)), |owner| {
                record(self.revisions.clone(), owner, tag.to_owned())
            })
            .await?;
        }
        self.tell(&owners, tag.unwrap_or("v2")).await?;
        Ok(owners)
    }

    async fn tell(&self, owners: &[Owner], tag: &str) -> Result {
        let replicas = self.shape.replicas;
        for_each(owners.to_vec(), Arc::new(Semaphore::new(AT_ONCE)), |owner| {
            write_status(self.sets.clone(), owner, tag.to_owned(), replicas)
        })
        .await
    }

    /// An event of each set.
    fn publish(&self, owners: &[Owner], reason: &'static str) -> impl Future<Output = Result> + use<> {
        let (owners, events) = (owners.to_vec(), self.events.clone());
        for_each(owners, Arc::new(Semaphore::new(AT_ONCE)), move |owner| publish(events.clone(), owner, reason))
    }

    /// Each set with each of its ordinals.
    fn slots(&self, owners: &[Owner]) -> Vec<(Owner, usize)> {
        let replicas = self.shape.replicas;
        owners.iter().flat_map(|owner| (0..replicas).map(move |ordinal| (owner.clone(), ordinal))).collect()
    }
}

fn pod_name(owner: &Owner, ordinal: usize) -> String {
    format!("{}-{ordinal}", owner.name)
}

/// As long as those of the manager.
fn revision_hash(tag: &str) -> String {
    format!("bench{tag}")
}

fn owner_reference(owner: &Owner) -> Value {
    json!({
        "apiVersion": "apps.asts.dev/v1beta1", "kind": KIND, "name": owner.name, "uid": owner.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

async fn record(revisions: Api<ControllerRevision>, owner: Owner, tag: String) -> Result {
    let revision = json!({
        "metadata": {
            "name": format!("{}-{}", owner.name, revision_hash(&tag)),
            "labels": {"app": owner.name},
            "ownerReferences": [owner_reference(&owner)],
        },
        "revision": 1,
        "data": {"spec": {"template": template(&owner.name)}},
    });
    let revision: ControllerRevision = serde_json::from_value(revision)?;
    revisions.create(&PostParams::default(), &revision).await.context(format!("record set {}", owner.name))?;
    Ok(())
}

async fn write_status(sets: Api<DynamicObject>, owner: Owner, tag: String, replicas: usize) -> Result {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    // As many as a set has.
    let conditions: Vec<Value> = ["Available", "InPlaceUpdateBlocked", "Paused", "Progressing", "ReplicaFailure"]
        .into_iter()
        .map(|type_| {
            json!({
                "type": type_, "status": "True", "reason": "OfTheBenchmark", "message": "nothing to say of it",
                "observedGeneration": 1, "lastTransitionTime": now,
            })
        })
        .collect();
    let status = json!({"status": {
        "observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas,
        "updateRevision": format!("{}-{}", owner.name, revision_hash(&tag)),
        "conditions": conditions,
    }});
    let parameters = PatchParams::default();
    sets.patch_status(&owner.name, &parameters, &Patch::Merge(status)).await.context(format!("tell {}", owner.name))?;
    Ok(())
}

async fn publish(events: Api<Event>, owner: Owner, reason: &'static str) -> Result {
    let event = json!({
        "metadata": {"generateName": format!("{}-", owner.name)},
        "eventTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        "reportingController": "apps.asts.dev/asts-bench", "reportingInstance": "asts-bench",
        "reason": reason, "action": "Create", "note": "done to all Pods", "type": "Normal",
        "regarding": {
            "apiVersion": "apps.asts.dev/v1beta1", "kind": KIND, "namespace": events.namespace().unwrap_or_default(),
            "name": owner.name, "uid": owner.uid,
        },
    });
    let event: Event = serde_json::from_value(event)?;
    events.create(&PostParams::default(), &event).await.context(format!("tell of set {}", owner.name))?;
    Ok(())
}

/// Does something for each, with a bound on what is in flight.
async fn for_each<T, W>(what: Vec<T>, room: Arc<Semaphore>, work: impl Fn(T) -> W) -> Result
where
    W: Future<Output = Result>,
{
    let work = &work;
    let bounded = stream::iter(what).map(Ok).try_for_each_concurrent(AT_ONCE, |one| {
        let room = room.clone();
        async move {
            let _held = room.acquire().await?;
            work(one).await
        }
    });
    bounded.await
}

async fn post(pods: Api<Pod>, owner: Owner, ordinal: usize) -> Result {
    let name = pod_name(&owner, ordinal);
    let mut pod = template(&owner.name);
    pod["metadata"]["name"] = name.as_str().into();
    pod["metadata"]["labels"][REVISION_LABEL] = revision_hash("v1").into();
    pod["metadata"]["labels"][POD_NAME_LABEL] = name.as_str().into();
    pod["metadata"]["labels"][POD_INDEX_LABEL] = ordinal.to_string().into();
    pod["metadata"]["ownerReferences"] = json!([owner_reference(&owner)]);
    pod["spec"]["readinessGates"] = json!([{"conditionType": READINESS_GATE}]);
    pod["spec"]["hostname"] = name.as_str().into();
    pod["spec"]["subdomain"] = "peers".into();
    let pod: Pod = serde_json::from_value(pod)?;
    pods.create(&PostParams::default(), &pod).await.context(format!("create Pod {name}"))?;
    Ok(())
}

async fn close_and_patch(pods: Api<Pod>, name: String) -> Result {
    turn_gate(&pods, &name, "False", "ContainerRebuilding").await?;
    let patch = json!({
        "metadata": {
            "labels": {REVISION_LABEL: revision_hash("v2")},
            "annotations": {IN_PLACE_STATE_ANNOTATION: "{\"revision\":\"benchv2\",\"containers\":{\"app\":\"kwok\"}}"},
        },
        "spec": {"containers": [{"name": "app", "image": image("v2")}]},
    });
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
