//! What is changed in a running Pod, how traffic is kept away meanwhile, and when the Pod goes.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::manifest::rolling_update;
use crate::harness::space::{annotation, container_id, image_of, is_ready, label, pod_condition, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    an_image_changes_in_the_running_pod,
    traffic_is_kept_away_before_the_container_is_touched,
    the_grace_period_passes_before_the_patch,
    labels_and_annotations_change_without_a_blink,
    labels_and_annotations_that_the_template_loses_go,
    what_others_wrote_on_a_pod_stays,
    two_containers_change_together,
    another_name_of_the_same_image_is_an_update,
    an_image_of_a_restartable_init_container_changes_in_place,
    an_init_container_that_runs_once_re_creates_the_pod,
    other_fields_re_create_the_pod,
    an_added_container_re_creates_the_pod,
    in_place_only_does_not_re_create_and_says_why,
    recreate_policy_re_creates,
    a_change_during_the_grace_period_loses_nothing,
    a_change_back_during_the_grace_period_touches_nothing,
    over_the_timeout_the_pod_is_re_created,
    over_the_timeout_in_place_only_reports,
    a_pod_that_started_and_is_not_ready_is_not_re_created,
    a_gate_that_was_left_closed_is_opened,
    an_update_takes_at_most_three_writes_a_pod,
];

fn gate(pod: &Pod) -> &str {
    pod_condition(pod, "InPlaceUpdateReady").map_or("", |(status, _)| status)
}

fn in_place(strategy: Value) -> Value {
    rolling_update(json!({"inPlaceUpdateStrategy": strategy}))
}

fn restarts(pod: &Pod) -> Vec<i32> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).collect()
}

fn app(changes: Value) -> Value {
    let mut container = json!({"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent"});
    crate::harness::manifest::merge(&mut container, changes);
    container
}

async fn an_image_changes_in_the_running_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!(uid(&new), uid(old), "UID of {name}");
        ensure_eq!(image_of(&new), image("v2"), "image of {name}");
        ensure!(container_id(&new) != container_id(old), "{name} still has the old container");
        ensure_eq!(restarts(&new), [1], "restarts of {name}");
        let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        ensure_eq!(address(&new), address(old), "address of {name}");
        ensure_eq!(gate(&new), "True", "gate of {name}");
    }
    Ok(())
}

async fn traffic_is_kept_away_before_the_container_is_touched(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for ordinal in 0..3 {
        let name = format!("web-{ordinal}");
        let mut closed_before = false;
        for seen in recorder.pods().iter().filter(|seen| pod_name(seen.object()) == name) {
            let pod = seen.object();
            if image_of(pod) == image("v1") {
                let (status, reason) = pod_condition(pod, "InPlaceUpdateReady").context("the gate")?;
                closed_before |= status == "False" && reason == "ContainerRebuilding";
            } else if container_id(pod) == container_id(recorder.pods()[0].object()) {
                ensure!(gate(pod) == "False", "{name} has its gate open while the old container is about to go");
            }
        }
        ensure!(closed_before, "{name} was patched before its gate was closed");
    }
    Ok(())
}

async fn the_grace_period_passes_before_the_patch(space: Space) -> Result {
    let spec = in_place(json!({"gracePeriodSeconds": 3}));
    space.create_settled(set("web", crate::harness::manifest::with(spec, json!({"replicas": 1})))).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let seen = recorder.pods();
    let patched = seen.iter().map(|seen| seen.object()).find(|pod| image_of(pod) == image("v2"));
    let patched = patched.context("web-0 was never seen with the new image")?;
    let (closed, patched_at) = (gate_turned_at(patched)?, patched_at(patched)?);
    // Both times are cut to whole seconds.
    ensure!(patched_at.as_second() - closed.as_second() >= 4, "closed at {closed}, patched at {patched_at}");
    Ok(())
}

/// By the manager's clock, as the two writes have it.
fn gate_turned_at(pod: &Pod) -> Result<jiff::Timestamp> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let gate = conditions.into_iter().flatten().find(|condition| condition.type_ == "InPlaceUpdateReady");
    Ok(gate.and_then(|gate| gate.last_transition_time.as_ref()).context("the gate has no time")?.0)
}

fn patched_at(pod: &Pod) -> Result<jiff::Timestamp> {
    let state = annotation(pod, "apps.asts.dev/inplace-update-state").context("no bookkeeping")?;
    let state: Value = serde_json::from_str(state).context("read the bookkeeping")?;
    state["patchedAt"].as_str().context("no time in the bookkeeping")?.parse().context("read the time of the patch")
}

async fn metadata_is_followed(space: &Space, change: Value, check: impl Fn(&Pod) -> bool) -> Result {
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.edit_template("web", json!({"metadata": change})).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure!(
            check(&new),
            "{name} has labels {:?} and annotations {:?}",
            new.metadata.labels,
            new.metadata.annotations
        );
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{name}");
    }
    for seen in recorder.pods() {
        let pod = seen.object();
        ensure!(is_ready(pod) && gate(pod) == "True", "{} blinked", pod_name(pod));
    }
    Ok(())
}

/// openkruise/kruise#1625: a change of annotations alone was not applied.
async fn labels_and_annotations_change_without_a_blink(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let change = json!({"labels": {"tier": "gold"}, "annotations": {"note": "new"}});
    metadata_is_followed(&space, change, |pod| {
        label(pod, "tier") == Some("gold") && annotation(pod, "note") == Some("new")
    })
    .await
}

async fn labels_and_annotations_that_the_template_loses_go(space: Space) -> Result {
    let template = json!({"metadata": {"labels": {"tier": "gold"}, "annotations": {"note": "old", "kept": "yes"}}});
    space.create_settled(set("web", json!({"template": template}))).await?;
    let change = json!({"labels": {"tier": null}, "annotations": {"note": null}});
    metadata_is_followed(&space, change, |pod| {
        label(pod, "tier").is_none() && annotation(pod, "note").is_none() && annotation(pod, "kept") == Some("yes")
    })
    .await
}

async fn what_others_wrote_on_a_pod_stays(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.label("web-1", "mine", Some("label")).await?;
    space.annotate("web-1", "mine", Some("annotation")).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let pod = space.pod("web-1").await?;
    ensure_eq!((label(&pod, "mine"), annotation(&pod, "mine")), (Some("label"), Some("annotation")), "on web-1");
    Ok(())
}

fn two(first: &str, second: &str) -> Value {
    let containers = json!([app(json!({"image": image(first)})), {"name": "side", "image": image(second)}]);
    json!({"template": {"spec": {"containers": containers}}})
}

fn images_of(pod: &Pod) -> Vec<String> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.iter().filter_map(|container| container.image.clone()).collect()
}

async fn two_containers_change_together(space: Space) -> Result {
    space.create_settled(set("web", two("v1", "v1"))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", two("v2", "v3")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(&new), uid(old), "UID of {}", pod_name(&new));
        ensure_eq!(images_of(&new), [image("v2"), image("v3")], "images of {}", pod_name(&new));
        ensure_eq!(restarts(&new), [1, 1], "restarts of {}", pod_name(&new));
    }
    space.edit("web", two("v2", "v1")).await?;
    space.settled("web").await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(restarts(&pod), [1, 2], "restarts of {} when one image changed", pod_name(&pod));
    }
    Ok(())
}

/// openkruise/kruise#217, #635, #1242, #1493, #2297: such an update was never done.
async fn another_name_of_the_same_image_is_an_update(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v1-same").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(&new), uid(old), "UID of {}", pod_name(&new));
        ensure!(container_id(&new) != container_id(old), "{} still has the old container", pod_name(&new));
    }
    Ok(())
}

fn with_init(tag: &str, restart: Option<&str>) -> Value {
    let mut init = json!({"name": "before", "image": image(tag)});
    if let Some(policy) = restart {
        init["restartPolicy"] = json!(policy);
    }
    json!({"replicas": 2, "template": {"spec": {"initContainers": [init]}}})
}

async fn an_image_of_a_restartable_init_container_changes_in_place(space: Space) -> Result {
    space.create_settled(set("web", with_init("v1", Some("Always")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", with_init("v2", Some("Always"))).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(&new), uid(old), "UID of {}", pod_name(&new));
        ensure_eq!(restarts(&new), [0], "restarts of the app in {}", pod_name(&new));
    }
    Ok(())
}

async fn re_creates(space: &Space, first: Value, change: Value) -> Result {
    space.create_settled(set("web", first)).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.edit("web", change).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
        ensure!(restarts(&new).iter().all(|count| *count == 0), "{} was restarted", pod_name(&new));
    }
    ensure!(recorder.worst_unready("web", 0..i64::try_from(before.len())?) <= 1, "more than one was down");
    recorder.keeps_identity()
}

async fn an_init_container_that_runs_once_re_creates_the_pod(space: Space) -> Result {
    re_creates(&space, with_init("v1", None), with_init("v2", None)).await
}

async fn other_fields_re_create_the_pod(space: Space) -> Result {
    let ports = json!([{"containerPort": 8080}]);
    let change = json!({"template": {"spec": {"containers": [app(json!({"ports": ports}))]}}});
    re_creates(&space, json!({"replicas": 2}), change).await
}

async fn an_added_container_re_creates_the_pod(space: Space) -> Result {
    re_creates(&space, json!({"replicas": 2}), two("v1", "v1")).await
}

async fn in_place_only_does_not_re_create_and_says_why(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"podUpdatePolicy": "InPlaceOnly"})))).await?;
    let before = space.pods_of("web").await?;
    let change = json!({"command": ["/testserver", "pause"]});
    space.edit_template("web", json!({"spec": {"containers": [app(change)]}})).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("app") && message.contains("command"), "the message is {message:?}");
    holds(seconds(2), "no Pod changes", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
            ensure!(is_ready(&new), "{} is down", pod_name(&new));
        }
        Ok(())
    })
    .await?;
    // What can be made in place is made, and the condition goes.
    space.edit_template("web", json!({"spec": {"containers": [app(json!({"image": image("v2")}))]}})).await?;
    space.settled("web").await?;
    let condition = space.condition("web", "InPlaceUpdateBlocked").await;
    ensure!(
        condition.is_err() || condition.is_ok_and(|condition| condition.status == "False"),
        "it still says blocked"
    );
    Ok(())
}

async fn recreate_policy_re_creates(space: Space) -> Result {
    let first = rolling_update(json!({"podUpdatePolicy": "ReCreate"}));
    let change = json!({"template": {"spec": {"containers": [app(json!({"image": image("v2")}))]}}});
    re_creates(&space, first, change).await
}

async fn out_of_service(space: &Space, name: &str) -> Result {
    space.pod_is(name, "out of service", |pod| gate(pod) == "False").await?;
    Ok(())
}

async fn a_change_during_the_grace_period_loses_nothing(space: Space) -> Result {
    let spec = crate::harness::manifest::with(two("v1", "v1"), in_place(json!({"gracePeriodSeconds": 4})));
    space.create_settled(set("web", crate::harness::manifest::with(spec, json!({"replicas": 2})))).await?;
    space.edit("web", two("v2", "v1")).await?;
    out_of_service(&space, "web-1").await?;
    space.edit("web", two("v2", "v2")).await?;
    space.settled("web").await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(images_of(&pod), [image("v2"), image("v2")], "images of {}", pod_name(&pod));
    }
    Ok(())
}

async fn a_change_back_during_the_grace_period_touches_nothing(space: Space) -> Result {
    space.create_settled(set("web", in_place(json!({"gracePeriodSeconds": 5})))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    out_of_service(&space, "web-2").await?;
    space.set_image("web", "v1").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
    }
    Ok(())
}

async fn over_the_timeout_the_pod_is_re_created(space: Space) -> Result {
    space.create_settled(set("web", in_place(json!({"timeoutSeconds": 3})))).await?;
    let before = uid(&space.pod("web-2").await?);
    space.set_image("web", "broken").await?;
    space.pod_is("web-2", "patched in place", |pod| uid(pod) == before && image_of(pod) == image("broken")).await?;
    space.pod_is("web-2", "re-created", |pod| uid(pod) != before).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await
}

async fn over_the_timeout_in_place_only_reports(space: Space) -> Result {
    let strategy = json!({"podUpdatePolicy": "InPlaceOnly", "inPlaceUpdateStrategy": {"timeoutSeconds": 2}});
    space.create_settled(set("web", rolling_update(strategy))).await?;
    let before = uid(&space.pod("web-2").await?);
    space.set_image("web", "broken").await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    ensure!(condition.message.clone().unwrap_or_default().contains("web-2"), "the message of {condition:?}");
    ensure_eq!(uid(&space.pod("web-2").await?), before, "UID of web-2");
    Ok(())
}

async fn a_pod_that_started_and_is_not_ready_is_not_re_created(space: Space) -> Result {
    space.create_settled(set("web", in_place(json!({"timeoutSeconds": 1})))).await?;
    let before = uid(&space.pod("web-2").await?);
    space.set_image("web", "never-ready").await?;
    space.pod_is("web-2", "patched", |pod| image_of(pod) == image("never-ready")).await?;
    holds(seconds(5), "the Pod stays", async || {
        ensure_eq!(uid(&space.pod("web-2").await?), before, "UID of web-2");
        Ok(())
    })
    .await
}

async fn a_gate_that_was_left_closed_is_opened(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let condition = json!({"type": "InPlaceUpdateReady", "status": "False", "reason": "ContainerRebuilding"});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    space.pods().patch_status("web-0", &PatchParams::default(), &patch).await?;
    space.pod_is("web-0", "in service again", |pod| gate(pod) == "True" && is_ready(pod)).await?;
    Ok(())
}

async fn an_update_takes_at_most_three_writes_a_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let log = &space.suite.cluster.info.audit_log;
    let writes = || -> Result<Vec<String>> {
        let requests = requests_of(log, MANAGER_USER)?;
        let ours = requests.into_iter().filter(|request| {
            let object = &request.object_ref;
            object.namespace == space.namespace
                && object.resource == "pods"
                && request.is_write()
                && request.response_status.code < 300
        });
        Ok(ours.map(|request| format!("{} {} {}", request.verb, request.resource(), request.object_ref.name)).collect())
    };
    let before = eventually(seconds(10), "the log has the creations", async || {
        let writes = writes()?;
        if writes.len() >= 6 { Ok(writes.len()) } else { Err(Failure(format!("{writes:?}"))) }
    })
    .await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    // The log is written in the background.
    tokio::time::sleep(seconds(1)).await;
    let after = writes()?.split_off(before);
    for ordinal in 0..3 {
        let name = format!(" web-{ordinal}");
        let of_this: Vec<&String> = after.iter().filter(|write| write.ends_with(&name)).collect();
        ensure!(!of_this.is_empty() && of_this.len() <= 3, "writes for{name}: {of_this:?}");
    }
    Ok(())
}
