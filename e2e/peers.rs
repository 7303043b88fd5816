//! What users of other controllers of stateful Pods reported, by the number of their report: done to ours, and
//! where the cluster's own StatefulSet controller still behaves so, to that one beside it, to show the difference.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::claims::volume_for;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{image_of, is_ready, pod_name, revision_label, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    kubernetes_67250_a_broken_update_in_order_is_mended_by_the_next_template,
    kubernetes_137409_a_faulty_first_revision_is_replaced,
    kubernetes_121534_pods_below_the_partition_stay_old_after_scaling_to_zero_and_back,
    kubernetes_64023_a_long_name_gets_its_pods,
    kubernetes_89910_a_pod_is_not_made_while_its_claim_goes,
    kubernetes_41153_two_sets_whose_claims_have_one_name_do_not_share_it,
    kubernetes_73492_on_delete_ends_with_the_update_revision_as_current,
    kubernetes_84984_the_revisions_of_an_orphaning_deletion_outlive_it,
    kruise_1530_the_claim_of_a_reserved_ordinal_goes_with_its_pod,
    kruise_1104_reserved_ordinals_hold_after_scaling_to_zero_and_back,
    kruise_2256_claims_keep_the_labels_of_their_template,
];

/// How long the other controller is watched for doing nothing.
const WATCHED_SECONDS: u64 = 3;

/// The same as a set of the cluster's own controller.
fn native(name: &str, spec: Value) -> Value {
    let mut manifest = set(name, spec);
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("StatefulSet");
    manifest
}

async fn create_native(space: &Space, manifest: Value) -> Result {
    let native: StatefulSet = serde_json::from_value(manifest)?;
    space.api::<StatefulSet>().create(&PostParams::default(), &native).await?;
    Ok(())
}

async fn patch_native(space: &Space, name: &str, patch: Value) -> Result {
    let patch: json_patch::Patch = serde_json::from_value(patch)?;
    space.api::<StatefulSet>().patch(name, &PatchParams::default(), &Patch::Json::<()>(patch)).await?;
    Ok(())
}

fn image_patch(tag: &str) -> Value {
    json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image(tag)}])
}

async fn ready_native(space: &Space, name: &str, replicas: i32) -> Result {
    eventually(seconds(60), &format!("{name} is ready"), async || {
        let status = space.api::<StatefulSet>().get(name).await?.status.unwrap_or_default();
        ensure!(status.ready_replicas == Some(replicas), "{status:?}");
        Ok(())
    })
    .await
}

fn has(tag: &str) -> impl Fn(&Pod) -> bool {
    move |pod| image_of(pod) == image(tag)
}

/// Also 60164.
async fn kubernetes_67250_a_broken_update_in_order_is_mended_by_the_next_template(space: Space) -> Result {
    create_native(&space, native("theirs", json!({}))).await?;
    space.create_settled(set("ours", json!({}))).await?;
    ready_native(&space, "theirs", 3).await?;
    space.set_image("ours", "never-ready").await?;
    patch_native(&space, "theirs", image_patch("never-ready")).await?;
    for pod in ["ours-2", "theirs-2"] {
        space.pod_is(pod, "broken", |pod| has("never-ready")(pod) && !is_ready(pod)).await?;
    }
    space.set_image("ours", "v2").await?;
    patch_native(&space, "theirs", image_patch("v2")).await?;
    space.settled("ours").await?;
    holds(seconds(WATCHED_SECONDS), "the other controller waits for the broken Pod", async || {
        let pod = space.pod("theirs-2").await?;
        ensure!(has("never-ready")(&pod), "{}", crate::harness::space::describe(&pod));
        Ok(())
    })
    .await
}

async fn kubernetes_137409_a_faulty_first_revision_is_replaced(space: Space) -> Result {
    let broken = json!({"template": {"spec": {"containers": [{"name": "app", "image": image("never-ready")}]}}});
    for policy in ["OrderedReady", "Parallel"] {
        let name = policy.to_lowercase();
        space.create(set(&name, with(broken.clone(), json!({"podManagementPolicy": policy})))).await?;
        space.pod_is(&format!("{name}-0"), "broken", has("never-ready")).await?;
        space.set_image(&name, "v2").await?;
    }
    for policy in ["orderedready", "parallel"] {
        space.settled(policy).await?;
    }
    Ok(())
}

/// Also 119684, 120731.
async fn kubernetes_121534_pods_below_the_partition_stay_old_after_scaling_to_zero_and_back(space: Space) -> Result {
    let canary = || rolling_update(json!({"partition": 2}));
    create_native(&space, native("theirs", canary())).await?;
    space.create_settled(set("ours", canary())).await?;
    ready_native(&space, "theirs", 3).await?;
    space.set_image("ours", "v2").await?;
    patch_native(&space, "theirs", image_patch("v2")).await?;
    for pod in ["ours-2", "theirs-2"] {
        space.pod_is(pod, "updated", |pod| has("v2")(pod) && is_ready(pod)).await?;
    }
    for replicas in [0, 3] {
        space.scale("ours", replicas).await?;
        patch_native(&space, "theirs", json!([{"op": "replace", "path": "/spec/replicas", "value": replicas}])).await?;
        let wanted = usize::try_from(replicas * 2)?;
        eventually(seconds(60), &format!("{replicas} Pods each"), async || {
            let pods = space.pods().list(&ListParams::default()).await?.items;
            ensure!(pods.len() == wanted && pods.iter().all(is_ready), "{} Pods", pods.len());
            Ok(())
        })
        .await?;
    }
    for (pod, tag) in [("ours-0", "v1"), ("ours-1", "v1"), ("ours-2", "v2"), ("theirs-0", "v2")] {
        ensure_eq!(image_of(&space.pod(pod).await?), image(tag), "image of {pod}");
    }
    Ok(())
}

/// Also 79337; kruise 531.
async fn kubernetes_64023_a_long_name_gets_its_pods(space: Space) -> Result {
    let name = "n".repeat(58);
    let app =
        json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}});
    create_native(&space, native(&format!("t{}", &name[1..]), app.clone())).await?;
    space.create_settled(set(&name, app)).await?;
    let made: BTreeSet<String> =
        space.pods().list(&ListParams::default()).await?.iter().map(|pod| pod_name(pod).to_owned()).collect();
    ensure_eq!(made, (0..3).map(|ordinal| format!("{name}-{ordinal}")).collect(), "Pods of both controllers");
    Ok(())
}

/// Also 74374, 83282, 93457. A Pod that is made while its claim goes can never be scheduled.
async fn kubernetes_89910_a_pod_is_not_made_while_its_claim_goes(space: Space) -> Result {
    volume_for(&space, "data-web-0").await?;
    let spec = json!({"replicas": 1, "volumeClaimTemplates": [claim_template("data", "1Mi")]});
    space.create_settled(set("web", spec)).await?;
    let (old_pod, old_claim) = (uid(&space.pod("web-0").await?), space.claim("data-web-0").await?.metadata.uid);
    let claims: Api<PersistentVolumeClaim> = space.api();
    let hold = |names: Value| Patch::Merge(json!({"metadata": {"finalizers": names}}));
    claims.patch("data-web-0", &PatchParams::default(), &hold(json!(["asts.dev/hold"]))).await?;
    claims.delete("data-web-0", &DeleteParams::default()).await?;
    space.pods().delete("web-0", &DeleteParams::default()).await?;
    eventually(seconds(60), "the old Pod is gone", async || {
        ensure!(space.find_pod("web-0").await?.is_none_or(|pod| uid(&pod) != old_pod), "it is still there");
        Ok(())
    })
    .await?;
    holds(seconds(WATCHED_SECONDS), "no Pod is made", async || {
        ensure!(space.find_pod("web-0").await?.is_none(), "it was made");
        Ok(())
    })
    .await?;
    let volumes: Api<k8s_openapi::api::core::v1::PersistentVolume> = Api::all(space.client.clone());
    volumes.delete(&format!("{}-data-web-0", space.namespace), &DeleteParams::default()).await?;
    claims.patch("data-web-0", &PatchParams::default(), &hold(json!([]))).await?;
    eventually(seconds(60), "another volume can be made", async || volume_for(&space, "data-web-0").await).await?;
    space.settled("web").await?;
    ensure!(space.claim("data-web-0").await?.metadata.uid != old_claim, "it is the old claim");
    Ok(())
}

/// `data` of `b-web` and `data-b` of `web` are both `data-b-web-0`.
async fn kubernetes_41153_two_sets_whose_claims_have_one_name_do_not_share_it(space: Space) -> Result {
    volume_for(&space, "data-b-web-0").await?;
    let with_claim = |name: &str, template: &str| {
        set(name, json!({"replicas": 1, "volumeClaimTemplates": [claim_template(template, "1Mi")]}))
    };
    space.create_settled(with_claim("b-web", "data")).await?;
    space.create(with_claim("web", "data-b")).await?;
    eventually(seconds(60), "the second is told why it waits", async || {
        let conditions = space.fresh_status("web").await?.conditions;
        let told = conditions.iter().any(|one| one.message.as_deref().unwrap_or_default().contains("data-b-web-0"));
        ensure!(told, "{conditions:?}");
        Ok(())
    })
    .await?;
    ensure!(space.find_pod("web-0").await?.is_none(), "a Pod has the claim of another set");
    ensure!(is_ready(&space.pod("b-web-0").await?), "b-web-0 is not ready");
    Ok(())
}

/// The cluster's own controller has been mended since.
async fn kubernetes_73492_on_delete_ends_with_the_update_revision_as_current(space: Space) -> Result {
    let by_hand = || json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}});
    create_native(&space, native("theirs", by_hand())).await?;
    space.create_settled(set("ours", by_hand())).await?;
    ready_native(&space, "theirs", 2).await?;
    space.set_image("ours", "v2").await?;
    patch_native(&space, "theirs", image_patch("v2")).await?;
    for pod in ["ours-1", "ours-0", "theirs-1", "theirs-0"] {
        ensure_eq!(image_of(&space.delete_and_wait(pod).await?), image("v2"), "image of {pod}");
    }
    space.settled("ours").await?;
    eventually(seconds(60), "the other controller names the new revision as current too", async || {
        let status = space.api::<StatefulSet>().get("theirs").await?.status.unwrap_or_default();
        ensure!(
            status.observed_generation == Some(2) && status.current_revision == status.update_revision,
            "{status:?}"
        );
        Ok(())
    })
    .await
}

async fn kubernetes_84984_the_revisions_of_an_orphaning_deletion_outlive_it(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let names = async |space: &Space| -> Result<BTreeSet<String>> {
        let revisions = space.api::<k8s_openapi::api::apps::v1::ControllerRevision>();
        Ok(revisions.list(&ListParams::default()).await?.into_iter().filter_map(|one| one.metadata.name).collect())
    };
    let before = names(&space).await?;
    let pods: Vec<String> = space.pods_of("web").await?.iter().map(uid).collect();
    space.sets().delete("web", &DeleteParams::orphan()).await?;
    eventually(seconds(60), "the set is gone", async || match space.sets().get_opt("web").await? {
        None => Ok(()),
        Some(_) => Err(Failure("it is still there".to_owned())),
    })
    .await?;
    // The deleted set takes nothing back, so that the garbage collector takes nothing away.
    holds(seconds(WATCHED_SECONDS), "Pods and revisions stay", async || {
        ensure_eq!(names(&space).await?, before, "revisions");
        for pod in space.pods().list(&ListParams::default()).await? {
            ensure!(pods.contains(&uid(&pod)) && pod.metadata.owner_references.is_none(), "{}", pod_name(&pod));
        }
        Ok(())
    })
    .await
}

async fn kruise_1530_the_claim_of_a_reserved_ordinal_goes_with_its_pod(space: Space) -> Result {
    for ordinal in 0..4 {
        volume_for(&space, &format!("data-web-{ordinal}")).await?;
    }
    let spec = json!({
        "volumeClaimTemplates": [claim_template("data", "1Mi")],
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
    });
    space.create_settled(set("web", spec)).await?;
    space.edit("web", json!({"reserveOrdinals": [1]})).await?;
    space.ordinals_are("web", &[0, 2, 3]).await?;
    eventually(seconds(60), "the claim of ordinal 1 is gone", async || {
        ensure_eq!(space.claim_names().await?, ["data-web-0", "data-web-2", "data-web-3"], "claims");
        Ok(())
    })
    .await
}

/// Also 746.
async fn kruise_1104_reserved_ordinals_hold_after_scaling_to_zero_and_back(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 2, "reserveOrdinals": [0, 7]}))).await?;
    space.ordinals_are("web", &[1, 2]).await?;
    let hash = revision_label(&space.pod("web-1").await?).to_owned();
    space.scale("web", 0).await?;
    space.ordinals_are("web", &[]).await?;
    space.scale("web", 3).await?;
    space.ordinals_are("web", &[1, 2, 3]).await?;
    ensure_eq!(revision_label(&space.pod("web-1").await?), hash, "revision");
    Ok(())
}

async fn kruise_2256_claims_keep_the_labels_of_their_template(space: Space) -> Result {
    let labelled = with(claim_template("data", "1Mi"), json!({"metadata": {"labels": {"backup": "nightly"}}}));
    space.create(set("web", json!({"replicas": 1, "volumeClaimTemplates": [labelled]}))).await?;
    let claim = eventually(seconds(60), "the claim", async || space.claim("data-web-0").await).await?;
    let labels = claim.metadata.labels.context("the claim's labels")?;
    ensure_eq!(labels.get("backup").map(String::as_str), Some("nightly"), "label of the template");
    ensure_eq!(labels.get("app").map(String::as_str), Some("web"), "label of the selector");
    Ok(())
}
