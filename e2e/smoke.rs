//! The harness itself: the cluster runs Pods, and what fails is told.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;

use crate::harness::space::{is_ready, uid};
use crate::harness::{Failure, Result, Space, eventually, image};
use crate::{ensure, ensure_eq, test_list};

test_list![a_plain_pod_becomes_ready, the_recorder_sees_pods_come_and_go, the_manager_tells_how_it_is];

fn plain_pod(name: &str) -> std::result::Result<Pod, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": image("v1")}]},
    }))
}

async fn a_plain_pod_becomes_ready(space: Space) -> Result {
    space.pods().create(&PostParams::default(), &plain_pod("plain")?).await?;
    space.pod_is("plain", "ready", is_ready).await?;
    Ok(())
}

async fn the_recorder_sees_pods_come_and_go(space: Space) -> Result {
    let recorder = space.record().await?;
    space.pods().create(&PostParams::default(), &plain_pod("one-0")?).await?;
    let pod = space.pod_is("one-0", "ready", is_ready).await?;
    space.recorders_catch_up().await?;
    ensure_eq!(recorder.made(), ["one-0"], "Pods made");
    ensure_eq!(recorder.worst_unready("one", 0..1), 0, "Pods down before any went");
    space.pods().delete("one-0", &Default::default()).await?;
    eventually(std::time::Duration::from_secs(20), "it is gone", async || {
        ensure!(space.find_pod("one-0").await?.is_none(), "{} is still there", uid(&pod));
        Ok(())
    })
    .await?;
    space.recorders_catch_up().await?;
    ensure_eq!(recorder.told_to_go(), ["one-0"], "Pods told to go");
    ensure_eq!(recorder.worst_unready("one", 0..1), 1, "Pods down at most");
    recorder.keeps_identity()
}

async fn the_manager_tells_how_it_is(space: Space) -> Result {
    let ask = |address: &str, path: &str| {
        let mut manager = space.suite.manager.lock().map_err(|_| Failure("the manager's lock".to_owned()))?;
        manager.get(address, path)
    };
    for path in ["/healthz", "/readyz"] {
        eventually(std::time::Duration::from_secs(20), path, async || {
            let answer = ask("health_address", path)?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(())
        })
        .await?;
    }
    let metrics = ask("metrics_address", "/metrics")?;
    ensure!(metrics.contains("# TYPE ") && metrics.contains("# EOF"), "{metrics}");
    Ok(())
}
