//! Which ordinals hold Pods: where they start, and which are kept free.

use serde_json::json;

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{is_ready, uid};
use crate::harness::{Result, Space, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    they_begin_at_the_start,
    the_start_goes_up_and_down_and_away,
    reserved_ordinals_hold_no_pod,
    a_pod_on_an_ordinal_that_becomes_reserved_is_moved,
    ordinals_that_are_free_again_are_used_again,
    pods_are_moved_within_the_budget,
    a_range_of_billions_costs_nothing,
];

async fn they_begin_at_the_start(space: Space) -> Result {
    let recorder = space.record().await?;
    space.create_settled(set("web", json!({"ordinals": {"start": 2}}))).await?;
    ensure_eq!(recorder.made(), ["web-2", "web-3", "web-4"], "order");
    Ok(())
}

async fn the_start_goes_up_and_down_and_away(space: Space) -> Result {
    space.create_settled(set("web", json!({"ordinals": {"start": 2}}))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", json!({"ordinals": {"start": 3}})).await?;
    space.ordinals_are("web", &[3, 4, 5]).await?;
    ensure_eq!(uid(&space.pod("web-3").await?), uid(&before[1]), "UID of web-3");
    space.edit("web", json!({"ordinals": {"start": 1}})).await?;
    space.ordinals_are("web", &[1, 2, 3]).await?;
    ensure_eq!(uid(&space.pod("web-3").await?), uid(&before[1]), "UID of web-3");
    space.edit("web", json!({"ordinals": null})).await?;
    space.ordinals_are("web", &[0, 1, 2]).await?;
    space.settled("web").await
}

async fn reserved_ordinals_hold_no_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 4, "reserveOrdinals": [0, "2-3"]}))).await?;
    space.ordinals_are("web", &[1, 4, 5, 6]).await
}

async fn a_pod_on_an_ordinal_that_becomes_reserved_is_moved(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", json!({"reserveOrdinals": [1]})).await?;
    space.ordinals_are("web", &[0, 2, 3]).await?;
    space.settled("web").await?;
    let after = space.pods_of("web").await?;
    ensure_eq!((uid(&after[0]), uid(&after[1])), (uid(&before[0]), uid(&before[2])), "web-0 and web-2");
    Ok(())
}

async fn ordinals_that_are_free_again_are_used_again(space: Space) -> Result {
    space.create_settled(set("web", json!({"reserveOrdinals": [1]}))).await?;
    space.ordinals_are("web", &[0, 2, 3]).await?;
    space.edit("web", json!({"reserveOrdinals": []})).await?;
    space.ordinals_are("web", &[0, 1, 2]).await?;
    space.settled("web").await
}

async fn pods_are_moved_within_the_budget(space: Space) -> Result {
    let spec =
        with(json!({"replicas": 4, "podManagementPolicy": "Parallel"}), rolling_update(json!({"maxUnavailable": 1})));
    space.create_settled(set("web", spec)).await?;
    let recorder = space.record().await?;
    space.edit("web", json!({"reserveOrdinals": ["0-3"]})).await?;
    space.ordinals_are("web", &[4, 5, 6, 7]).await?;
    space.settled("web").await?;
    let mut complete = false;
    for state in recorder.states("web") {
        let ready = state.values().filter(|pod| is_ready(pod)).count();
        complete |= ready >= 4;
        ensure!(!complete || ready >= 3, "only {ready} Pods were ready");
    }
    ensure!(complete, "the Pods were never all ready");
    Ok(())
}

async fn a_range_of_billions_costs_nothing(space: Space) -> Result {
    let spec = json!({"podManagementPolicy": "Parallel", "reserveOrdinals": ["1-2000000000"]});
    space.create_settled(set("web", spec)).await?;
    space.ordinals_are("web", &[0, 2_000_000_001, 2_000_000_002]).await
}
