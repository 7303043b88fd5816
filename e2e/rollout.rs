//! How a changed template reaches the Pods: order, budget, what is broken, and the way back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, hash_in, image_of, is_ready, pod_condition, pod_name, revision_label, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    recreate_goes_from_the_highest_down_one_at_a_time,
    in_place_goes_from_the_highest_down_one_at_a_time,
    the_budget_of_an_ordered_set_is_used_and_never_exceeded,
    the_budget_of_a_parallel_set_is_used_and_never_exceeded,
    the_budget_holds_for_recreation_too,
    a_percent_is_rounded_down_and_at_least_one,
    a_broken_image_stops_after_as_many_pods_as_the_budget,
    the_next_template_mends_a_broken_rollout_of_an_ordered_set,
    the_next_template_mends_a_broken_rollout_of_a_parallel_set,
    the_next_template_mends_a_set_that_never_started,
    a_broken_rollout_with_recreate_is_mended_by_the_next_template,
    a_broken_pod_is_updated_first,
    an_unready_pod_uses_up_the_budget,
    pods_that_cannot_run_are_replaced_freely,
    a_pod_that_fits_no_node_is_mended_by_a_smaller_request,
    a_set_that_fits_no_node_from_the_start_is_mended_by_a_smaller_request,
    the_way_back_goes_to_the_old_revision,
    a_pod_half_way_turns_round,
    min_ready_seconds_holds_the_next_pod_back,
    rolling_min_ready_seconds_wins,
    on_delete_leaves_pods_until_they_are_deleted,
    many_changes_in_a_row_end_with_the_last,
    progressing_says_complete_and_which_pod_is_waited_for,
    no_progress_for_the_deadline_is_told,
];

fn on(policy: &str, strategy: Value, spec: Value) -> Value {
    with(with(json!({"podManagementPolicy": policy}), rolling_update(strategy)), spec)
}

async fn recreate_goes_from_the_highest_down_one_at_a_time(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"podUpdatePolicy": "ReCreate"})))).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    ensure_eq!(recorder.told_to_go(), ["web-2", "web-1", "web-0"], "order");
    ensure_eq!(recorder.worst_unready("web", 0..3), 1, "Pods down at once");
    let revision = space.status("web").await?.update_revision;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
        ensure_eq!(image_of(&new), image("v2"), "image of {}", pod_name(&new));
        ensure_eq!(revision_label(&new), hash_in(revision.as_deref()), "revision of {}", pod_name(&new));
    }
    recorder.keeps_identity()
}

async fn in_place_goes_from_the_highest_down_one_at_a_time(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 4}))).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let order = recorder.changed_to(|pod| image_of(pod).to_owned(), &image("v2"));
    ensure_eq!(order, ["web-3", "web-2", "web-1", "web-0"], "order");
    ensure_eq!(recorder.worst_unready("web", 0..4), 1, "Pods down at once");
    ensure!(recorder.told_to_go().is_empty(), "deleted: {:?}", recorder.told_to_go());
    Ok(())
}

async fn budget_is_used_and_kept(space: &Space, policy: &str, strategy: Value, tag: &str) -> Result {
    let strategy = with(json!({"maxUnavailable": 2}), strategy);
    space.create_settled(set("web", on(policy, strategy, json!({"replicas": 4})))).await?;
    let recorder = space.record().await?;
    space.set_image("web", tag).await?;
    space.settled("web").await?;
    ensure_eq!(recorder.worst_unready("web", 0..4), 2, "Pods down at once, at most");
    recorder.keeps_identity()
}

async fn the_budget_of_an_ordered_set_is_used_and_never_exceeded(space: Space) -> Result {
    budget_is_used_and_kept(&space, "OrderedReady", json!({}), "v2-slow").await
}

async fn the_budget_of_a_parallel_set_is_used_and_never_exceeded(space: Space) -> Result {
    budget_is_used_and_kept(&space, "Parallel", json!({}), "v2-slow").await
}

async fn the_budget_holds_for_recreation_too(space: Space) -> Result {
    budget_is_used_and_kept(&space, "Parallel", json!({"podUpdatePolicy": "ReCreate"}), "v2-slow").await
}

async fn a_percent_is_rounded_down_and_at_least_one(space: Space) -> Result {
    space.create_settled(set("web", on("Parallel", json!({"maxUnavailable": "20%"}), json!({})))).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    ensure_eq!(recorder.worst_unready("web", 0..3), 1, "20 % of 3");
    Ok(())
}

async fn a_broken_image_stops_after_as_many_pods_as_the_budget(space: Space) -> Result {
    space.create_settled(set("web", on("Parallel", json!({"maxUnavailable": 2}), json!({"replicas": 5})))).await?;
    space.set_image("web", "broken").await?;
    space.status_is("web", "two are down", |status| status.available_replicas == 3).await?;
    holds(seconds(3), "three Pods stay as they were", async || {
        let pods = space.pods_of("web").await?;
        let old = pods.iter().filter(|pod| image_of(pod) == image("v1") && is_ready(pod)).count();
        ensure_eq!(old, 3, "old and ready Pods");
        Ok(())
    })
    .await
}

async fn mended_after_broken(space: &Space, policy: &str, tag: &str, strategy: Value) -> Result {
    space.create_settled(set("web", on(policy, strategy, json!({})))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", tag).await?;
    space.pod_is("web-2", "has the bad image", |pod| image_of(pod) == image(tag) && !is_ready(pod)).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let recreate = space
        .set("web")
        .await?
        .spec
        .update_strategy
        .and_then(|it| it.rolling_update)
        .and_then(|it| it.pod_update_policy);
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(image_of(&new), image("v2"), "image of {}", pod_name(&new));
        if recreate.is_none_or(|policy| policy == asts::api::spec::PodUpdatePolicy::InPlaceIfPossible) {
            ensure_eq!(uid(&new), uid(old), "UID of {}", pod_name(&new));
        }
    }
    Ok(())
}

async fn the_next_template_mends_a_broken_rollout_of_an_ordered_set(space: Space) -> Result {
    mended_after_broken(&space, "OrderedReady", "broken", json!({})).await
}

async fn the_next_template_mends_a_broken_rollout_of_a_parallel_set(space: Space) -> Result {
    mended_after_broken(&space, "Parallel", "crash", json!({})).await
}

async fn the_next_template_mends_a_set_that_never_started(space: Space) -> Result {
    let broken = json!({"template": {"spec": {"containers": [{"name": "app", "image": image("broken")}]}}});
    space.create(set("web", broken)).await?;
    space.pod_is("web-0", "there", |_| true).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await
}

async fn a_broken_rollout_with_recreate_is_mended_by_the_next_template(space: Space) -> Result {
    mended_after_broken(&space, "OrderedReady", "never-ready", json!({"podUpdatePolicy": "ReCreate"})).await
}

async fn a_broken_pod_is_updated_first(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let recorder = space.record().await?;
    space.annotate("web-0", "kwok.asts.dev/ready", Some("false")).await?;
    space.pod_is("web-0", "not ready", |pod| !is_ready(pod)).await?;
    space.set_image("web", "v2").await?;
    space.pod_is("web-0", "updated", |pod| image_of(pod) == image("v2")).await?;
    space.annotate("web-0", "kwok.asts.dev/ready", None).await?;
    space.settled("web").await?;
    let order = recorder.changed_to(|pod| image_of(pod).to_owned(), &image("v2"));
    ensure_eq!(order, ["web-0", "web-2", "web-1"], "order");
    Ok(())
}

/// The Pod is unavailable on the right revision already: nothing else may go down.
async fn an_unready_pod_uses_up_the_budget(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"partition": 1})))).await?;
    space.make_ready("web-0", false).await?;
    space.set_image("web", "v2").await?;
    space.status_is("web", "the new spec is seen", |_| true).await?;
    holds(seconds(2), "web-1 and web-2 stay up", async || {
        for name in ["web-1", "web-2"] {
            ensure_eq!(image_of(&space.pod(name).await?), image("v1"), "image of {name}");
        }
        Ok(())
    })
    .await?;
    let told = space.condition("web", "Progressing").await?;
    ensure!(told.message.clone().unwrap_or_default().contains("web-0"), "who is waited for: {told:?}");
    space.make_ready("web-0", true).await?;
    space.status_is("web", "two are updated", |status| status.updated_available_replicas == 2).await?;
    Ok(())
}

async fn pods_that_cannot_run_are_replaced_freely(space: Space) -> Result {
    let never =
        json!({"replicas": 5, "template": {"spec": {"containers": [{"name": "app", "image": image("broken")}]}}});
    space.create(set("web", on("Parallel", json!({}), never))).await?;
    eventually(seconds(30), "all five are there", async || {
        ensure_eq!(space.names_of("web").await?.len(), 5, "Pods");
        Ok(())
    })
    .await?;
    space.set_image("web", "never-ready").await?;
    eventually(seconds(30), "all five are on the new image although none is ready", async || {
        let pods = space.pods_of("web").await?;
        ensure_eq!(pods.iter().filter(|pod| image_of(pod) == image("never-ready")).count(), 5, "updated");
        Ok(())
    })
    .await
}

fn asking_for(cpu: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu}});
    json!({"template": {"spec": {"containers": [{"name": "app", "image": image("v1"), "resources": resources}]}}})
}

async fn fits_after_a_smaller_request(space: &Space, stuck: &str) -> Result {
    let unscheduled =
        |pod: &Pod| pod_condition(pod, "PodScheduled").is_some_and(|(_, reason)| reason == "Unschedulable");
    space.pod_is(stuck, "unschedulable", unscheduled).await?;
    space.edit("web", asking_for("200m")).await?;
    space.settled("web").await?;
    for pod in space.pods_of("web").await? {
        let requests = pod.spec.as_ref().and_then(|spec| spec.containers[0].resources.as_ref()?.requests.as_ref());
        let cpu = requests.and_then(|requests| requests.get("cpu")).map(|cpu| cpu.0.as_str());
        ensure_eq!(cpu, Some("200m"), "cpu of {}", pod_name(&pod));
    }
    Ok(())
}

async fn a_pod_that_fits_no_node_is_mended_by_a_smaller_request(space: Space) -> Result {
    let recreated = on("OrderedReady", json!({"podUpdatePolicy": "ReCreate"}), asking_for("100m"));
    space.create_settled(set("web", recreated)).await?;
    space.edit("web", asking_for("5000")).await?;
    fits_after_a_smaller_request(&space, "web-2").await
}

async fn a_set_that_fits_no_node_from_the_start_is_mended_by_a_smaller_request(space: Space) -> Result {
    space.create(set("web", asking_for("5000"))).await?;
    fits_after_a_smaller_request(&space, "web-0").await
}

async fn the_way_back_goes_to_the_old_revision(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let first = space.status("web").await?.update_revision;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let second = space.status("web").await?.update_revision;
    ensure!(first != second, "the revision did not change");
    space.set_image("web", "v1").await?;
    space.settled("web").await?;
    ensure_eq!(space.status("web").await?.update_revision, first, "updateRevision after the way back");
    let revisions = space.revisions_of("web").await?;
    ensure_eq!(revisions.len(), 2, "revisions");
    ensure_eq!(revisions[1].metadata.name, first, "the newest revision");
    ensure!(revisions[1].revision > revisions[0].revision, "the numbers do not grow");
    Ok(())
}

async fn a_pod_half_way_turns_round(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "broken").await?;
    space.pod_is("web-2", "half way", |pod| image_of(pod) == image("broken") && !is_ready(pod)).await?;
    space.set_image("web", "v1").await?;
    space.settled("web").await?;
    let after = space.pods_of("web").await?;
    for (old, new) in before.iter().zip(&after) {
        ensure_eq!(uid(new), uid(old), "UID of {}", pod_name(new));
        ensure_eq!(image_of(new), image("v1"), "image of {}", pod_name(new));
    }
    for at in [0, 1] {
        ensure_eq!(container_id(&after[at]), container_id(&before[at]), "container of {}", pod_name(&after[at]));
    }
    Ok(())
}

async fn time_between_updates(space: &Space) -> Result<Duration> {
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let updated = |name: &str| recorder.first_time(name, "updated", |pod| image_of(pod) == image("v2"));
    let ready =
        |name: &str| recorder.first_time(name, "ready again", |pod| image_of(pod) == image("v2") && is_ready(pod));
    let mut shortest = Duration::MAX;
    for (first, next) in [("web-2", "web-1"), ("web-1", "web-0")] {
        // The last sight of the old container, still ready, may come after the patch.
        let ready = ready(first)?.max(updated(first)?);
        shortest = shortest.min(updated(next)?.saturating_duration_since(ready));
    }
    Ok(shortest)
}

async fn min_ready_seconds_holds_the_next_pod_back(space: Space) -> Result {
    space.create_settled(set("web", json!({"minReadySeconds": 3}))).await?;
    let apart = time_between_updates(&space).await?;
    ensure!(apart >= Duration::from_millis(1900), "the next Pod went {apart:?} after the one before");
    Ok(())
}

async fn rolling_min_ready_seconds_wins(space: Space) -> Result {
    let spec = with(json!({"minReadySeconds": 3000}), rolling_update(json!({"minReadySeconds": 0})));
    space.create_settled(set("web", spec)).await?;
    time_between_updates(&space).await?;
    Ok(())
}

async fn on_delete_leaves_pods_until_they_are_deleted(space: Space) -> Result {
    space.create_settled(set("web", json!({"updateStrategy": {"type": "OnDelete"}}))).await?;
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Progressing", "True", Some("OnDelete")).await?;
    holds(seconds(2), "no Pod changes", async || {
        for pod in space.pods_of("web").await? {
            ensure_eq!(image_of(&pod), image("v1"), "image of {}", pod_name(&pod));
        }
        Ok(())
    })
    .await?;
    let pod = space.delete_and_wait("web-1").await?;
    ensure_eq!(image_of(&pod), image("v2"), "image of the Pod that came back");
    let status = space.status_is("web", "one is updated", |status| status.updated_ready_replicas == 1).await?;
    ensure_eq!(status.updated_ordinals.as_deref(), Some("1"), "updatedOrdinals");
    for name in ["web-0", "web-2"] {
        space.delete_and_wait(name).await?;
    }
    space.settled("web").await
}

async fn many_changes_in_a_row_end_with_the_last(space: Space) -> Result {
    space.create_settled(set("web", on("Parallel", json!({"maxUnavailable": 2}), json!({"replicas": 4})))).await?;
    let recorder = space.record().await?;
    for (number, tag) in ["v2", "broken", "v1", "crash", "v2", "v1", "v3"].iter().enumerate() {
        space.set_image("web", tag).await?;
        space.edit_template("web", json!({"metadata": {"annotations": {"number": number.to_string()}}})).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    space.settled("web").await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(image_of(&pod), image("v3"), "image of {}", pod_name(&pod));
        let number = crate::harness::space::annotation(&pod, "number");
        ensure_eq!(number, Some("6"), "annotation of {}", pod_name(&pod));
    }
    recorder.keeps_identity()
}

async fn progressing_says_complete_and_which_pod_is_waited_for(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.condition_is("web", "Progressing", "True", Some("Complete")).await?;
    space.condition_is("web", "Available", "True", None).await?;
    space.set_image("web", "never-ready").await?;
    let waited = eventually(seconds(30), "Progressing names the Pod", async || {
        let condition = space.condition("web", "Progressing").await?;
        let message = condition.message.clone().unwrap_or_default();
        if message.contains("web-2") { Ok(condition) } else { Err(Failure(format!("{condition:?}"))) }
    })
    .await?;
    ensure_eq!(waited.status, "True", "Progressing while it waits");
    ensure!(waited.reason.clone().unwrap_or_default().starts_with("Waiting"), "reason: {waited:?}");
    Ok(())
}

async fn no_progress_for_the_deadline_is_told(space: Space) -> Result {
    space.create_settled(set("web", json!({"progressDeadlineSeconds": 3}))).await?;
    space.set_image("web", "never-ready").await?;
    space.condition_is("web", "Progressing", "False", Some("ProgressDeadlineExceeded")).await?;
    // Nothing is given up: the next template goes on.
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    space.condition_is("web", "Progressing", "True", Some("Complete")).await?;
    space.pods().delete("web-0", &DeleteParams::default()).await.context("delete web-0")?;
    space.settled("web").await
}
