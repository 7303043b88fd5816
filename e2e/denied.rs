//! What an admission policy denies is no sign of what the apiserver can do. The apiserver here is customised and asked
//! anew by a manager of the test's own; the nodes are fake.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::install::kubectl;
use crate::harness::manifest::with;
use crate::harness::policy::{forbid, forbid_no_more};
use crate::harness::recorder::Recorder;
use crate::harness::space::{container_id, is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Failure, Result, Space, Suite, holds, image, report, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    an_environment_that_a_policy_denies_touches_no_pod_and_goes_in_place_after,
    a_probe_that_a_policy_denies_touches_no_pod_and_goes_in_place_after,
];

async fn on_a_customised_apiserver(body: impl AsyncFnOnce(&Space) -> Result) -> Result {
    let suite = Suite::start("local", &["--customised", "--kwok-nodes=2"]).await?;
    let label = ["label", "node", "--all", "apps.asts.dev/customised-kubelet=true"];
    kubectl(&suite.cluster.info, &label, None)?;
    let space = suite.space("denied").await?;
    let outcome = body(&space).await;
    outcome.map_err(|failure| Failure(format!("{failure}\n\n{}", report::state(&suite, &space.namespace))))
}

fn app(fields: Value) -> Value {
    let container = with(json!({"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent"}), fields);
    json!({"template": {"spec": {"containers": [container]}}})
}

/// Denied: told as itself, and every Pod stays as it is and in service. Returns the Pods, and the recorder that later
/// waits ask.
async fn denied(space: &Space, before: Value, after: Value, allowed: &str) -> Result<(Vec<Pod>, Recorder)> {
    space.create_settled(set("web", app(before))).await?;
    let pods = space.pods_of("web").await?;
    forbid(space, "UPDATE", allowed, "it is frozen").await?;
    let recorder = space.record().await?;
    space.edit("web", app(after)).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("AdmissionDenied")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("it is frozen") && message.contains("web-2"), "not its words: {message:?}");
    holds(seconds(3), "no Pod is touched", async || {
        ensure_eq!(space.condition("web", "InPlaceUpdateBlocked").await?.status, "False", "InPlaceUpdateBlocked");
        for (old, new) in pods.iter().zip(space.pods_of("web").await?) {
            ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
            ensure_eq!(new.metadata.generation, old.metadata.generation, "generation of {}", pod_name(&new));
        }
        Ok(())
    })
    .await?;
    space.recorders_catch_up().await?;
    for seen in recorder.pods() {
        ensure!(is_ready(seen.object()), "{} was taken out of service", pod_name(seen.object()));
    }
    forbid_no_more(space)?;
    Ok((pods, recorder))
}

async fn an_environment_that_a_policy_denies_touches_no_pod_and_goes_in_place_after(_: Space) -> Result {
    on_a_customised_apiserver(async |space| {
        let mode = |mode: &str| json!({"env": [{"name": "MODE", "value": mode}]});
        let allowed = "object.spec.containers[0].env[0].value == oldObject.spec.containers[0].env[0].value";
        let (before, _recorder) = denied(space, mode("one"), mode("two"), allowed).await?;
        // No kubelet starts the container again here: that it is asked to is enough.
        let patched = space
            .pod_is("web-2", "patched", |pod| {
                let env = pod.spec.as_ref().and_then(|spec| spec.containers[0].env.as_ref()?.first()?.value.clone());
                env.as_deref() == Some("two")
            })
            .await?;
        ensure_eq!(uid(&patched), uid(&before[2]), "UID of web-2");
        Ok(())
    })
    .await
}

async fn a_probe_that_a_policy_denies_touches_no_pod_and_goes_in_place_after(_: Space) -> Result {
    on_a_customised_apiserver(async |space| {
        let probe = |period: u32| json!({"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": period}});
        let period = "spec.containers[0].readinessProbe.periodSeconds";
        let (before, _recorder) =
            denied(space, probe(5), probe(7), &format!("object.{period} == oldObject.{period}")).await?;
        space.settled("web").await?;
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
            let probe = new.spec.as_ref().and_then(|spec| spec.containers[0].readiness_probe.as_ref());
            ensure_eq!(probe.and_then(|probe| probe.period_seconds), Some(7), "period of {}", pod_name(&new));
        }
        ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
        Ok(())
    })
    .await
}
