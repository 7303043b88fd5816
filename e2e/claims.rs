//! Claims: made for each ordinal, kept, and owned as the retention policy says.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::manifest::{claim_template, with};
use crate::harness::rest::is_quiet;
use crate::harness::space::{container_id, describe, is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    each_pod_gets_its_claim_and_mounts_it,
    claims_stay_when_the_set_shrinks_and_when_it_goes,
    a_pod_gets_its_old_claim_back,
    when_scaled_delete_lets_the_claims_of_condemned_pods_go,
    when_deleted_delete_lets_the_claims_go_with_the_set,
    with_both_policies_delete_condemned_claims_go_first_and_the_rest_with_the_set,
    when_scaled_delete_lets_the_claim_of_a_reserved_ordinal_go,
    a_rollout_and_its_rollback_keep_the_claims,
    the_policy_can_change_later,
    a_claim_that_another_controller_owns_is_left_alone,
    a_missing_claim_of_a_pending_pod_is_made_again,
    a_claim_whose_volume_is_lost_is_told_and_left_to_its_owner,
    a_new_claim_template_re_creates_the_pods_and_keeps_the_claims,
    another_size_is_for_claims_made_from_then_on,
    the_status_counts_claims,
];

fn with_claims(name: &str, replicas: i64, spec: Value) -> Value {
    let mount = json!({"replicas": replicas, "volumeClaimTemplates": [claim_template("data", "1Mi")],
        "template": {"spec": {"containers": [{"name": "app", "image": crate::harness::image("v1"),
            "imagePullPolicy": "IfNotPresent", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}}});
    set(name, with(mount, spec))
}

/// A volume for exactly this claim.
pub async fn volume_for(space: &Space, claim: &str) -> Result {
    let name = format!("{}-{claim}", space.namespace);
    let volume = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": space.namespace, "name": claim},
            "hostPath": {"path": format!("/nowhere/{name}")},
        },
    }))?;
    let volumes: Api<PersistentVolume> = Api::all(space.client.clone());
    volumes.create(&PostParams::default(), &volume).await?;
    Ok(())
}

async fn volumes_for(space: &Space, set: &str, ordinals: std::ops::Range<i64>) -> Result {
    for ordinal in ordinals {
        volume_for(space, &format!("data-{set}-{ordinal}")).await?;
    }
    Ok(())
}

pub async fn claims_are(space: &Space, names: &[&str]) -> Result {
    eventually(seconds(60), &format!("the claims {names:?}"), async || {
        ensure_eq!(space.claim_names().await?, names, "claims");
        Ok(())
    })
    .await
}

async fn each_pod_gets_its_claim_and_mounts_it(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, json!({}))).await?;
    ensure_eq!(space.claim_names().await?, ["data-web-0", "data-web-1"], "claims");
    for pod in space.pods_of("web").await? {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        let volume = volumes.iter().find(|volume| volume.name == "data").context("the volume data")?;
        let claim = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone());
        ensure_eq!(claim, Some(format!("data-{}", pod_name(&pod))), "claim of {}", pod_name(&pod));
    }
    let claim = space.claim("data-web-0").await?;
    ensure_eq!(claim.metadata.labels.unwrap_or_default().get("app").map(String::as_str), Some("web"), "label app");
    ensure!(
        claim.metadata.owner_references.is_none(),
        "a retained claim has owners: {:?}",
        claim.metadata.owner_references
    );
    Ok(())
}

async fn claims_stay_when_the_set_shrinks_and_when_it_goes(space: Space) -> Result {
    volumes_for(&space, "web", 0..3).await?;
    space.create_settled(with_claims("web", 3, json!({}))).await?;
    let recorder = space.record().await?;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    space.sets().delete("web", &DeleteParams::foreground()).await?;
    eventually(seconds(60), "the set and its Pods are gone", async || {
        ensure!(space.find_pod("web-0").await?.is_none(), "web-0 is there");
        ensure!(space.sets().get_opt("web").await?.is_none(), "the set is there");
        Ok(())
    })
    .await?;
    ensure_eq!(space.claim_names().await?.len(), 3, "claims");
    recorder.keeps_identity()
}

async fn a_pod_gets_its_old_claim_back(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, json!({}))).await?;
    let before = space.claim("data-web-1").await?.metadata.uid;
    space.delete_and_wait("web-1").await?;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    space.scale("web", 2).await?;
    space.settled("web").await?;
    ensure_eq!(space.claim("data-web-1").await?.metadata.uid, before, "UID of data-web-1");
    Ok(())
}

fn retention(deleted: &str, scaled: &str) -> Value {
    json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}})
}

async fn when_scaled_delete_lets_the_claims_of_condemned_pods_go(space: Space) -> Result {
    volumes_for(&space, "web", 0..3).await?;
    space.create_settled(with_claims("web", 3, retention("Retain", "Delete"))).await?;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    claims_are(&space, &["data-web-0"]).await?;
    space.sets().delete("web", &DeleteParams::foreground()).await?;
    eventually(seconds(60), "the Pod is gone", async || {
        ensure!(space.find_pod("web-0").await?.is_none(), "web-0 is there");
        Ok(())
    })
    .await?;
    holds(seconds(1), "the claim stays", async || {
        ensure_eq!(space.claim_names().await?, ["data-web-0"], "claims");
        Ok(())
    })
    .await
}

async fn when_deleted_delete_lets_the_claims_go_with_the_set(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, retention("Delete", "Retain"))).await?;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    ensure_eq!(space.claim_names().await?.len(), 2, "claims after scaling down");
    space.sets().delete("web", &DeleteParams::background()).await?;
    claims_are(&space, &[]).await
}

async fn with_both_policies_delete_condemned_claims_go_first_and_the_rest_with_the_set(space: Space) -> Result {
    volumes_for(&space, "web", 0..3).await?;
    space.create_settled(with_claims("web", 3, retention("Delete", "Delete"))).await?;
    let kept = space.claim("data-web-0").await?.metadata.uid;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    claims_are(&space, &["data-web-0"]).await?;
    ensure_eq!(space.claim("data-web-0").await?.metadata.uid, kept, "UID of data-web-0");
    space.sets().delete("web", &DeleteParams::background()).await?;
    claims_are(&space, &[]).await
}

async fn when_scaled_delete_lets_the_claim_of_a_reserved_ordinal_go(space: Space) -> Result {
    volumes_for(&space, "web", 0..4).await?;
    space.create_settled(with_claims("web", 3, retention("Retain", "Delete"))).await?;
    space.edit("web", json!({"reserveOrdinals": [1]})).await?;
    space.ordinals_are("web", &[0, 2, 3]).await?;
    space.settled("web").await?;
    claims_are(&space, &["data-web-0", "data-web-2", "data-web-3"]).await
}

async fn a_rollout_and_its_rollback_keep_the_claims(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    let recreated = crate::harness::manifest::rolling_update(json!({"podUpdatePolicy": "ReCreate"}));
    space.create_settled(with_claims("web", 2, recreated)).await?;
    let identity = async || -> Result<Vec<(Option<String>, Option<String>)>> {
        let mut found = Vec::new();
        for name in ["data-web-0", "data-web-1"] {
            let claim = space.claim(name).await?;
            found.push((claim.metadata.uid, claim.spec.and_then(|spec| spec.volume_name)));
        }
        Ok(found)
    };
    let (first, claims) = (space.status("web").await?.update_revision, identity().await?);
    ensure!(claims.iter().all(|(_, volume)| volume.is_some()), "not bound: {claims:?}");
    let recorder = space.record().await?;
    let mut uids: Vec<String> = space.pods_of("web").await?.iter().map(uid).collect();
    for tag in ["v2", "v1"] {
        space.set_image("web", tag).await?;
        space.settled("web").await?;
        ensure_eq!(identity().await?, claims, "UIDs and volumes of the claims with {tag}");
        for pod in space.pods_of("web").await? {
            ensure!(!uids.contains(&uid(&pod)), "{} was not made anew", pod_name(&pod));
            uids.push(uid(&pod));
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
            let claim = volumes.into_iter().flatten().find_map(|volume| volume.persistent_volume_claim.as_ref());
            let wanted = format!("data-{}", pod_name(&pod));
            ensure_eq!(claim.map(|claim| claim.claim_name.clone()), Some(wanted), "claim of {}", pod_name(&pod));
        }
    }
    ensure_eq!(space.status("web").await?.update_revision, first, "the revision after the rollback");
    recorder.keeps_identity()
}

async fn the_policy_can_change_later(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, json!({}))).await?;
    space.edit("web", retention("Delete", "Delete")).await?;
    let owned = async |wanted: bool| {
        eventually(seconds(60), "the claims' owners follow the policy", async || {
            for name in ["data-web-0", "data-web-1"] {
                let owners = space.claim(name).await?.metadata.owner_references.unwrap_or_default();
                ensure_eq!(!owners.is_empty(), wanted, "{name} has owners");
            }
            Ok(())
        })
        .await
    };
    owned(true).await?;
    space.edit("web", retention("Retain", "Retain")).await?;
    owned(false).await
}

async fn a_claim_that_another_controller_owns_is_left_alone(space: Space) -> Result {
    volumes_for(&space, "web", 0..1).await?;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = space.api();
    let owner =
        maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "owner"}}))?).await?;
    let owner_uid = owner.metadata.uid.context("UID")?;
    let reference =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner_uid, "controller": true});
    let mut claim = claim_template("data-web-0", "1Mi");
    claim["metadata"]["ownerReferences"] = json!([reference]);
    let claims: Api<PersistentVolumeClaim> = space.api();
    claims.create(&PostParams::default(), &serde_json::from_value(claim)?).await?;
    space.create_settled(with_claims("web", 1, retention("Delete", "Delete"))).await?;
    holds(seconds(2), "the other's ownership", async || {
        let owners = space.claim("data-web-0").await?.metadata.owner_references.unwrap_or_default();
        ensure!(owners.len() == 1 && owners[0].uid == owner_uid, "{owners:?}");
        Ok(())
    })
    .await
}

async fn a_missing_claim_of_a_pending_pod_is_made_again(space: Space) -> Result {
    space.create(with_claims("web", 1, json!({}))).await?;
    claims_are(&space, &["data-web-0"]).await?;
    space
        .pod_is("web-0", "pending", |pod| {
            pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Pending"))
        })
        .await?;
    let pod_before = uid(&space.pod("web-0").await?);
    let before = space.claim("data-web-0").await?.metadata.uid;
    let claims: Api<PersistentVolumeClaim> = space.api();
    claims.delete("data-web-0", &DeleteParams::default()).await?;
    eventually(seconds(60), "another claim", async || {
        ensure!(space.claim("data-web-0").await?.metadata.uid != before, "it is still the old one");
        Ok(())
    })
    .await?;
    volumes_for(&space, "web", 0..1).await?;
    space.settled("web").await?;
    ensure_eq!(uid(&space.pod("web-0").await?), pod_before, "UID of web-0");
    Ok(())
}

async fn lose_volume(space: &Space, claim: &str) -> Result {
    let volumes: Api<PersistentVolume> = Api::all(space.client.clone());
    let name = format!("{}-{claim}", space.namespace);
    volumes.delete(&name, &DeleteParams::default()).await?;
    let unprotected = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    volumes.patch(&name, &PatchParams::default(), &unprotected).await?;
    eventually(seconds(60), &format!("{claim} is Lost"), async || {
        let phase = space.claim(claim).await?.status.and_then(|status| status.phase);
        ensure_eq!(phase.as_deref(), Some("Lost"), "phase");
        Ok(())
    })
    .await
}

/// Only who owns the data can say that they are not needed any more.
async fn a_claim_whose_volume_is_lost_is_told_and_left_to_its_owner(space: Space) -> Result {
    volumes_for(&space, "web", 0..1).await?;
    space.create_settled(with_claims("web", 1, json!({}))).await?;
    let (pod, claim) = (uid(&space.pod("web-0").await?), space.claim("data-web-0").await?.metadata.uid);
    lose_volume(&space, "data-web-0").await?;
    // The Pod that runs goes on, and is updated in place.
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    ensure_eq!(uid(&space.pod("web-0").await?), pod, "UID of web-0");
    // The next one cannot be scheduled.
    space.pods().delete("web-0", &DeleteParams::default()).await?;
    eventually(seconds(60), "another Pod, that waits", async || {
        let made = space.pod("web-0").await?;
        ensure!(uid(&made) != pod && !is_ready(&made), "{}", describe(&made));
        let progressing = space.condition("web", "Progressing").await?;
        ensure!(progressing.message.as_deref().unwrap_or_default().contains("web-0"), "{progressing:?}");
        Ok(())
    })
    .await?;
    is_quiet(&space).await?;
    ensure_eq!(space.claim("data-web-0").await?.metadata.uid, claim, "UID of the claim");
    let claims: Api<PersistentVolumeClaim> = space.api();
    claims.delete("data-web-0", &DeleteParams::default()).await?;
    volumes_for(&space, "web", 0..1).await?;
    space.settled("web").await?;
    ensure!(space.claim("data-web-0").await?.metadata.uid != claim, "it is still the old claim");
    Ok(())
}

/// openkruise/kruise#1389, #2343: an added claim template stopped the set for ever.
async fn a_new_claim_template_re_creates_the_pods_and_keeps_the_claims(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, json!({}))).await?;
    for ordinal in 0..2 {
        volume_for(&space, &format!("more-web-{ordinal}")).await?;
    }
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space
        .edit("web", json!({"volumeClaimTemplates": [claim_template("data", "1Mi"), claim_template("more", "1Mi")]}))
        .await?;
    space.settled("web").await?;
    ensure_eq!(space.claim_names().await?, ["data-web-0", "data-web-1", "more-web-0", "more-web-1"], "claims");
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
    }
    ensure!(recorder.worst_unready("web", 0..2) <= 1, "more than one Pod was down");
    space.edit("web", json!({"volumeClaimTemplates": [claim_template("data", "1Mi")]})).await?;
    space.settled("web").await?;
    ensure_eq!(space.claim_names().await?.len(), 4, "claims after one template went");
    recorder.keeps_identity()
}

async fn another_size_is_for_claims_made_from_then_on(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 1, json!({}))).await?;
    let before = space.pod("web-0").await?;
    let revision = space.status("web").await?.update_revision;
    space.edit("web", json!({"volumeClaimTemplates": [claim_template("data", "2Mi")]})).await?;
    space.scale("web", 2).await?;
    space.settled("web").await?;
    let size = async |name: &str| -> Result<Option<String>> {
        let requests = space.claim(name).await?.spec.and_then(|spec| spec.resources).and_then(|all| all.requests);
        Ok(requests.and_then(|requests| requests.get("storage").map(|quantity| quantity.0.clone())))
    };
    ensure_eq!(size("data-web-0").await?.as_deref(), Some("1Mi"), "size of the old claim");
    ensure_eq!(size("data-web-1").await?.as_deref(), Some("2Mi"), "size of the new claim");
    ensure_eq!(space.status("web").await?.update_revision, revision, "updateRevision");
    let after = space.pod("web-0").await?;
    ensure_eq!((uid(&after), container_id(&after)), (uid(&before), container_id(&before)), "web-0");
    Ok(())
}

async fn the_status_counts_claims(space: Space) -> Result {
    volumes_for(&space, "web", 0..2).await?;
    space.create_settled(with_claims("web", 2, json!({}))).await?;
    let status = space
        .status_is("web", "two claims of data are as asked for", |status| {
            status
                .volume_claims
                .iter()
                .any(|claim| claim.volume_claim_name == "data" && claim.compatible_ready_replicas == 2)
        })
        .await?;
    ensure_eq!(status.volume_claims[0].compatible_replicas, 2, "compatibleReplicas");
    // Nothing else is done to a claim by a merge patch of its labels.
    let claims: Api<PersistentVolumeClaim> = space.api();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"mine": "yes"}}}));
    claims.patch("data-web-0", &PatchParams::default(), &patch).await?;
    holds(seconds(1), "the user's label", async || {
        let labels = space.claim("data-web-0").await?.metadata.labels.unwrap_or_default();
        ensure!(labels.contains_key("mine"), "it is gone: {labels:?}");
        Ok(())
    })
    .await
}
