//! How many Pods there are: up, down, in order or not, and what stops it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::manifest::with;
use crate::harness::space::{is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    ordered_pods_are_made_one_after_another_in_order,
    ordered_pods_go_one_after_another_from_the_highest,
    ordered_scale_up_waits_for_an_unready_pod,
    ordered_scale_down_waits_for_an_unready_pod,
    a_missing_pod_comes_back_while_a_later_one_is_unready,
    parallel_pods_are_made_without_waiting,
    parallel_scale_down_does_not_wait,
    scaling_to_zero_and_back_works,
    the_last_of_many_scalings_counts,
    the_scale_subresource_works,
    a_failed_pod_is_replaced_under_ordered_ready,
    a_failed_pod_is_replaced_under_parallel,
    a_succeeded_pod_is_replaced,
    scale_strategy_caps_unavailable_pods,
    scale_strategy_takes_percents,
    scale_strategy_says_nothing_to_an_ordered_set,
    an_ordered_set_with_min_ready_seconds_waits_for_availability,
];

const A_WHILE: Duration = seconds(2);

fn parallel(spec: Value) -> Value {
    with(json!({"podManagementPolicy": "Parallel"}), spec)
}

async fn ordered_pods_are_made_one_after_another_in_order(space: Space) -> Result {
    let recorder = space.record().await?;
    space.create_settled(set("web", json!({"replicas": 4}))).await?;
    ensure_eq!(recorder.made(), ["web-0", "web-1", "web-2", "web-3"], "order");
    for state in recorder.states("web") {
        let not_ready = state.values().filter(|pod| !is_ready(pod)).count();
        ensure!(not_ready <= 1, "{not_ready} Pods were not ready at once");
    }
    recorder.keeps_identity()
}

async fn ordered_pods_go_one_after_another_from_the_highest(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 4}))).await?;
    for pod in space.names_of("web").await? {
        space.annotate(&pod, "kwok.asts.dev/terminating-seconds", Some("1")).await?;
    }
    let recorder = space.record().await?;
    space.scale("web", 1).await?;
    space.settled("web").await?;
    ensure_eq!(recorder.told_to_go(), ["web-3", "web-2", "web-1"], "order");
    for state in recorder.states("web") {
        let leaving = state.values().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
        ensure!(leaving <= 1, "{leaving} Pods were leaving at once");
    }
    ensure_eq!(space.names_of("web").await?, ["web-0"], "left");
    Ok(())
}

async fn ordered_scale_up_waits_for_an_unready_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    space.make_ready("web-0", false).await?;
    space.scale("web", 3).await?;
    space.status_is("web", "the new spec is seen", |_| true).await?;
    holds(A_WHILE, "one Pod", async || {
        ensure_eq!(space.names_of("web").await?, ["web-0"], "Pods");
        Ok(())
    })
    .await?;
    space.make_ready("web-0", true).await?;
    space.settled("web").await
}

async fn ordered_scale_down_waits_for_an_unready_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.make_ready("web-0", false).await?;
    space.scale("web", 1).await?;
    space.status_is("web", "the new spec is seen", |_| true).await?;
    holds(A_WHILE, "three Pods", async || {
        ensure_eq!(space.names_of("web").await?.len(), 3, "Pods");
        Ok(())
    })
    .await?;
    space.make_ready("web-0", true).await?;
    space.settled("web").await
}

/// No deadlock when a predecessor fails.
async fn a_missing_pod_comes_back_while_a_later_one_is_unready(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    space.make_ready("web-1", false).await?;
    space.delete_and_wait("web-0").await?;
    space.make_ready("web-1", true).await?;
    space.settled("web").await
}

async fn parallel_pods_are_made_without_waiting(space: Space) -> Result {
    let never =
        json!({"replicas": 5, "template": {"spec": {"containers": [{"name": "app", "image": image("never-ready")}]}}});
    space.create(set("web", parallel(never))).await?;
    eventually(seconds(30), "all five are there", async || {
        ensure_eq!(space.names_of("web").await?.len(), 5, "Pods");
        Ok(())
    })
    .await?;
    let status = space.status_is("web", "five of them", |status| status.replicas == 5).await?;
    ensure_eq!(status.ready_replicas, 0, "ready");
    Ok(())
}

async fn parallel_scale_down_does_not_wait(space: Space) -> Result {
    space.create_settled(set("web", parallel(json!({"replicas": 5})))).await?;
    space.make_ready("web-0", false).await?;
    space.scale("web", 2).await?;
    eventually(seconds(30), "three are gone", async || {
        ensure_eq!(space.names_of("web").await?, ["web-0", "web-1"], "Pods");
        Ok(())
    })
    .await
}

async fn scaling_to_zero_and_back_works(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.scale("web", 0).await?;
    space.settled("web").await?;
    ensure!(space.pods_of("web").await?.is_empty(), "Pods are left");
    space.scale("web", 2).await?;
    space.settled("web").await?;
    ensure_eq!(space.names_of("web").await?, ["web-0", "web-1"], "Pods");
    Ok(())
}

async fn the_last_of_many_scalings_counts(space: Space) -> Result {
    let recorder = space.record().await?;
    space.create(set("web", parallel(json!({"replicas": 1})))).await?;
    for replicas in [6, 0, 4, 2, 5] {
        space.scale("web", replicas).await?;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    space.settled("web").await?;
    space.ordinals_are("web", &[0, 1, 2, 3, 4]).await?;
    recorder.keeps_identity()
}

async fn the_scale_subresource_works(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    space.kubectl(&["scale", "asts/web", "--replicas=2"], None)?;
    space.settled("web").await?;
    let path = format!("/apis/apps.asts.dev/v1beta1/namespaces/{}/advancedstatefulsets/web/scale", space.namespace);
    let scale: Value = serde_json::from_str(&space.kubectl(&["get", "--raw", &path], None)?)?;
    ensure_eq!(scale["spec"]["replicas"], 2, "spec.replicas");
    ensure_eq!(scale["status"]["replicas"], 2, "status.replicas");
    ensure_eq!(scale["status"]["selector"], "app=web", "status.selector");
    Ok(())
}

async fn ends_and_is_replaced(space: &Space, spec: Value, phase: &str) -> Result {
    space.create_settled(set("web", spec)).await?;
    let before = space.pods_of("web").await?;
    space.annotate("web-1", "kwok.asts.dev/phase", Some(phase)).await?;
    space.replaced("web-1", &uid(&before[1])).await?;
    space.settled("web").await?;
    let after: Vec<Pod> = space.pods_of("web").await?;
    for at in [0, 2] {
        ensure_eq!(uid(&after[at]), uid(&before[at]), "UID of {}", pod_name(&after[at]));
    }
    Ok(())
}

async fn a_failed_pod_is_replaced_under_ordered_ready(space: Space) -> Result {
    ends_and_is_replaced(&space, json!({}), "Failed").await
}

async fn a_failed_pod_is_replaced_under_parallel(space: Space) -> Result {
    ends_and_is_replaced(&space, parallel(json!({})), "Failed").await
}

async fn a_succeeded_pod_is_replaced(space: Space) -> Result {
    ends_and_is_replaced(&space, json!({}), "Succeeded").await
}

async fn scale_strategy_caps_unavailable_pods(space: Space) -> Result {
    let spec = json!({"replicas": 2, "minReadySeconds": 3, "scaleStrategy": {"maxUnavailable": 2}});
    space.create_settled(set("web", parallel(spec))).await?;
    let recorder = space.record().await?;
    space.scale("web", 8).await?;
    space.settled("web").await?;
    for state in recorder.states("web") {
        let not_ready = state.values().filter(|pod| !is_ready(pod)).count();
        ensure!(not_ready <= 2, "{not_ready} Pods were not ready at once");
    }
    // Six more Pods, two at a time, each available three seconds after it is ready; all times are cut to whole seconds.
    let pods = space.pods_of("web").await?;
    let made = |name: &str| {
        let pod = pods.iter().find(|pod| pod_name(pod) == name).context(name)?;
        Ok::<_, crate::harness::Failure>(pod.metadata.creation_timestamp.as_ref().context("a time")?.0.as_second())
    };
    let (first, last) = (made("web-2")?, made("web-7")?);
    ensure!(last - first >= 3, "web-7 came {} s after web-2", last - first);
    Ok(())
}

/// A quarter of eight.
async fn scale_strategy_takes_percents(space: Space) -> Result {
    space.create_settled(set("web", parallel(json!({"replicas": 0})))).await?;
    let never = json!({"template": {"spec": {"containers": [{"name": "app", "image": image("never-ready")}]}}});
    let spec = with(never, json!({"replicas": 8, "scaleStrategy": {"maxUnavailable": "25%"}}));
    space.edit("web", spec).await?;
    let condition = space.condition_is("web", "Progressing", "True", Some("WaitingForPods")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("scaleStrategy.maxUnavailable"), "it says {message:?}");
    let made = async |count: usize| {
        let has = async || {
            ensure_eq!(space.names_of("web").await?.len(), count, "Pods");
            Ok(())
        };
        eventually(seconds(30), "as many as may be not available", has).await?;
        holds(seconds(1), "no more are made", has).await
    };
    made(2).await?;
    space.edit("web", json!({"scaleStrategy": {"maxUnavailable": "50%"}})).await?;
    made(4).await
}

async fn scale_strategy_says_nothing_to_an_ordered_set(space: Space) -> Result {
    space.create_settled(set("web", json!({"scaleStrategy": {"maxUnavailable": 1}}))).await?;
    space.make_ready("web-2", false).await?;
    // Under Parallel the one that is not ready would be all that may be.
    space.delete_and_wait("web-0").await?;
    space.make_ready("web-2", true).await?;
    space.settled("web").await
}

async fn an_ordered_set_with_min_ready_seconds_waits_for_availability(space: Space) -> Result {
    let recorder = space.record().await?;
    space.create_settled(set("web", json!({"minReadySeconds": 2}))).await?;
    for (earlier, later) in [("web-0", "web-1"), ("web-1", "web-2")] {
        let ready = recorder.first_time(earlier, "ready", is_ready)?;
        let made = recorder.first_time(later, "at all", |_| true)?;
        // A condition's time has whole seconds.
        let apart = made.duration_since(ready);
        ensure!(apart >= Duration::from_millis(900), "{later} came {apart:?} after {earlier} was ready");
    }
    Ok(())
}
