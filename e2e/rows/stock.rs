//! The rows on a stock cluster: what it cannot do re-creates the Pod, and the reason is told.

use super::{Does, Row, begin, carry_out, in_place_only};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, holds};
use crate::{ensure, test_list};

test_list![
    labels_and_annotations_change_the_running_pod,
    added_tolerations_change_the_running_pod,
    an_image_rebuilds_its_container_alone,
    the_image_of_a_restartable_init_container_rebuilds_it_alone,
    an_environment_re_creates_the_pod,
    env_from_re_creates_the_pod,
    mounts_re_create_the_pod,
    added_volumes_re_create_the_pod,
    removed_volumes_re_create_the_pod,
    another_source_of_a_volume_re_creates_the_pod,
    probes_re_create_the_pod,
    an_init_container_that_runs_once_re_creates_the_pod,
    ports_re_create_the_pod,
    everything_at_once_re_creates_the_pod,
    everything_at_once_is_blocked_in_place_and_every_reason_named,
];

/// What the apiserver of a stock cluster is told to have answered.
const REFUSED: &str = "this apiserver does not take it";

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

async fn an_environment_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::env(), Does::Recreate(REFUSED)).await
}

async fn env_from_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::env_from(), Does::Recreate(REFUSED)).await
}

async fn mounts_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::mounts(), Does::Recreate(REFUSED)).await
}

async fn added_volumes_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::volumes_come(), Does::Recreate(REFUSED)).await
}

async fn removed_volumes_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::volumes_go(), Does::Recreate(REFUSED)).await
}

async fn another_source_of_a_volume_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::volume_sources(), Does::Recreate(REFUSED)).await
}

async fn probes_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::probes(), Does::Recreate(REFUSED)).await
}

async fn an_init_container_that_runs_once_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::setup_env(), Does::Recreate("runs again only in a new Pod")).await
}

async fn ports_re_create_the_pod(space: Space) -> Result {
    carry_out(&space, super::ports(), Does::Recreate("spec.containers[app].ports")).await
}

async fn everything_at_once_re_creates_the_pod(space: Space) -> Result {
    carry_out(&space, super::everything(), Does::Recreate(REFUSED)).await
}

async fn everything_at_once_is_blocked_in_place_and_every_reason_named(space: Space) -> Result {
    let Row { before, after, .. } = super::everything();
    super::sources(&space).await?;
    let before = begin(&space, in_place_only(before)).await?;
    space.edit("web", after).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    for field in ["spec.containers[app].env[MODE].value", "spec.containers[app].readinessProbe", "spec.volumes[map]"] {
        ensure!(message.contains(field), "{field} is not in {message:?}");
    }
    holds(seconds(3), "the Pod goes on", async || before.rebuilt(&space.pod("web-0").await?, &[])).await
}
