//! Killed managers, two at once, a lost apiserver: the budget and the Pods' identity hold. Each
//! test has a cluster of its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::manager::Manager;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, Suite, image, report, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_manager_killed_again_and_again_keeps_the_budget,
    two_managers_at_once_keep_the_budget,
    an_apiserver_that_goes_and_comes_back_loses_nothing,
    a_manager_told_to_end_hands_over_at_once,
];

const REPLICAS: i64 = 6;
const BUDGET: usize = 2;

fn six(strategy: Value) -> Value {
    let strategy = with(json!({"maxUnavailable": BUDGET}), strategy);
    set("web", with(json!({"replicas": REPLICAS, "podManagementPolicy": "Parallel"}), rolling_update(strategy)))
}

/// Runs a test on its own cluster and tells that cluster's state when it fails.
async fn apart(name: &str, body: impl AsyncFnOnce(&Arc<Suite>, &Space) -> Result) -> Result {
    let suite = Suite::start_apart().await?;
    let space = suite.space(name).await?;
    let outcome = body(&suite, &space).await;
    outcome.map_err(|failure| Failure(format!("{failure}\n\n{}", report::state(&suite, &space.namespace))))
}

/// Puts another manager in the place of the one that ended.
fn another_manager(suite: &Suite, arguments: &[&str]) -> Result {
    let manager = suite.start_manager(arguments)?;
    let mut place = suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))?;
    *place = manager;
    Ok(())
}

fn with_manager<T>(suite: &Suite, act: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T> {
    act(&mut *suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))?)
}

async fn a_manager_killed_again_and_again_keeps_the_budget(_: Space) -> Result {
    apart("killed", async |suite, space| {
        space.create_settled(six(json!({}))).await?;
        let before = space.pods_of("web").await?;
        let recorder = space.record().await?;
        space.set_image("web", "v2").await?;
        for pause_milliseconds in [60, 130, 250, 400, 90, 700] {
            tokio::time::sleep(Duration::from_millis(pause_milliseconds)).await;
            with_manager(suite, Manager::kill)?;
            another_manager(suite, &["--leader-elect=false"])?;
        }
        space.settled("web").await?;
        let worst = recorder.worst_unready("web", 0..REPLICAS);
        ensure!(worst <= BUDGET, "{worst} Pods were down at once");
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!(uid(&new), uid(old), "UID");
            ensure!(container_id(&new) != container_id(old), "a container was not updated");
        }
        recorder.keeps_identity()
    })
    .await
}

async fn two_managers_at_once_keep_the_budget(_: Space) -> Result {
    apart("two", async |suite, space| {
        with_manager(suite, Manager::kill)?;
        another_manager(suite, &["--leader-elect=false"])?;
        let mut second = suite.start_manager(&["--leader-elect=false"])?;
        space.create_settled(six(json!({"podUpdatePolicy": "ReCreate"}))).await?;
        let recorder = space.record().await?;
        for tag in ["v2", "v3"] {
            space.set_image("web", tag).await?;
            space.settled("web").await?;
        }
        let worst = recorder.worst_unready("web", 0..REPLICAS);
        ensure!(worst <= BUDGET, "{worst} Pods were down at once");
        recorder.keeps_identity()?;
        ensure!(second.is_alive() && with_manager(suite, |first| Ok(first.is_alive()))?, "a manager ended");
        second.kill()
    })
    .await
}

async fn an_apiserver_that_goes_and_comes_back_loses_nothing(_: Space) -> Result {
    apart("outage", async |suite, space| {
        space.create_settled(six(json!({}))).await?;
        let before = space.pods_of("web").await?;
        space.set_image("web", "v2").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        suite.cluster.command("kill kube-apiserver")?;
        tokio::time::sleep(seconds(1)).await;
        suite.cluster.command("start kube-apiserver")?;
        // A manager that ends when it loses its lease is started again by its Deployment.
        if !with_manager(suite, |manager| Ok(manager.is_alive()))? {
            another_manager(suite, &[])?;
        }
        space.settled_within("web", 90).await?;
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!(uid(&new), uid(old), "UID");
        }
        Ok(())
    })
    .await
}

async fn a_manager_told_to_end_hands_over_at_once(_: Space) -> Result {
    apart("handover", async |suite, space| {
        space.create_settled(six(json!({}))).await?;
        let second = suite.start_manager(&[])?;
        tokio::time::sleep(seconds(2)).await;
        let took = with_manager(suite, Manager::terminate)?;
        ensure!(took < seconds(2), "it took {took:?} to end");
        *suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))? = second;
        space.set_image("web", "v2").await?;
        space.settled_within("web", 10).await.context("a lease lasts 15 s: it was not released")?;
        ensure_eq!(crate::harness::space::image_of(&space.pod("web-0").await?), image("v2"), "image");
        Ok(())
    })
    .await
}
