//! The rows on a customised cluster, on the node whose kubelet is customised.

use serde_json::json;

use super::{Does, Row, begin, carry_out, pod_becomes, settled, template};
use crate::containers::env_in;
use crate::harness::space::is_ready;
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, holds};
use crate::{ensure, ensure_eq, test_list};

test_list![
    labels_and_annotations_change_the_running_pod,
    added_tolerations_change_the_running_pod,
    an_image_rebuilds_its_container_alone,
    the_image_of_a_restartable_init_container_rebuilds_it_alone,
    an_environment_rebuilds_its_container_alone,
    env_from_rebuilds_its_container_alone,
    mounts_rebuild_their_container_alone,
    added_volumes_rebuild_their_container_alone,
    removed_volumes_rebuild_their_container_alone,
    another_source_of_a_volume_swaps_its_files,
    good_probes_change_without_a_blink,
    the_environment_of_a_restartable_init_container_rebuilds_it_alone,
    an_init_container_that_runs_once_re_creates_the_pod,
    ports_re_create_the_pod,
    a_claim_that_is_not_bound_re_creates_the_pod,
    everything_at_once_stays_in_the_pod,
    a_bad_probe_stops_at_one_pod_and_is_mended_without_a_restart,
    a_second_change_overtakes_the_first,
    there_and_back_ends_at_the_first,
];

async fn labels_and_annotations_change_the_running_pod(space: Space) -> Result {
    carry_out(&space, super::labels_and_annotations(), Does::Nothing).await
}

async fn added_tolerations_change_the_running_pod(space: Space) -> Result {
    carry_out(&space, super::tolerations(), Does::Nothing).await
}

async fn an_image_rebuilds_its_container_alone(space: Space) -> Result {
    carry_out(&space, super::image(), Does::Rebuild(&["app"])).await
}

async fn the_image_of_a_restartable_init_container_rebuilds_it_alone(space: Space) -> Result {
    carry_out(&space, super::sidecar_image(), Does::Rebuild(&["side"])).await
}

async fn an_environment_rebuilds_its_container_alone(space: Space) -> Result {
    carry_out(&space, super::env(), Does::Rebuild(&["app"])).await
}

async fn env_from_rebuilds_its_container_alone(space: Space) -> Result {
    carry_out(&space, super::env_from(), Does::Rebuild(&["app"])).await
}

async fn mounts_rebuild_their_container_alone(space: Space) -> Result {
    carry_out(&space, super::mounts(), Does::Rebuild(&["app"])).await
}

async fn added_volumes_rebuild_their_container_alone(space: Space) -> Result {
    carry_out(&space, super::volumes_come(), Does::Rebuild(&["app"])).await
}

async fn removed_volumes_rebuild_their_container_alone(space: Space) -> Result {
    carry_out(&space, super::volumes_go(), Does::Rebuild(&["app"])).await
}

async fn another_source_of_a_volume_swaps_its_files(space: Space) -> Result {
    carry_out(&space, super::volume_sources(), Does::Nothing).await
}

async fn good_probes_change_without_a_blink(space: Space) -> Result {
    carry_out(&space, super::probes(), Does::Nothing).await
}

async fn the_environment_of_a_restartable_init_container_rebuilds_it_alone(space: Space) -> Result {
    carry_out(&space, super::sidecar_env(), Does::Rebuild(&["side"])).await?;
    ensure_eq!(env_in(&space, "web-0", "side", "MODE")?, "two", "MODE");
    Ok(())
}

async fn an_init_container_that_runs_once_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::setup_env(), Does::Recreate("runs again only in a new Pod")).await
}

async fn ports_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::ports(), Does::Recreate("spec.containers[app].ports")).await
}

async fn a_claim_that_is_not_bound_re_creates_the_pod(space: Space) -> Result {
    begin(&space, template(json!({}), json!({}))).await?;
    let before = space.pod("web-0").await?;
    let mut claim = crate::harness::manifest::claim_template("unbound", "1Mi");
    claim["apiVersion"] = json!("v1");
    claim["kind"] = json!("PersistentVolumeClaim");
    claim["spec"]["storageClassName"] = json!("no-such-class");
    crate::containers::make(&space, claim)?;
    let volume = json!({"volumes": [{"name": "more", "persistentVolumeClaim": {"claimName": "unbound"}}]});
    space.edit("web", template(json!({"volumeMounts": [{"name": "more", "mountPath": "/more"}]}), volume)).await?;
    space.event("SuccessfulDelete", "the claim unbound is not bound to a volume").await?;
    space
        .pod_is("web-0", "another", |pod| crate::harness::space::uid(pod) != crate::harness::space::uid(&before))
        .await?;
    Ok(())
}

async fn everything_at_once_stays_in_the_pod(space: Space) -> Result {
    carry_out(&space, super::everything(), Does::Rebuild(&["app"])).await
}

async fn a_bad_probe_stops_at_one_pod_and_is_mended_without_a_restart(space: Space) -> Result {
    let probed = |path: &str| template(json!({"readinessProbe": {"httpGet": {"path": path}}}), json!({}));
    space
        .create(super::set("web", super::with(probed("/readyz"), json!({"replicas": 2, "minReadySeconds": 10}))))
        .await?;
    let before: Vec<_> = settled(&space).await?.iter().map(crate::containers::Seen::of).collect();
    space.edit("web", probed("/no-such-page")).await?;
    space.pod_is("web-1", "not ready by its probe", |pod| !is_ready(pod)).await?;
    holds(seconds(4), "the other Pod keeps its good probe", async || {
        ensure!(is_ready(&space.pod("web-0").await?), "web-0 is not ready");
        before[1].rebuilt(&space.pod("web-1").await?, &[])
    })
    .await?;
    space.edit("web", probed("/healthz")).await?;
    for (pod, seen) in settled(&space).await?.iter().zip(&before) {
        seen.rebuilt(pod, &[])?;
    }
    Ok(())
}

async fn a_second_change_overtakes_the_first(space: Space) -> Result {
    let mode = |mode: &str| {
        template(json!({"env": [{"name": "PORT", "value": "8080"}, {"name": "MODE", "value": mode}]}), json!({}))
    };
    let before = begin(&space, mode("one")).await?;
    space.edit("web", mode("two")).await?;
    let changed = before.clone();
    pod_becomes(&space, "the first change is under way", |pod| {
        ensure!(pod.metadata.generation > Some(1), "generation {:?}", pod.metadata.generation);
        Ok(())
    })
    .await?;
    space.edit("web", mode("three")).await?;
    settled(&space).await?;
    let pod = space.pod("web-0").await?;
    ensure_eq!(crate::harness::space::uid(&pod), changed.uid, "UID");
    ensure_eq!(env_in(&space, "web-0", "app", "MODE")?, "three", "MODE");
    Ok(())
}

async fn there_and_back_ends_at_the_first(space: Space) -> Result {
    let Row { before: first, after: second, .. } = super::everything();
    super::sources(&space).await?;
    let before = begin(&space, first.clone()).await?;
    space.edit("web", second).await?;
    pod_becomes(&space, "the change is under way", |pod| {
        ensure!(pod.metadata.generation > Some(1), "generation {:?}", pod.metadata.generation);
        Ok(())
    })
    .await?;
    space.edit("web", first).await?;
    settled(&space).await?;
    let pod = space.pod("web-0").await?;
    ensure_eq!(crate::harness::space::uid(&pod), before.uid, "UID");
    ensure_eq!(env_in(&space, "web-0", "app", "MODE")?, "one", "MODE");
    ensure_eq!(super::read(&space, "web-0", "/map/file")?, "one", "the file");
    ensure_eq!(super::read(&space, "web-0", "/version")?, "v1\n", "the version");
    Ok(())
}
