//! What the apiserver refuses to the manager: said with the server's words, and healed after.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::harness::manifest::rolling_update;
use crate::harness::policy::{forbid, forbid_no_more};
use crate::harness::space::{container_id, image_of, is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_quota_is_reported_and_healed_after,
    a_template_that_the_apiserver_refuses_is_reported_before_any_pod_is_touched,
    a_first_template_that_the_apiserver_refuses_is_reported_and_healed_by_the_next,
    a_policy_that_forbids_the_pod_is_reported,
    a_policy_that_denies_pods_is_reported_in_its_words_and_healed_after,
    a_policy_that_denies_an_image_re_creates_no_pod_and_is_healed_after,
    a_policy_that_denies_an_image_under_in_place_only_is_a_denial_and_no_block,
    a_refusal_of_one_pod_stops_no_other_work,
    a_revision_that_is_refused_is_reported_and_healed_after,
];

async fn quota(space: &Space, resource: &str, count: u32) -> Result {
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": {"name": "few"}, "spec": {"hard": {resource: count.to_string()}},
    }))?;
    space.api().create(&PostParams::default(), &quota).await?;
    eventually(seconds(30), "the quota counts", async || {
        let quota: ResourceQuota = space.api().get("few").await?;
        ensure!(quota.status.and_then(|status| status.hard).is_some(), "not yet");
        Ok(())
    })
    .await
}

async fn a_quota_is_reported_and_healed_after(space: Space) -> Result {
    quota(&space, "pods", 1).await?;
    space.create(set("web", json!({"podManagementPolicy": "Parallel"}))).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("exceeded quota"), "not the server's words: {message:?}");
    space.event("FailedCreate", "quota").await?;
    space.api::<ResourceQuota>().delete("few", &DeleteParams::default()).await?;
    space.settled_within("web", 30).await?;
    let condition = space.condition("web", "ReplicaFailure").await;
    ensure!(
        condition.is_err() || condition.is_ok_and(|condition| condition.status == "False"),
        "it still says failure"
    );
    Ok(())
}

async fn a_template_that_the_apiserver_refuses_is_reported_before_any_pod_is_touched(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let ports = json!([{"name": "UPPER CASE", "containerPort": 80}]);
    let bad = json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": ports}]);
    space.json_patch("web", bad).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("ports"), "the message is {message:?}");
    holds(seconds(2), "no Pod is touched", async || {
        let status = space.status("web").await?;
        ensure_eq!(status.available_replicas, 3, "available");
        Ok(())
    })
    .await?;
    let good = json!([{"op": "remove", "path": "/spec/template/spec/containers/0/ports"}]);
    space.json_patch("web", good).await?;
    space.settled("web").await
}

fn bad_ports(name: &str) -> Value {
    json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [{"name": name, "containerPort": 80}]}])
}

/// There is no last good template to stay on.
async fn a_first_template_that_the_apiserver_refuses_is_reported_and_healed_by_the_next(space: Space) -> Result {
    let ports = json!([{"name": "UPPER CASE", "containerPort": 80}]);
    let mut manifest = set("web", json!({}));
    manifest["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
    space.create(manifest).await?;
    let told = async |part: &str, reason: &str| -> Result {
        let condition = space.condition_is("web", "ReplicaFailure", "True", Some(reason)).await?;
        let message = condition.message.unwrap_or_default();
        ensure!(message.contains("ports") && message.contains(part), "not the server's words: {message:?}");
        Ok(())
    };
    told("UPPER CASE", "Invalid").await?;
    space.event("FailedCreate", "UPPER CASE").await?;
    // Another bad one is found out before it is tried.
    space.json_patch("web", bad_ports("WORSE")).await?;
    told("WORSE", "InvalidTemplate").await?;
    ensure!(space.pods_of("web").await?.is_empty(), "a Pod that the apiserver refuses");
    space.json_patch("web", json!([{"op": "remove", "path": "/spec/template/spec/containers/0/ports"}])).await?;
    space.settled_within("web", 30).await?;
    ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
    Ok(())
}

async fn a_policy_that_denies_pods_is_reported_in_its_words_and_healed_after(space: Space) -> Result {
    forbid(&space, "CREATE", "false", "no Pods on a Tuesday").await?;
    space.create(set("web", json!({}))).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("AdmissionDenied")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("no Pods on a Tuesday") && message.contains("web-0"), "not its words: {message:?}");
    space.event("FailedCreate", "no Pods on a Tuesday").await?;
    ensure!(space.pods_of("web").await?.is_empty(), "there are Pods");
    forbid_no_more(&space)?;
    space.settled_within("web", 30).await?;
    ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
    Ok(())
}

const SAME_IMAGE: &str = "object.spec.containers[0].image == oldObject.spec.containers[0].image";

/// The denial is told as what it is, costs at most one Pod's service, and no Pod its container.
async fn denied_image(space: &Space, strategy: Value) -> Result {
    space.create_settled(set("web", rolling_update(strategy))).await?;
    let before = space.pods_of("web").await?;
    forbid(space, "UPDATE", SAME_IMAGE, "images are frozen").await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("AdmissionDenied")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("images are frozen") && message.contains("web-2"), "not its words: {message:?}");
    space.event("FailedUpdate", "images are frozen").await?;
    eventually(seconds(30), "all Pods are back in service while the denial stands", async || {
        let pods = space.pods_of("web").await?;
        ensure_eq!(pods.iter().filter(|pod| is_ready(pod)).count(), 3, "Ready Pods");
        Ok(())
    })
    .await?;
    holds(seconds(3), "it is tried again, and nothing else", async || {
        ensure_eq!(space.condition("web", "InPlaceUpdateBlocked").await?.status, "False", "InPlaceUpdateBlocked");
        let pods = space.pods_of("web").await?;
        ensure_eq!(pods.len(), 3, "Pods");
        for (old, new) in before.iter().zip(&pods) {
            ensure_eq!((uid(new), container_id(new)), (uid(old), container_id(old)), "{}", pod_name(new));
            ensure_eq!(image_of(new), image("v1"), "image of {}", pod_name(new));
        }
        Ok(())
    })
    .await?;
    forbid_no_more(space)?;
    space.settled_within("web", 60).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(&new), uid(old), "UID of {}", pod_name(&new));
        ensure_eq!(image_of(&new), image("v2"), "image of {}", pod_name(&new));
    }
    ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
    ensure!(recorder.worst_unready("web", 0..3) <= 1, "{} Pods were down", recorder.worst_unready("web", 0..3));
    Ok(())
}

async fn a_policy_that_denies_an_image_re_creates_no_pod_and_is_healed_after(space: Space) -> Result {
    denied_image(&space, json!({})).await
}

async fn a_policy_that_denies_an_image_under_in_place_only_is_a_denial_and_no_block(space: Space) -> Result {
    denied_image(&space, json!({"podUpdatePolicy": "InPlaceOnly"})).await
}

async fn a_policy_that_forbids_the_pod_is_reported(space: Space) -> Result {
    let label = format!("namespace/{}", space.namespace);
    space.kubectl(&["label", &label, "pod-security.kubernetes.io/enforce=restricted"], None)?;
    space.create(set("web", json!({}))).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("PodSecurity"), "not the server's words: {message:?}");
    space.kubectl(&["label", &label, "pod-security.kubernetes.io/enforce-"], None)?;
    space.settled_within("web", 30).await
}

async fn a_refusal_of_one_pod_stops_no_other_work(space: Space) -> Result {
    space.create_settled(set("web", json!({"podManagementPolicy": "Parallel", "replicas": 2}))).await?;
    quota(&space, "pods", 2).await?;
    space.scale("web", 4).await?;
    space.condition_is("web", "ReplicaFailure", "True", None).await?;
    // Two of four are missing: the budget is used up, and widened.
    space.edit("web", rolling_update(json!({"maxUnavailable": 3}))).await?;
    space.set_image("web", "v2").await?;
    eventually(seconds(60), "both Pods are updated", async || {
        for pod in space.pods_of("web").await? {
            ensure_eq!(image_of(&pod), image("v2"), "image");
        }
        Ok(())
    })
    .await
}

async fn a_revision_that_is_refused_is_reported_and_healed_after(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    quota(&space, "count/controllerrevisions.apps", 1).await?;
    space.set_image("web", "v2").await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("QuotaExceeded")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("exceeded quota") && message.contains("ControllerRevision"), "it says {message:?}");
    space.event("FailedUpdate", "quota").await?;
    let pod = space.pod("web-0").await?;
    ensure_eq!((image_of(&pod), is_ready(&pod)), (image("v1").as_str(), true), "web-0");
    space.api::<ResourceQuota>().delete("few", &DeleteParams::default()).await?;
    space.settled_within("web", 30).await?;
    ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
    Ok(())
}
