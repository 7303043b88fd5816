//! Claims that grow as their Pods are updated. No cluster of the tests has a resizer: the tests act as one, through
//! the claims' status.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, image_of, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    claims_grow_in_order_and_no_pod_is_touched,
    a_pod_is_updated_after_its_claim_has_grown,
    a_file_system_that_waits_for_its_node_holds_nothing_up,
    a_class_that_allows_no_growth_is_reported_and_heals,
    a_size_that_shrinks_is_reported_and_no_claim_shrinks,
    partition_and_pause_hold_claims_back,
    on_delete_grows_the_claim_of_a_pod_that_came_back,
    to_count_sizes_or_not_moves_nothing,
];

/// A class whose volumes may grow, or not, with volumes of 1 MiB for the claims `data-web-0` and up.
async fn class(space: &Space, may_grow: bool, ordinals: i64) -> Result<String> {
    class_for(space, "web", "1Mi", may_grow, ordinals).await
}

/// The same for the claims of any set, and volumes of any size.
pub async fn class_for(space: &Space, set: &str, size: &str, may_grow: bool, ordinals: i64) -> Result<String> {
    let name = format!("{}-class", space.namespace);
    let classes: Api<StorageClass> = Api::all(space.client.clone());
    let class = json!({
        "metadata": {"name": name}, "provisioner": "kubernetes.io/no-provisioner", "allowVolumeExpansion": may_grow,
    });
    classes.create(&PostParams::default(), &serde_json::from_value(class)?).await?;
    let volumes: Api<PersistentVolume> = Api::all(space.client.clone());
    for ordinal in 0..ordinals {
        let claim = format!("data-{set}-{ordinal}");
        let volume = format!("{}-{claim}", space.namespace);
        let volume = json!({
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": space.namespace, "name": claim},
                "hostPath": {"path": format!("/nowhere/{volume}")},
            },
        });
        volumes.create(&PostParams::default(), &serde_json::from_value(volume)?).await?;
    }
    Ok(name)
}

fn template(class: &str, size: &str) -> Value {
    json!([{
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        },
    }])
}

fn growing(class: &str, replicas: i64, spec: Value) -> Value {
    let base = json!({
        "replicas": replicas,
        "volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"},
        "volumeClaimTemplates": template(class, "1Mi"),
        "template": {"spec": {"containers": [{"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
    });
    set("web", with(base, spec))
}

/// Lets every claim grow at once, as long as the future lives.
pub async fn resizer(claims: Api<PersistentVolumeClaim>) {
    let storage = |held: &Value, pointer: &str| held.pointer(pointer).cloned().unwrap_or_default();
    loop {
        for claim in claims.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let held = serde_json::to_value(&claim).unwrap_or_default();
            let wanted = storage(&held, "/spec/resources/requests/storage");
            if held.pointer("/status/phase") == Some(&json!("Bound"))
                && storage(&held, "/status/capacity/storage") != wanted
            {
                let patch = Patch::Merge(json!({"status": {"capacity": {"storage": wanted}}}));
                let name = claim.metadata.name.unwrap_or_default();
                drop(claims.patch_status(&name, &PatchParams::default(), &patch).await);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn resize(space: &Space, class: &str, size: &str) -> Result {
    space.edit("web", json!({"volumeClaimTemplates": template(class, size)})).await
}

async fn request(space: &Space, ordinal: i64) -> Result<String> {
    let claim = space.claim(&format!("data-web-{ordinal}")).await?;
    let requests = claim.spec.and_then(|spec| spec.resources).and_then(|resources| resources.requests);
    Ok(requests.and_then(|mut requests| requests.remove("storage")).context("a request")?.0)
}

async fn requests_are(space: &Space, wanted: &[&str]) -> Result {
    eventually(seconds(60), &format!("the claims ask for {wanted:?}"), async || requests_are_now(space, wanted).await)
        .await
}

async fn requests_are_now(space: &Space, wanted: &[&str]) -> Result {
    for (ordinal, wanted) in (0..).zip(wanted) {
        ensure_eq!(request(space, ordinal).await?.as_str(), *wanted, "request of data-web-{ordinal}");
    }
    Ok(())
}

/// What a resizer writes.
async fn write_status(space: &Space, ordinal: i64, status: Value) -> Result {
    let claims: Api<PersistentVolumeClaim> = space.api();
    let patch = Patch::Merge(json!({"status": status}));
    claims.patch_status(&format!("data-web-{ordinal}"), &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn has_grown(space: &Space, ordinal: i64, size: &str) -> Result {
    write_status(space, ordinal, json!({"capacity": {"storage": size}})).await
}

async fn identities(space: &Space) -> Result<Vec<(String, String, Option<String>)>> {
    let pods = space.pods_of("web").await?;
    let of = |pod| (pod_name(pod).to_owned(), uid(pod), container_id(pod).map(str::to_owned));
    Ok(pods.iter().map(of).collect())
}

async fn claims_grow_in_order_and_no_pod_is_touched(space: Space) -> Result {
    let class = class(&space, true, 3).await?;
    space.create_settled(growing(&class, 3, json!({}))).await?;
    let (before, revision) = (identities(&space).await?, space.status("web").await?.update_revision);
    let recorder = space.record().await?;
    resize(&space, &class, "2Mi").await?;
    for (ordinal, wanted) in [(2, ["1Mi", "1Mi", "2Mi"]), (1, ["1Mi", "2Mi", "2Mi"]), (0, ["2Mi", "2Mi", "2Mi"])] {
        requests_are(&space, &wanted).await?;
        holds(seconds(1), "the next claim waits", async || requests_are_now(&space, &wanted).await).await?;
        space.condition_is("web", "Progressing", "True", Some("WaitingForClaim")).await?;
        has_grown(&space, ordinal, "2Mi").await?;
    }
    space.settled("web").await?;
    let status = space.status("web").await?;
    ensure!(status.update_revision != revision, "the size is no part of {revision:?}");
    ensure_eq!(
        (status.volume_claims[0].compatible_replicas, status.volume_claims[0].compatible_ready_replicas),
        (3, 3),
        "volumeClaims"
    );
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    ensure_eq!(recorder.worst_unready("web", 0..3), 0, "Pods that were down");
    recorder.keeps_identity()
}

async fn a_pod_is_updated_after_its_claim_has_grown(space: Space) -> Result {
    let class = class(&space, true, 2).await?;
    space.create_settled(growing(&class, 2, json!({}))).await?;
    let change = json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image("v2")},
        {"op": "replace", "path": "/spec/volumeClaimTemplates/0/spec/resources/requests/storage", "value": "2Mi"},
    ]);
    space.json_patch("web", change).await?;
    for ordinal in [1, 0] {
        eventually(seconds(60), "the claim is asked to grow", async || {
            ensure_eq!(request(&space, ordinal).await?, "2Mi", "request of data-web-{ordinal}");
            Ok(())
        })
        .await?;
        let name = format!("web-{ordinal}");
        holds(seconds(1), "the Pod waits for its claim", async || {
            ensure_eq!(image_of(&space.pod(&name).await?), image("v1"), "image of {name}");
            Ok(())
        })
        .await?;
        has_grown(&space, ordinal, "2Mi").await?;
        space.pod_is(&name, "updated", |pod| image_of(pod) == image("v2")).await?;
    }
    space.settled("web").await
}

async fn a_file_system_that_waits_for_its_node_holds_nothing_up(space: Space) -> Result {
    let class = class(&space, true, 2).await?;
    space.create_settled(growing(&class, 2, json!({}))).await?;
    let before = identities(&space).await?;
    resize(&space, &class, "2Mi").await?;
    requests_are(&space, &["1Mi", "2Mi"]).await?;
    let pending = json!({"conditions": [{"type": "FileSystemResizePending", "status": "True"}]});
    write_status(&space, 1, pending.clone()).await?;
    requests_are(&space, &["2Mi", "2Mi"]).await?;
    write_status(&space, 0, pending).await?;
    space.settled("web").await?;
    let condition = space.condition_is("web", "ClaimResizeBlocked", "False", Some("FileSystemResizePending")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("data-web-0") && message.contains("data-web-1"), "{message}");
    ensure_eq!(space.status("web").await?.volume_claims[0].compatible_ready_replicas, 0, "compatibleReadyReplicas");
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    Ok(())
}

async fn a_class_that_allows_no_growth_is_reported_and_heals(space: Space) -> Result {
    let class = class(&space, false, 2).await?;
    space.create_settled(growing(&class, 2, json!({}))).await?;
    let before = identities(&space).await?;
    resize(&space, &class, "2Mi").await?;
    let condition = space.condition_is("web", "ClaimResizeBlocked", "True", Some("GrowthRefused")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("data-web-1") && message.contains("must support resize"), "{message}");
    space.event("FailedUpdate", "data-web-1").await?;
    space.condition_is("web", "ReplicaFailure", "True", Some("Forbidden")).await?;
    // One that is refused holds up no other.
    space.event("FailedUpdate", "data-web-0").await?;
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    let classes: Api<StorageClass> = Api::all(space.client.clone());
    let patch = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch(&class, &PatchParams::default(), &patch).await?;
    requests_are(&space, &["2Mi", "2Mi"]).await?;
    for ordinal in [0, 1] {
        has_grown(&space, ordinal, "2Mi").await?;
    }
    space.settled("web").await?;
    space.condition_is("web", "ClaimResizeBlocked", "False", Some("NothingBlocked")).await?;
    space.condition_is("web", "ReplicaFailure", "False", None).await?;
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    Ok(())
}

async fn a_size_that_shrinks_is_reported_and_no_claim_shrinks(space: Space) -> Result {
    let class = class(&space, true, 2).await?;
    space.create_settled(growing(&class, 2, json!({}))).await?;
    let first = space.status("web").await?.update_revision;
    let before = identities(&space).await?;
    resize(&space, &class, "2Mi").await?;
    for ordinal in [1, 0] {
        requests_are(&space, if ordinal == 1 { &["1Mi", "2Mi"] } else { &["2Mi", "2Mi"] }).await?;
        has_grown(&space, ordinal, "2Mi").await?;
    }
    space.settled("web").await?;
    resize(&space, &class, "1Mi").await?;
    let condition = space.condition_is("web", "ClaimResizeBlocked", "True", Some("ShrinkNotPossible")).await?;
    ensure!(condition.message.unwrap_or_default().contains("data-web-0"), "no claim is named");
    space.event("ClaimNotShrunk", "data-web-0").await?;
    space.settled("web").await?;
    ensure_eq!(space.status("web").await?.update_revision, first, "the revision that it goes back to");
    requests_are_now(&space, &["2Mi", "2Mi"]).await?;
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    Ok(())
}

async fn partition_and_pause_hold_claims_back(space: Space) -> Result {
    let class = class(&space, true, 3).await?;
    space.create_settled(growing(&class, 3, rolling_update(json!({"paused": true})))).await?;
    resize(&space, &class, "2Mi").await?;
    space.condition_is("web", "Progressing", "True", Some("Paused")).await?;
    holds(seconds(1), "no claim grows", async || requests_are_now(&space, &["1Mi", "1Mi", "1Mi"]).await).await?;
    space.edit("web", rolling_update(json!({"paused": false, "partition": 2}))).await?;
    requests_are(&space, &["1Mi", "1Mi", "2Mi"]).await?;
    has_grown(&space, 2, "2Mi").await?;
    space.condition_is("web", "Progressing", "True", Some("Partitioned")).await?;
    holds(seconds(1), "held claims", async || requests_are_now(&space, &["1Mi", "1Mi", "2Mi"]).await).await
}

async fn on_delete_grows_the_claim_of_a_pod_that_came_back(space: Space) -> Result {
    let class = class(&space, true, 2).await?;
    space.create_settled(growing(&class, 2, json!({"updateStrategy": {"type": "OnDelete"}}))).await?;
    resize(&space, &class, "2Mi").await?;
    space.condition_is("web", "Progressing", "True", Some("OnDelete")).await?;
    holds(seconds(1), "no claim grows", async || requests_are_now(&space, &["1Mi", "1Mi"]).await).await?;
    space.delete_and_wait("web-0").await?;
    requests_are(&space, &["2Mi", "1Mi"]).await
}

async fn to_count_sizes_or_not_moves_nothing(space: Space) -> Result {
    let class = class(&space, true, 2).await?;
    let on_delete = json!({"volumeClaimUpdateStrategy": {"type": "OnDelete"}});
    space.create_settled(growing(&class, 2, on_delete.clone())).await?;
    let revision = space.status("web").await?.update_revision;
    let strategies = [json!({"volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}}), on_delete];
    for strategy in strategies {
        space.edit("web", strategy).await?;
        space.settled("web").await?;
        ensure_eq!(space.status("web").await?.update_revision, revision, "updateRevision");
    }
    ensure_eq!(space.revisions_of("web").await?.len(), 1, "revisions");
    // Grown in the template while sizes did not count; they count, and the claims follow.
    resize(&space, &class, "2Mi").await?;
    space.settled("web").await?;
    requests_are_now(&space, &["1Mi", "1Mi"]).await?;
    space.edit("web", json!({"volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}})).await?;
    requests_are(&space, &["1Mi", "2Mi"]).await
}
