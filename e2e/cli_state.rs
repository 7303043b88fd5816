//! Sets whose Pods change their owner: how they begin, and what is looked at afterwards.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::harness::manifest::{claim_template, with};
use crate::harness::space::{container_id, pod_name, revision_label, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, eventually, image, set};
use crate::{ensure, ensure_eq};

/// A native StatefulSet whose container mounts a claim.
pub fn native(name: &str, replicas: i64, spec: Value) -> Value {
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let claims = json!({
        "replicas": replicas, "volumeClaimTemplates": [claim_template("data", "1Mi")],
        "template": {"spec": {"containers": [container]}},
    });
    let mut manifest = set(name, with(claims, spec));
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("StatefulSet");
    manifest
}

/// What must not change of a Pod: UID, container, restarts, address; and the claims' UIDs.
pub type State = BTreeMap<String, String>;

pub async fn state(space: &Space) -> Result<State> {
    let mut state = State::new();
    for pod in space.pods().list(&ListParams::default()).await?.items {
        let status = pod.status.clone().unwrap_or_default();
        let restarts: i32 = status.container_statuses.iter().flatten().map(|one| one.restart_count).sum();
        let told = format!("{} {:?} {restarts} {:?}", uid(&pod), container_id(&pod), status.pod_ip);
        state.insert(pod_name(&pod).to_owned(), told);
    }
    for claim in space.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items {
        state.insert(claim.metadata.name.unwrap_or_default(), claim.metadata.uid.unwrap_or_default());
    }
    Ok(state)
}

fn owners(pod: &Pod) -> Vec<(String, String)> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.map(|owner| (owner.kind.clone(), owner.uid.clone())).collect()
}

/// All Pods are the set's, on its revision, and nothing is left to be done.
pub async fn is_ours(space: &Space, name: &str) -> Result {
    space.settled_within(name, 60).await?;
    let set = space.set(name).await?;
    let annotations = set.metadata.annotations.clone().unwrap_or_default();
    ensure!(!annotations.contains_key("apps.asts.dev/adoption"), "the record is left: {annotations:?}");
    ensure!(space.api::<StatefulSet>().get_opt(name).await?.is_none(), "the StatefulSet is left");
    let owner = ("AdvancedStatefulSet".to_owned(), set.metadata.uid.unwrap_or_default());
    for pod in space.pods_of(name).await? {
        ensure_eq!(owners(&pod), vec![owner.clone()], "owners of {}", pod_name(&pod));
        ensure!(!revision_label(&pod).contains('-'), "label of {}: {}", pod_name(&pod), revision_label(&pod));
    }
    Ok(())
}

/// The same of a native StatefulSet.
pub async fn is_native(space: &Space, name: &str) -> Result {
    eventually(seconds(60), "the StatefulSet is done", async || {
        let set = space.api::<StatefulSet>().get(name).await?;
        let status = set.status.unwrap_or_default();
        let replicas = set.spec.and_then(|spec| spec.replicas);
        ensure_eq!(status.updated_replicas.unwrap_or(0), replicas.unwrap_or(1), "updated replicas");
        ensure_eq!(status.current_revision, status.update_revision, "revisions");
        Ok(())
    })
    .await?;
    let set = space.api::<StatefulSet>().get(name).await?;
    let annotations = set.metadata.annotations.clone().unwrap_or_default();
    ensure!(!annotations.contains_key("apps.asts.dev/release"), "the record is left: {annotations:?}");
    ensure!(space.sets().get_opt(name).await?.is_none(), "the AdvancedStatefulSet is left");
    let update = set.status.and_then(|status| status.update_revision).unwrap_or_default();
    let owner = ("StatefulSet".to_owned(), set.metadata.uid.unwrap_or_default());
    for pod in space.pods().list(&ListParams::default().labels(&format!("app={name}"))).await?.items {
        ensure_eq!(owners(&pod), vec![owner.clone()], "owners of {}", pod_name(&pod));
        ensure_eq!(revision_label(&pod), update, "label of {}", pod_name(&pod));
    }
    Ok(())
}
