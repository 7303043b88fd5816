//! Annotations of the template with which users and tools ask for a restart.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::containers::{image_in_spec, restart_counts, restarted};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{annotation, is_ready, pod_name, uid};
use crate::harness::{Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_restart_annotation_restarts_every_container_in_place,
    the_annotations_of_known_tools_restart,
    two_restarts_in_a_row_are_two_restarts,
    a_restart_half_way_through_another_is_not_lost,
    a_restart_and_an_image_are_one_step,
    an_annotation_that_goes_is_a_restart,
    a_restart_with_an_init_container_that_runs_once_re_creates,
    a_restart_that_cannot_be_in_place_re_creates_and_says_why,
    own_patterns_replace_the_known_ones,
    an_annotation_of_an_injector_re_creates,
    no_more_pods_are_down_than_may_be,
];

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

fn containers(tag: &str) -> Value {
    let app = json!({"name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent"});
    let side = json!({"name": "side", "image": image("v1"), "imagePullPolicy": "IfNotPresent"});
    let proxy = json!({"name": "proxy", "image": image("v1"), "restartPolicy": "Always"});
    json!({"template": {"spec": {"containers": [app, side], "initContainers": [proxy]}}})
}

fn annotated(key: &str, value: Option<&str>) -> Value {
    json!({"template": {"metadata": {"annotations": {key: value}}}})
}

async fn created(space: &Space, spec: Value) -> Result<Vec<Pod>> {
    space.create_settled(set("web", with(with(json!({"replicas": 2}), containers("v1")), spec))).await?;
    space.pods_of("web").await
}

async fn all_restarted(space: &Space, before: &[Pod]) -> Result {
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, ["app", "proxy", "side"], "restarted containers of {}", pod_name(&new));
        ensure!(is_ready(&new), "{} is not Ready", pod_name(&new));
    }
    Ok(())
}

async fn none_restarted(space: &Space, before: &[Pod]) -> Result {
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, [""; 0], "restarted containers of {}", pod_name(&new));
    }
    Ok(())
}

async fn all_re_created(space: &Space, before: &[Pod]) -> Result {
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
    }
    Ok(())
}

async fn a_restart_annotation_restarts_every_container_in_place(space: Space) -> Result {
    let before = created(&space, json!({})).await?;
    space.edit("web", annotated(RESTARTED_AT, Some("2026-01-01T00:00:00Z"))).await?;
    all_restarted(&space, &before).await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(annotation(&pod, RESTARTED_AT), Some("2026-01-01T00:00:00Z"), "annotation of {}", pod_name(&pod));
        ensure!(restart_counts(&pod).values().all(|count| *count == 1), "{:?}", restart_counts(&pod));
    }
    Ok(())
}

async fn the_annotations_of_known_tools_restart(space: Space) -> Result {
    let mut before = created(&space, annotated("checksum/config", Some("1"))).await?;
    for key in ["checksum/config", "example.com/checksum", "reloader.stakater.com/last-reloaded-from"] {
        space.edit("web", annotated(key, Some("2"))).await?;
        all_restarted(&space, &before).await?;
        before = space.pods_of("web").await?;
    }
    space.edit("web", annotated("note", Some("2"))).await?;
    none_restarted(&space, &before).await
}

async fn two_restarts_in_a_row_are_two_restarts(space: Space) -> Result {
    let mut before = created(&space, json!({})).await?;
    for count in [1, 2, 3] {
        space.edit("web", annotated(RESTARTED_AT, Some(&count.to_string()))).await?;
        all_restarted(&space, &before).await?;
        before = space.pods_of("web").await?;
        ensure!(before.iter().all(|pod| restart_counts(pod).values().all(|restarts| *restarts == count)), "{count}");
    }
    Ok(())
}

async fn a_restart_half_way_through_another_is_not_lost(space: Space) -> Result {
    created(&space, json!({})).await?;
    space.edit("web", annotated(RESTARTED_AT, Some("1"))).await?;
    let half = space.pod_is("web-1", "patched", |pod| annotation(pod, RESTARTED_AT) == Some("1")).await?;
    space.edit("web", annotated(RESTARTED_AT, Some("2"))).await?;
    space.settled("web").await?;
    let after = space.pod("web-1").await?;
    ensure_eq!(restarted(&half, &after)?, ["app", "proxy", "side"], "restarted containers of web-1");
    ensure_eq!(annotation(&after, RESTARTED_AT), Some("2"), "annotation of web-1");
    Ok(())
}

async fn a_restart_and_an_image_are_one_step(space: Space) -> Result {
    let before = created(&space, json!({})).await?;
    space.edit("web", with(annotated(RESTARTED_AT, Some("1")), containers("v2"))).await?;
    all_restarted(&space, &before).await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(image_in_spec(&pod, "app"), image("v2"), "image of {}", pod_name(&pod));
        ensure!(restart_counts(&pod).values().all(|count| *count == 1), "{:?}", restart_counts(&pod));
    }
    Ok(())
}

async fn an_annotation_that_goes_is_a_restart(space: Space) -> Result {
    let before = created(&space, annotated(RESTARTED_AT, Some("1"))).await?;
    space.edit("web", annotated(RESTARTED_AT, None)).await?;
    all_restarted(&space, &before).await?;
    ensure_eq!(annotation(&space.pod("web-0").await?, RESTARTED_AT), None, "annotation of web-0");
    Ok(())
}

async fn a_restart_with_an_init_container_that_runs_once_re_creates(space: Space) -> Result {
    let setup = json!({"name": "setup", "image": image("v1")});
    let before = created(&space, json!({"template": {"spec": {"initContainers": [setup]}}})).await?;
    space.edit("web", annotated(RESTARTED_AT, Some("1"))).await?;
    all_re_created(&space, &before).await?;
    space.event("SuccessfulDelete", "init container setup").await?;
    Ok(())
}

/// The fake nodes report no digest of it.
async fn a_restart_that_cannot_be_in_place_re_creates_and_says_why(space: Space) -> Result {
    let app = json!({"name": "app", "image": "registry.example/app:v1", "imagePullPolicy": "IfNotPresent"});
    let before = created(&space, json!({"template": {"spec": {"containers": [app]}}})).await?;
    space.edit("web", annotated("checksum/config", Some("1"))).await?;
    all_re_created(&space, &before).await?;
    space.event("SuccessfulDelete", "no other reference").await?;
    Ok(())
}

async fn own_patterns_replace_the_known_ones(space: Space) -> Result {
    let own = rolling_update(json!({"inPlaceUpdateStrategy": {"restartAnnotations": ["example.com/config-*"]}}));
    let before = created(&space, own).await?;
    space.edit("web", annotated("checksum/config", Some("1"))).await?;
    none_restarted(&space, &before).await?;
    space.edit("web", annotated("example.com/config-hash", Some("1"))).await?;
    all_restarted(&space, &before).await
}

async fn an_annotation_of_an_injector_re_creates(space: Space) -> Result {
    let before = created(&space, json!({})).await?;
    space.edit("web", annotated("sidecar.istio.io/inject", Some("false"))).await?;
    all_re_created(&space, &before).await
}

async fn no_more_pods_are_down_than_may_be(space: Space) -> Result {
    let before = created(&space, json!({"replicas": 4})).await?;
    let recorder = space.record().await?;
    space.edit("web", annotated(RESTARTED_AT, Some("1"))).await?;
    all_restarted(&space, &before).await?;
    ensure_eq!(recorder.worst_unready("web", 0..4), 1, "Pods that were down at once");
    recorder.keeps_identity()
}
