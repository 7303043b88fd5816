//! Killed managers, two at once, a lost apiserver: the budget and the Pods' identity hold. Each
//! test has a cluster of its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::install::install;
use crate::harness::manager::Manager;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{container_id, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, Suite, eventually, holds, image, report, set};
use crate::lifecycle::{self, HOLD, hooked};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_manager_killed_again_and_again_keeps_the_budget,
    a_manager_killed_at_each_step_of_a_hook_goes_on_where_it_was,
    a_manager_killed_again_and_again_keeps_the_budget_with_hooks,
    two_managers_at_once_keep_the_budget,
    an_apiserver_that_goes_and_comes_back_loses_nothing,
    a_manager_told_to_end_hands_over_at_once,
    a_set_that_cannot_be_understood_harms_no_other,
    a_definition_that_comes_after_the_manager_is_waited_for,
];

const REPLICAS: i64 = 6;
const BUDGET: usize = 2;

fn six(strategy: Value) -> Value {
    let strategy = with(json!({"maxUnavailable": BUDGET}), strategy);
    set("web", with(json!({"replicas": REPLICAS, "podManagementPolicy": "Parallel"}), rolling_update(strategy)))
}

/// Runs a test on its own cluster and tells that cluster's state when it fails.
pub async fn apart(here: &Space, name: &str, body: impl AsyncFnOnce(&Arc<Suite>, &Space) -> Result) -> Result {
    let suite = Suite::start_apart().await?;
    let space = suite.space(name).await?;
    let outcome = body(&suite, &space).await;
    here.suite.remember(&suite)?;
    outcome.map_err(|failure| Failure(format!("{failure}\n\n{}", report::state(&suite, &space.namespace))))
}

/// Puts another manager in the place of the one that ended.
pub fn another_manager(suite: &Suite, arguments: &[&str]) -> Result {
    let manager = suite.start_manager(arguments)?;
    let mut place = suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))?;
    *place = manager;
    Ok(())
}

pub fn with_manager<T>(suite: &Suite, act: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T> {
    act(&mut *suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))?)
}

async fn a_manager_killed_again_and_again_keeps_the_budget(here: Space) -> Result {
    apart(&here, "killed", async |suite, space| {
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

fn kill_and_start_again(suite: &Suite) -> Result {
    with_manager(suite, Manager::kill)?;
    another_manager(suite, &["--leader-elect=false"])
}

async fn a_manager_killed_at_each_step_of_a_hook_goes_on_where_it_was(here: Space) -> Result {
    apart(&here, "hook-steps", async |suite, space| {
        let hook = json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": true});
        let hooks = json!({"preDelete": hook, "inPlaceUpdate": hook, "preNormal": hook});
        let one = hooked(hooks, json!({"replicas": 1}));
        space.create_settled(one).await?;
        let before = space.pod("web-0").await?;
        let recorder = space.record().await?;
        space.set_image("web", "v2").await?;
        for (state, answer) in [("PreparingUpdate", Some(None)), ("Updated", Some(Some("true"))), ("Normal", None)] {
            space.pod_is("web-0", state, |pod| lifecycle::state(pod) == state).await?;
            kill_and_start_again(suite)?;
            if let Some(value) = answer {
                space.label("web-0", HOLD, value).await?;
                kill_and_start_again(suite)?;
            }
        }
        space.settled("web").await?;
        let after = space.pod("web-0").await?;
        ensure_eq!(uid(&after), uid(&before), "UID");
        ensure!(container_id(&after) != container_id(&before), "it was not updated");
        let ids: std::collections::BTreeSet<_> =
            recorder.pods().iter().filter_map(|seen| container_id(seen.object()).map(str::to_owned)).collect();
        ensure_eq!(ids.len(), 2, "containers that ran");
        let ports =
            json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [{"containerPort": 80}]}]);
        space.json_patch("web", ports).await?;
        space.pod_is("web-0", "PreparingDelete", |pod| lifecycle::state(pod) == "PreparingDelete").await?;
        kill_and_start_again(suite)?;
        space.label("web-0", HOLD, None).await?;
        kill_and_start_again(suite)?;
        space.replaced("web-0", &uid(&before)).await?;
        space.settled("web").await?;
        recorder.keeps_identity()
    })
    .await
}

async fn a_manager_killed_again_and_again_keeps_the_budget_with_hooks(here: Space) -> Result {
    apart(&here, "hooks", async |suite, space| {
        let hook = json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": true});
        let hooks = json!({"preDelete": hook, "inPlaceUpdate": hook, "preNormal": hook});
        let spec = with(
            json!({"replicas": REPLICAS, "podManagementPolicy": "Parallel"}),
            rolling_update(json!({"maxUnavailable": BUDGET})),
        );
        lifecycle::answered(space, async {
            space.create_settled(hooked(hooks, spec)).await?;
            let recorder = space.record().await?;
            let ports = |port: u16| json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [{"containerPort": port}]}]);
            space.set_image("web", "v2").await?;
            for (pause_milliseconds, port) in [(80, None), (150, None), (300, Some(80)), (450, None), (120, Some(81)), (700, None)] {
                tokio::time::sleep(Duration::from_millis(pause_milliseconds)).await;
                kill_and_start_again(suite)?;
                if let Some(port) = port {
                    space.json_patch("web", ports(port)).await?;
                }
            }
            space.settled("web").await?;
            let worst = recorder.worst_unready("web", 0..REPLICAS);
            ensure!(worst <= BUDGET, "{worst} Pods were down at once");
            for pod in space.pods_of("web").await? {
                ensure_eq!(lifecycle::state(&pod), "Normal", "state");
            }
            recorder.keeps_identity()
        })
        .await
    })
    .await
}

async fn two_managers_at_once_keep_the_budget(here: Space) -> Result {
    apart(&here, "two", async |suite, space| {
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
        // Both make the same claims, so that one of them finds each taken.
        let claims = json!({"replicas": 10, "podManagementPolicy": "Parallel", "volumeClaimTemplates": [claim_template("data", "1Mi")]});
        space.create(set("db", claims)).await?;
        space.status_is("db", "all ten are made", |status| status.replicas == 10).await?;
        ensure_eq!(space.claim_names().await?.len(), 10, "claims");
        ensure!(second.is_alive() && with_manager(suite, |first| Ok(first.is_alive()))?, "a manager ended");
        second.kill()
    })
    .await
}

async fn an_apiserver_that_goes_and_comes_back_loses_nothing(here: Space) -> Result {
    apart(&here, "outage", async |suite, space| {
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

async fn a_manager_told_to_end_hands_over_at_once(here: Space) -> Result {
    apart(&here, "handover", async |suite, space| {
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

/// As after a definition of another version was installed.
async fn a_set_that_cannot_be_understood_harms_no_other(here: Space) -> Result {
    apart(&here, "poisoned", async |_, space| {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": {"type": "object", "properties": {"spec": open, "status": open}}}]);
        let name = "crd/advancedstatefulsets.apps.asts.dev";
        space.kubectl(&["patch", name, "--type=json", "-p", &patch.to_string()], None)?;
        space.create_settled(set("web", json!({}))).await?;
        space.create_settled(set("odd", json!({"replicas": 0}))).await?;
        space.write_condition("odd", "BackedUp").await?;
        eventually(seconds(20), "the definition is open", async || {
            space.edit("odd", json!({"podManagementPolicy": "Sideways"})).await
        })
        .await?;
        eventually(seconds(30), "ReplicaFailure says why", async || {
            let set = space.sets().get("odd").await?;
            let conditions = set.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let told =
                conditions.iter().find(|condition| condition["type"] == "ReplicaFailure").context("the condition")?;
            let message = told["message"].as_str().unwrap_or_default();
            ensure!(told["status"] == "True" && message.contains("Sideways"), "it says {told}");
            let kept = conditions.iter().any(|it| it["type"] == "BackedUp" && it["status"] == "True");
            ensure!(kept, "the condition that another wrote is gone: {conditions:?}");
            Ok(())
        })
        .await?;
        space.set_image("web", "v2").await?;
        space.settled("web").await
    })
    .await
}

/// Tries to watch come further and further apart: no more than so many in [`ABSENT_SECONDS`].
const TRIES_MOST: usize = 20;
const ABSENT_SECONDS: u64 = 15;

async fn a_definition_that_comes_after_the_manager_is_waited_for(here: Space) -> Result {
    apart(&here, "definition", async |suite, space| {
        with_manager(suite, Manager::kill)?;
        space.kubectl(&["delete", "crd", "advancedstatefulsets.apps.asts.dev"], None)?;
        another_manager(suite, &["--leader-elect=false"])?;
        with_manager(suite, |manager| manager.wait_for_log("is not installed in this cluster"))?;
        let ready = || with_manager(suite, |manager| manager.get("health_address", "/readyz"));
        holds(seconds(ABSENT_SECONDS), "alive and not ready", async || {
            let health = with_manager(suite, |manager| manager.get("health_address", "/healthz"))?;
            ensure!(health.starts_with("HTTP/1.1 200"), "/healthz: {health}");
            let answer = ready()?;
            ensure!(answer.starts_with("HTTP/1.1 503") && answer.contains("caches"), "/readyz: {answer}");
            Ok(())
        })
        .await?;
        let told = with_manager(suite, |manager| Ok(manager.lines_about("is not installed", usize::MAX)))?;
        let tries = told.lines().count();
        ensure!(tries <= TRIES_MOST, "{tries} tries in {ABSENT_SECONDS} s");
        install(&suite.cluster.info)?;
        eventually(seconds(60), "ready", async || {
            let answer = ready()?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "/readyz: {answer}");
            Ok(())
        })
        .await?;
        space.create_settled(six(json!({}))).await
    })
    .await
}
