//! Images that a real kubelet pulls before any Pod is touched.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::harness::manager::Manager;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::recorder::Recorder;
use crate::harness::space::{container_id, image_of, is_ready, label, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, Suite, eventually, holds, image, report, set};
use crate::registry::{CREDENTIALS, Registry};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_kubelet_pulls_for_a_helper_and_runs_nothing_of_it,
    an_image_that_cannot_be_pulled_touches_no_pod,
    a_private_image_is_pulled_with_the_templates_secret,
    a_slow_pull_makes_no_pod_unready,
    a_tainted_node_pulls_first,
    a_node_with_no_room_for_a_helper_is_told_and_waited_for,
];

/// After it the tests' manager is another, which takes no part in the election.
pub mod killed {
    use super::a_helper_is_removed_after_the_manager_was_killed;

    crate::test_list![a_helper_is_removed_after_the_manager_was_killed];
}

const HELPER_LABEL: &str = "apps.asts.dev/pre-pull";
/// Real containers take their time.
const PATIENCE_SECONDS: u64 = 120;

fn pulling(pre_pull: bool, spec: Value) -> Value {
    let strategy = rolling_update(json!({"inPlaceUpdateStrategy": {"prePull": pre_pull}}));
    set("web", with(with(json!({"replicas": 2, "podManagementPolicy": "Parallel"}), strategy), spec))
}

async fn created(space: &Space, manifest: Value) -> Result {
    space.create(manifest).await?;
    space.settled_within("web", PATIENCE_SECONDS).await
}

async fn set_reference(space: &Space, reference: &str) -> Result {
    let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": reference}]);
    space.json_patch("web", patch).await
}

async fn helpers(space: &Space) -> Result<Vec<Pod>> {
    Ok(space.pods().list(&ListParams::default().labels(HELPER_LABEL)).await?.items)
}

async fn no_helper_is_left(space: &Space) -> Result {
    eventually(seconds(60), "the helpers are gone", async || {
        ensure_eq!(helpers(space).await?.iter().map(pod_name).collect::<Vec<_>>(), [""; 0], "helpers");
        Ok(())
    })
    .await
}

async fn identities(space: &Space) -> Result<Vec<(String, Option<String>)>> {
    let pods = space.pods_of("web").await?;
    Ok(pods.iter().map(|pod| (uid(pod), container_id(pod).map(str::to_owned))).collect())
}

async fn a_kubelet_pulls_for_a_helper_and_runs_nothing_of_it(space: Space) -> Result {
    let registry = Registry::start().await?;
    let reference = registry.offer("plain", Duration::ZERO, false)?;
    created(&space, pulling(true, json!({}))).await?;
    let recorder = space.record().await?;
    set_reference(&space, &reference).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    no_helper_is_left(&space).await?;
    space.recorders_catch_up().await?;
    let entries = recorder.entries();
    let of_helpers = || entries.iter().filter(|entry| label(entry.seen.object(), HELPER_LABEL).is_some());
    for entry in of_helpers() {
        let statuses = entry.seen.object().status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let ran = statuses.into_iter().flatten().any(|status| {
            status.state.as_ref().is_some_and(|state| state.running.is_some()) || status.restart_count > 0
        });
        ensure!(!ran, "something of the image ran");
    }
    let pulled = of_helpers().find(|entry| {
        let status = entry.seen.object().status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
        status.is_some_and(|status| {
            let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
            ended.is_some_and(|ended| ended.reason.as_deref() == Some("StartError")) && !status.image_id.is_empty()
        })
    });
    let pulled = pulled.context("a helper that could not be started, with its image there")?;
    for name in ["web-0", "web-1"] {
        let patched = recorder.first_time(name, "patched", |pod| image_of(pod) == reference)?;
        ensure!(pulled.at <= patched, "{name} was patched before the image was there");
    }
    Ok(())
}

async fn an_image_that_cannot_be_pulled_touches_no_pod(space: Space) -> Result {
    created(&space, pulling(true, json!({}))).await?;
    let before = identities(&space).await?;
    set_reference(&space, "127.0.0.1:1/none:v9").await?;
    let told = eventually(seconds(60), "Progressing says what is wrong", async || {
        let condition = space.condition("web", "Progressing").await?;
        let message = condition.message.unwrap_or_default();
        ensure_eq!(condition.reason.as_deref(), Some("WaitingForImage"), "reason");
        ensure!(message.contains("cannot be pulled"), "{message}");
        Ok(message)
    })
    .await?;
    ensure!(told.contains("127.0.0.1:1/none:v9") && told.contains("ErrImagePull"), "{told}");
    holds(seconds(5), "no Pod is touched", async || {
        ensure_eq!(identities(&space).await?, before, "Pods and containers");
        ensure!(space.pods_of("web").await?.iter().all(is_ready), "a Pod is not Ready");
        Ok(())
    })
    .await?;
    space.set_image("web", "v2").await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    no_helper_is_left(&space).await
}

async fn a_private_image_is_pulled_with_the_templates_secret(space: Space) -> Result {
    let registry = Registry::start().await?;
    let reference = registry.offer("private", Duration::ZERO, true)?;
    let config = json!({"auths": {(registry.address.as_str()): {"auth": CREDENTIALS}}}).to_string();
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "key"}, "type": "kubernetes.io/dockerconfigjson",
    }))?;
    let data = [(".dockerconfigjson".to_owned(), config)].into();
    space.api().create(&PostParams::default(), &Secret { string_data: Some(data), ..secret }).await?;
    let secrets = json!({"template": {"spec": {"imagePullSecrets": [{"name": "key"}]}}});
    created(&space, pulling(true, secrets)).await?;
    let before = identities(&space).await?;
    set_reference(&space, &reference).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    for (old, new) in before.iter().zip(identities(&space).await?) {
        ensure_eq!(old.0, new.0, "UID");
        ensure!(old.1 != new.1, "the container is the old one");
    }
    no_helper_is_left(&space).await
}

async fn a_helper_is_removed_after_the_manager_was_killed(space: Space) -> Result {
    let registry = Registry::start().await?;
    let reference = registry.offer("held-back", seconds(8), false)?;
    created(&space, pulling(true, json!({}))).await?;
    let before = identities(&space).await?;
    set_reference(&space, &reference).await?;
    eventually(seconds(30), "a helper", async || {
        ensure!(!helpers(&space).await?.is_empty(), "none yet");
        Ok(())
    })
    .await?;
    let lock = |_| Failure("the manager's lock".to_owned());
    Manager::kill(&mut *space.suite.manager.lock().map_err(lock)?)?;
    space.set_image("web", "v1").await?;
    ensure!(!helpers(&space).await?.is_empty(), "the helper is gone with its manager");
    let another = space.suite.start_manager(&["--leader-elect=false"])?;
    *space.suite.manager.lock().map_err(lock)? = another;
    no_helper_is_left(&space).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    ensure_eq!(identities(&space).await?, before, "Pods and containers");
    Ok(())
}

/// For how long a Pod was not Ready.
fn unready_seconds(recorder: &Recorder, name: &str, from: Instant) -> f64 {
    let mut since: Option<Instant> = None;
    let mut total = Duration::ZERO;
    for entry in recorder.entries() {
        let pod = entry.seen.object();
        if pod_name(pod) != name || entry.at < from {
            continue;
        }
        match (is_ready(pod), since) {
            (false, None) => since = Some(entry.at),
            (true, Some(begun)) => {
                total += entry.at.duration_since(begun);
                since = None;
            }
            _ => {}
        }
    }
    total.as_secs_f64()
}

/// Five Pods on one node at once, and an image whose layer takes five seconds.
async fn a_slow_pull_makes_no_pod_unready(space: Space) -> Result {
    const PULL_SECONDS: u64 = 5;
    let registry = Registry::start().await?;
    let all_at_once = json!({"replicas": 5, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}}});
    created(&space, pulling(false, all_at_once)).await?;
    let recorder = space.record().await?;
    let mut worst = Vec::new();
    for (pre_pull, name) in [(false, "slow-one"), (true, "slow-two")] {
        let reference = registry.offer(name, seconds(PULL_SECONDS), false)?;
        space.edit("web", rolling_update(json!({"inPlaceUpdateStrategy": {"prePull": pre_pull}}))).await?;
        space.settled_within("web", PATIENCE_SECONDS).await?;
        let begun = Instant::now();
        set_reference(&space, &reference).await?;
        space.settled_within("web", PATIENCE_SECONDS).await?;
        let names = (0..5).map(|ordinal| format!("web-{ordinal}"));
        let seconds: Vec<f64> = names.map(|name| unready_seconds(&recorder, &name, begun)).collect();
        let told: Vec<String> = seconds.iter().map(|one| format!("{one:.1}")).collect();
        println!("seconds of unreadiness of five Pods, prePull {pre_pull}: {}", told.join(", "));
        worst.push(seconds.into_iter().fold(0.0, f64::max));
    }
    let (is_slow, is_spared) = (worst[0] >= PULL_SECONDS as f64, worst[1] < worst[0]);
    ensure!(is_slow, "the pull was not slow: {worst:?}");
    ensure!(is_spared, "to pull first spared nothing: {worst:?}");
    Ok(())
}

/// On a node of the test's own, which may be filled and tainted.
async fn on_a_node_apart(flags: &[&str], body: impl AsyncFnOnce(&Space) -> Result) -> Result {
    let suite = Suite::start("node", flags).await?;
    let space = suite.space("apart").await?;
    let outcome = body(&space).await;
    outcome.map_err(|failure| Failure(format!("{failure}\n\n{}", report::state(&suite, &space.namespace))))
}

async fn a_tainted_node_pulls_first(_: Space) -> Result {
    // A flag keeps a cluster that runs already from being taken for this one.
    on_a_node_apart(&["--set-flag=kubelet:max-pods=20"], async |space| {
        let tolerations = json!([{"key": "example.com/only", "operator": "Exists"}]);
        created(space, pulling(true, json!({"template": {"spec": {"tolerations": tolerations}}}))).await?;
        for effect in ["NoSchedule", "NoExecute"] {
            space.kubectl(&["taint", "node", "--all", &format!("example.com/only=yes:{effect}")], None)?;
        }
        let before = identities(space).await?;
        let registry = Registry::start().await?;
        let reference = registry.offer("tainted", Duration::ZERO, false)?;
        let recorder = space.record().await?;
        set_reference(space, &reference).await?;
        space.settled_within("web", PATIENCE_SECONDS).await?;
        no_helper_is_left(space).await?;
        space.recorders_catch_up().await?;
        let seen = recorder.pods();
        let helpers = || seen.iter().map(|seen| seen.object()).filter(|pod| label(pod, HELPER_LABEL).is_some());
        let mut uids: Vec<String> = helpers().map(uid).collect();
        uids.dedup();
        ensure_eq!(uids.len(), 1, "helpers: the first was to do");
        for (old, new) in before.iter().zip(identities(space).await?) {
            ensure_eq!(old.0, new.0, "UID");
            ensure!(old.1 != new.1, "the container is the old one");
        }
        Ok(())
    })
    .await
}

async fn a_node_with_no_room_for_a_helper_is_told_and_waited_for(_: Space) -> Result {
    on_a_node_apart(&["--set-flag=kubelet:max-pods=3"], async |space| {
        created(space, pulling(true, json!({}))).await?;
        let filler = json!({
            "metadata": {"name": "filler"},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": image("v1")}]},
        });
        space.pods().create(&PostParams::default(), &serde_json::from_value(filler)?).await?;
        space.pod_is("filler", "ready", is_ready).await?;
        let before = identities(space).await?;
        let registry = Registry::start().await?;
        set_reference(space, &registry.offer("no-room", Duration::ZERO, false)?).await?;
        eventually(seconds(60), "Progressing says why", async || {
            let condition = space.condition("web", "Progressing").await?;
            let message = condition.message.unwrap_or_default();
            ensure_eq!(condition.reason.as_deref(), Some("WaitingForImage"), "reason");
            ensure!(message.contains("cannot pre-pull on node localhost") && message.contains("pods"), "{message}");
            Ok(())
        })
        .await?;
        holds(seconds(3), "no Pod is touched", async || {
            ensure_eq!(identities(space).await?, before, "Pods and containers");
            ensure!(space.pods_of("web").await?.iter().all(is_ready), "a Pod is not Ready");
            Ok(())
        })
        .await?;
        space.pods().delete("filler", &Default::default()).await?;
        space.settled_within("web", PATIENCE_SECONDS).await?;
        no_helper_is_left(space).await
    })
    .await
}
