//! A set that is changed at random while its manager is killed again and again ends where its last
//! spec says, and nothing is lost on the way. Judged by the apiserver's watch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::chaos::{another_manager, apart, with_manager};
use crate::claims::volume_for;
use crate::harness::dice::Dice;
use crate::harness::manager::Manager;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{hash_in, image_of, revision_label, uid};
use crate::harness::{Context, Failure, Result, Space, Suite, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![a_hundred_random_changes_under_killed_managers_end_at_the_last_spec];

const CHANGES: usize = 100;
const CHANGE_EVERY: Duration = Duration::from_millis(250);
/// A manager lives for so many changes.
const KILL_EVERY: usize = 9;
const BUDGET: usize = 2;
/// Scaling stays between these, so that the Pods below the least are never scaled away.
const REPLICAS: std::ops::RangeInclusive<i64> = 4..=7;
const SEED_DEFAULT: u64 = 7;

fn replicas(dice: &mut Dice) -> i64 {
    let width = REPLICAS.end() - REPLICAS.start() + 1;
    REPLICAS.start() + i64::try_from(dice.below(width.unsigned_abs())).unwrap_or_default()
}

fn rolling(more: Value) -> Value {
    rolling_update(with(json!({"maxUnavailable": BUDGET}), more))
}

fn template(tag: &str, mode: u64) -> Value {
    json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image(tag)},
        {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": mode.to_string()},
    ])
}

/// One change, as some user would make it.
async fn change(space: &Space, dice: &mut Dice, by_hand: &mut BTreeSet<String>) -> Result {
    match dice.below(12) {
        0..=1 => space.scale("web", replicas(dice)).await,
        2..=4 => {
            let tag = ["v1", "v2", "v3", "broken"][usize::try_from(dice.below(4))?];
            space.json_patch("web", template(tag, 0)).await
        }
        // In place on no stock cluster.
        5 => space.json_patch("web", template("v2", dice.below(3))).await,
        6 => space.edit("web", rolling(json!({"partition": dice.below(4)}))).await,
        7 => space.edit("web", rolling(json!({"paused": dice.below(2) == 0}))).await,
        8 => space.edit("web", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}})).await,
        9 => space.edit("web", rolling(json!({"partition": 0, "paused": false}))).await,
        10 => {
            let policy = ["InPlaceIfPossible", "ReCreate"][usize::try_from(dice.below(2))?];
            space.edit("web", rolling(json!({"podUpdatePolicy": policy}))).await
        }
        _ => {
            let Some(pod) = space.find_pod(&format!("web-{}", dice.below(4))).await? else { return Ok(()) };
            by_hand.insert(uid(&pod));
            let name = pod.metadata.name.unwrap_or_default();
            // It may be gone by now.
            space.pods().delete(&name, &DeleteParams::default()).await.map(|_| ()).or_else(|error| match error {
                kube::Error::Api(status) if status.code == 404 => Ok(()),
                error => Err(error.into()),
            })
        }
    }
}

async fn a_hundred_random_changes_under_killed_managers_end_at_the_last_spec(here: Space) -> Result {
    let seed = std::env::var("ASTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED_DEFAULT);
    apart(&here, "random", async |suite, space| {
        play(suite, space, seed).await.map_err(|failure| Failure(format!("ASTS_SEED={seed}: {failure}")))
    })
    .await
}

async fn play(suite: &Arc<Suite>, space: &Space, seed: u64) -> Result {
    for ordinal in 0..*REPLICAS.end() {
        volume_for(space, &format!("data-web-{ordinal}")).await?;
    }
    let container = json!([{
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "env": [{"name": "MODE", "value": "0"}],
    }]);
    let more = json!({
        "replicas": 5,
        "podManagementPolicy": "Parallel",
        "template": {"spec": {"containers": container}},
        "volumeClaimTemplates": [claim_template("data", "1Mi")],
    });
    space.create_settled(set("web", with(more, rolling(json!({}))))).await?;
    let recorder = space.record().await?;
    let (mut dice, mut by_hand) = (Dice(seed), BTreeSet::new());
    for number in 1..=CHANGES {
        change(space, &mut dice, &mut by_hand).await?;
        tokio::time::sleep(CHANGE_EVERY).await;
        if number % KILL_EVERY == 0 {
            with_manager(suite, Manager::kill)?;
            another_manager(suite, &["--leader-elect=false"])?;
        }
    }
    space
        .edit("web", rolling(json!({"partition": 0, "paused": false, "podUpdatePolicy": "InPlaceIfPossible"})))
        .await?;
    space.json_patch("web", template("v3", 5)).await?;
    space.scale("web", 6).await?;
    space.settled_within("web", 90).await?;

    space.ordinals_are("web", &[0, 1, 2, 3, 4, 5]).await?;
    let update = space.status("web").await?.update_revision;
    for pod in space.pods_of("web").await? {
        let mode = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.env.as_ref()?.first()?.value.clone());
        ensure_eq!((image_of(&pod), mode.as_deref()), (image("v3").as_str(), Some("5")), "image and MODE");
        ensure_eq!(revision_label(&pod), hash_in(update.as_deref()), "revision label");
    }
    recorder.keeps_identity()?;
    let claims = space.claim_names().await?;
    ensure!(claims.len() >= 6, "the claims are {claims:?}");
    let worst = recorder.worst_taken_down("web", 0..*REPLICAS.start(), &by_hand);
    ensure!(worst > 0, "the watch shows no update at all");
    ensure!(worst <= BUDGET, "{worst} Pods were taken down at once");
    with_manager(suite, |manager| Ok(manager.is_alive()))?.then_some(()).context("the manager ended")
}
