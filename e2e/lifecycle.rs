//! Lifecycle hooks: Pods wait before they are deleted, updated in place or called normal.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{
    annotation, container_id, image_of, is_ready, label, pod_condition, pod_name, revision_label, uid,
};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_pod_waits_in_service_to_be_deleted_until_its_label_is_taken_away,
    a_finalizer_holds_a_pod_before_it_is_deleted,
    an_update_in_place_waits_before_and_after,
    a_pod_that_its_hook_marks_not_ready_is_taken_down_by_the_ledger,
    hooks_do_not_break_the_budget,
    a_held_pod_that_is_available_stops_no_other,
    each_step_of_a_hook_is_one_write_at_most,
    a_template_that_is_taken_back_while_a_hook_holds_touches_nothing,
    a_second_template_while_a_hook_holds_loses_nothing,
    a_pod_that_is_not_back_yet_is_prepared_anew_for_the_next_template,
    a_pause_while_a_hook_holds_puts_the_pod_back_into_service,
    a_template_that_must_re_create_asks_the_other_hook,
    a_new_pod_is_not_available_until_it_is_called_normal,
    a_new_pod_that_is_marked_not_ready_gets_no_traffic_until_it_is_called_normal,
    a_template_mends_a_pod_that_is_never_called_normal,
    scaling_down_waits_and_scaling_up_again_lets_the_pod_stay,
    a_marked_pod_waits_for_its_hook,
    a_pod_of_a_reserved_ordinal_waits_for_its_hook,
    an_ended_pod_waits_for_its_hook,
    pods_from_before_the_hooks_are_held_once_they_have_the_label,
    without_hooks_the_state_goes_and_what_was_held_goes_on,
    a_stuck_hook_is_said,
    a_set_without_hooks_has_no_state,
    the_pods_go_with_their_set_whatever_the_hooks,
];

const STATE: &str = "lifecycle.apps.asts.dev/state";
const SINCE: &str = "lifecycle.apps.asts.dev/timestamp";
pub const HOLD: &str = "example.com/hold";
const FINALIZER: &str = "example.com/drain";

pub fn state(pod: &Pod) -> &str {
    label(pod, STATE).unwrap_or_default()
}

fn hook(mark: bool) -> Value {
    json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": mark})
}

/// Three Pods that carry the label of the hooks.
pub fn hooked(lifecycle: Value, spec: Value) -> Value {
    let own = json!({"lifecycle": lifecycle, "template": {"metadata": {"labels": {HOLD: "true"}}}});
    set("web", with(own, spec))
}

fn re_create() -> Value {
    rolling_update(json!({"podUpdatePolicy": "ReCreate"}))
}

async fn in_state(space: &Space, pod: &str, wanted: &str) -> Result<Pod> {
    space.pod_is(pod, wanted, |pod| state(pod) == wanted).await
}

async fn let_go(space: &Space, pod: &str) -> Result {
    space.label(pod, HOLD, None).await
}

async fn take_back(space: &Space, pod: &str) -> Result {
    space.label(pod, HOLD, Some("true")).await
}

async fn waiting_for(space: &Space, pod: &str, hook: &str) -> Result<String> {
    let what = format!("Progressing names {pod} and the hook {hook}");
    eventually(seconds(60), &what, async || {
        let condition = space.condition("web", "Progressing").await?;
        let message = condition.message.clone().unwrap_or_default();
        let said = condition.reason.as_deref() == Some("WaitingForHook")
            && message.contains(&format!("Pod {pod} "))
            && message.contains(&format!("hook {hook} "))
            && message.contains(" since 20");
        if said { Ok(message) } else { Err(Failure(format!("{condition:?}"))) }
    })
    .await
}

/// Answers every hook at once, as long as the future lives.
pub async fn answer(pods: Api<Pod>) {
    loop {
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let held = label(&pod, HOLD) == Some("true");
            let value = match state(&pod) {
                "PreparingDelete" | "PreparingUpdate" if held => Value::Null,
                "Updated" | "PreparingNormal" if !held => "true".into(),
                _ => continue,
            };
            let patch = Patch::Merge(json!({"metadata": {"labels": {HOLD: value}}}));
            drop(pods.patch(pod_name(&pod), &PatchParams::default(), &patch).await);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn answered<T>(space: &Space, body: impl Future<Output = Result<T>>) -> Result<T> {
    let pods = space.pods();
    tokio::select! {
        () = answer(pods) => Err(Failure("the hooks are not answered any more".to_owned())),
        outcome = body => outcome,
    }
}

async fn a_pod_waits_in_service_to_be_deleted_until_its_label_is_taken_away(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(false)}), re_create())).await?;
    let before = space.pods_of("web").await?;
    ensure!(before.iter().all(|pod| state(pod) == "Normal"), "not all Pods are normal");
    space.set_image("web", "v2").await?;
    let pod = in_state(&space, "web-2", "PreparingDelete").await?;
    ensure!(annotation(&pod, SINCE).is_some_and(|text| text.starts_with("20")), "no time: {:?}", pod.metadata);
    waiting_for(&space, "web-2", "preDelete").await?;
    space.event("WaitingForHook", "web-2").await?;
    holds(seconds(2), "web-2 is in service, and no other is told", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure!(is_ready(&new) && uid(&new) == uid(old), "{} was touched", pod_name(&new));
            let told = pod_name(&new) == "web-2";
            ensure_eq!(state(&new) == "PreparingDelete", told, "{} is told", pod_name(&new));
        }
        let status = space.status("web").await?;
        ensure_eq!((status.available_replicas, status.disrupted.len()), (3, 0), "available, disrupted");
        Ok(())
    })
    .await?;
    let_go(&space, "web-2").await?;
    space.replaced("web-2", &uid(&before[2])).await?;
    in_state(&space, "web-1", "PreparingDelete").await?;
    answered(&space, space.settled("web")).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(&new) != uid(old) && state(&new) == "Normal", "{} is {:?}", pod_name(&new), state(&new));
    }
    Ok(())
}

async fn a_finalizer_holds_a_pod_before_it_is_deleted(space: Space) -> Result {
    let own = json!({"replicas": 1, "template": {"metadata": {"finalizers": [FINALIZER]}}});
    let lifecycle = json!({"preDelete": {"finalizersHandler": [FINALIZER]}});
    space.create_settled(set("web", with(with(own, json!({"lifecycle": lifecycle})), re_create()))).await?;
    let before = uid(&space.pod("web-0").await?);
    space.set_image("web", "v2").await?;
    in_state(&space, "web-0", "PreparingDelete").await?;
    waiting_for(&space, "web-0", "preDelete").await?;
    holds(seconds(1), "it is not deleted", async || {
        ensure!(space.pod("web-0").await?.metadata.deletion_timestamp.is_none(), "it is");
        Ok(())
    })
    .await?;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    space.pods().patch("web-0", &PatchParams::default(), &patch).await?;
    space.replaced("web-0", &before).await?;
    space.settled("web").await
}

async fn an_update_in_place_waits_before_and_after(space: Space) -> Result {
    space.create_settled(hooked(json!({"inPlaceUpdate": hook(false)}), json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    let pod = in_state(&space, "web-2", "PreparingUpdate").await?;
    ensure!(is_ready(&pod), "web-2 is out of service");
    waiting_for(&space, "web-2", "inPlaceUpdate").await?;
    holds(seconds(1), "it is not patched", async || {
        let pod = space.pod("web-2").await?;
        ensure!(image_of(&pod) == image("v1") && is_ready(&pod), "it is touched");
        Ok(())
    })
    .await?;
    let_go(&space, "web-2").await?;
    let pod = in_state(&space, "web-2", "Updated").await?;
    ensure_eq!((uid(&pod), image_of(&pod)), (uid(&before[2]), image("v2").as_str()), "web-2");
    ensure!(container_id(&pod) != container_id(&before[2]), "the container is the old one");
    waiting_for(&space, "web-2", "inPlaceUpdate").await?;
    space
        .status_is("web", "web-2 is ready and not available", |status| {
            (status.ready_replicas, status.available_replicas) == (3, 2)
        })
        .await?;
    ensure_eq!(state(&space.pod("web-1").await?), "Normal", "web-1 while web-2 is not back");
    take_back(&space, "web-2").await?;
    in_state(&space, "web-2", "Normal").await?;
    answered(&space, space.settled("web")).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), state(&new)), (uid(old), "Normal"), "{}", pod_name(&new));
    }
    Ok(())
}

async fn a_pod_that_its_hook_marks_not_ready_is_taken_down_by_the_ledger(space: Space) -> Result {
    for (policy, hooks, wanted, reason) in [
        ("ReCreate", json!({"preDelete": hook(true)}), "PreparingDelete", "PreparingDelete"),
        ("InPlaceIfPossible", json!({"inPlaceUpdate": hook(true)}), "PreparingUpdate", "ContainerRebuilding"),
    ] {
        let strategy = rolling_update(json!({"podUpdatePolicy": policy}));
        space.create_settled(hooked(hooks, strategy)).await?;
        space.set_image("web", "v2").await?;
        let pod = in_state(&space, "web-2", wanted).await?;
        ensure_eq!(pod_condition(&pod, "InPlaceUpdateReady"), Some(("False", reason)), "in the same write");
        space.pod_is("web-2", "not ready", |pod| !is_ready(pod)).await?;
        let status = space.status("web").await?;
        ensure_eq!(status.disrupted.iter().map(|entry| entry.ordinal).collect::<Vec<_>>(), [2], "the ledger");
        waiting_for(&space, "web-2", if policy == "ReCreate" { "preDelete" } else { "inPlaceUpdate" }).await?;
        answered(&space, space.settled("web")).await?;
        space.sets().delete("web", &DeleteParams::background()).await?;
        eventually(seconds(60), "all is gone", async || {
            ensure!(space.pods().list(&ListParams::default()).await?.items.is_empty(), "Pods are left");
            ensure!(space.sets().get_opt("web").await?.is_none(), "the set is left");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn hooks_do_not_break_the_budget(space: Space) -> Result {
    let strategy = rolling_update(json!({"maxUnavailable": 2}));
    let all = json!({"preDelete": hook(true), "inPlaceUpdate": hook(true), "preNormal": hook(true)});
    let spec = json!({"replicas": 6, "podManagementPolicy": "Parallel"});
    answered(&space, async {
        space.create_settled(hooked(all, with(spec, strategy))).await?;
        let recorder = space.record().await?;
        let ports =
            json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [{"containerPort": 80}]}]);
        space.set_image("web", "v2").await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        space.set_image("web", "v3").await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        space.json_patch("web", ports).await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        space.set_image("web", "v4").await?;
        space.settled("web").await?;
        for pod in space.pods_of("web").await? {
            ensure_eq!((image_of(&pod), state(&pod)), (image("v4").as_str(), "Normal"), "{}", pod_name(&pod));
        }
        let worst = recorder.worst_unready("web", 0..6);
        ensure!(worst <= 2, "{worst} Pods were down at once");
        recorder.keeps_identity()
    })
    .await
}

async fn a_held_pod_that_is_available_stops_no_other(space: Space) -> Result {
    let own = json!({"lifecycle": {"preDelete": hook(false)}});
    space.create_settled(set("web", with(own, re_create()))).await?;
    take_back(&space, "web-2").await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    for (name, old) in [("web-1", &before[1]), ("web-0", &before[0])] {
        space.replaced(name, &uid(old)).await?;
    }
    let pod = in_state(&space, "web-2", "PreparingDelete").await?;
    ensure!(is_ready(&pod) && uid(&pod) == uid(&before[2]), "web-2 was touched");
    let_go(&space, "web-2").await?;
    space.settled("web").await
}

async fn each_step_of_a_hook_is_one_write_at_most(space: Space) -> Result {
    let own = json!({"replicas": 1});
    space.create_settled(hooked(json!({"inPlaceUpdate": hook(true), "preNormal": hook(true)}), own)).await?;
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
        Ok(ours.map(|request| format!("{} {}", request.verb, request.resource())).collect())
    };
    let before = eventually(seconds(10), "the log has the creation and the gate", async || {
        let writes = writes()?;
        if writes.len() >= 2 { Ok(writes) } else { Err(Failure(format!("{writes:?}"))) }
    })
    .await?;
    ensure_eq!(before.len(), 2, "{before:?}");
    space.set_image("web", "v2").await?;
    in_state(&space, "web-0", "PreparingUpdate").await?;
    let_go(&space, "web-0").await?;
    in_state(&space, "web-0", "Updated").await?;
    take_back(&space, "web-0").await?;
    space.settled("web").await?;
    tokio::time::sleep(seconds(1)).await;
    let after = writes()?.split_off(before.len());
    // The gate is closed with PreparingUpdate, the image comes with Updating, the gate is opened with Updated; Normal.
    ensure_eq!(after, ["patch pods/status", "patch pods", "patch pods/status", "patch pods"], "writes");
    Ok(())
}

async fn held_for_v2(space: &Space, mark: bool) -> Result<Vec<Pod>> {
    let hooks = json!({"inPlaceUpdate": hook(mark), "preDelete": hook(mark)});
    space.create_settled(hooked(hooks, json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    in_state(space, "web-2", "PreparingUpdate").await?;
    if mark {
        space.pod_is("web-2", "out of service", |pod| !is_ready(pod)).await?;
    }
    Ok(before)
}

async fn untouched(space: &Space, before: &[Pod]) -> Result {
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{name}");
        ensure!(is_ready(&new) && state(&new) == "Normal", "{name} is {:?}", state(&new));
        ensure_eq!(revision_label(&new), revision_label(old), "revision of {name}");
    }
    Ok(())
}

async fn a_template_that_is_taken_back_while_a_hook_holds_touches_nothing(space: Space) -> Result {
    let before = held_for_v2(&space, true).await?;
    space.set_image("web", "v1").await?;
    in_state(&space, "web-2", "Normal").await?;
    space.settled("web").await?;
    untouched(&space, &before).await
}

async fn a_second_template_while_a_hook_holds_loses_nothing(space: Space) -> Result {
    let before = held_for_v2(&space, false).await?;
    space.edit_template("web", json!({"metadata": {"annotations": {"note": "new"}}})).await?;
    space.set_image("web", "v3").await?;
    answered(&space, space.settled("web")).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), image_of(&new)), (uid(old), image("v3").as_str()), "{name}");
        ensure_eq!(annotation(&new, "note"), Some("new"), "annotation of {name}");
    }
    Ok(())
}

async fn a_pod_that_is_not_back_yet_is_prepared_anew_for_the_next_template(space: Space) -> Result {
    let hook = json!({"labelsHandler": {HOLD: "true"}, "finalizersHandler": [FINALIZER]});
    let own = json!({"replicas": 1, "template": {"metadata": {"finalizers": [FINALIZER, "example.com/other"]}}});
    space.create_settled(hooked(json!({"inPlaceUpdate": hook}), own)).await?;
    let before = space.pod("web-0").await?;
    let finalizers = async |names: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": names}}));
        space.pods().patch("web-0", &PatchParams::default(), &patch).await.map(|_| ())
    };
    space.set_image("web", "v2").await?;
    in_state(&space, "web-0", "PreparingUpdate").await?;
    let_go(&space, "web-0").await?;
    holds(seconds(1), "one mark is enough to hold it", async || {
        ensure_eq!(image_of(&space.pod("web-0").await?), image("v1"), "image");
        Ok(())
    })
    .await?;
    finalizers(&["example.com/other"]).await?;
    in_state(&space, "web-0", "Updated").await?;
    space.set_image("web", "v3").await?;
    let pod = in_state(&space, "web-0", "PreparingUpdate").await?;
    ensure_eq!(label(&pod, HOLD), Some("true"), "the label is back");
    let mut marks = pod.metadata.finalizers.clone().unwrap_or_default();
    marks.sort();
    ensure_eq!(marks, [FINALIZER, "example.com/other"], "the finalizer is back, and the other one is kept");
    ensure_eq!(image_of(&pod), image("v2"), "image");
    let_go(&space, "web-0").await?;
    finalizers(&[]).await?;
    in_state(&space, "web-0", "Updated").await?;
    take_back(&space, "web-0").await?;
    finalizers(&[FINALIZER]).await?;
    space.settled("web").await?;
    let pod = space.pod("web-0").await?;
    ensure_eq!((uid(&pod), image_of(&pod), state(&pod)), (uid(&before), image("v3").as_str(), "Normal"), "web-0");
    finalizers(&[]).await?;
    Ok(())
}

async fn a_pause_while_a_hook_holds_puts_the_pod_back_into_service(space: Space) -> Result {
    let before = held_for_v2(&space, true).await?;
    space.edit("web", rolling_update(json!({"paused": true}))).await?;
    space.pod_is("web-2", "back", |pod| is_ready(pod) && state(pod) == "Normal").await?;
    space.condition_is("web", "Progressing", "True", Some("Paused")).await?;
    untouched(&space, &before).await?;
    space.edit("web", rolling_update(json!({"paused": false}))).await?;
    answered(&space, space.settled("web")).await
}

async fn a_template_that_must_re_create_asks_the_other_hook(space: Space) -> Result {
    let before = held_for_v2(&space, false).await?;
    let ports =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [{"containerPort": 80}]}]);
    space.json_patch("web", ports).await?;
    in_state(&space, "web-2", "PreparingDelete").await?;
    ensure_eq!(uid(&space.pod("web-2").await?), uid(&before[2]), "UID");
    answered(&space, space.settled("web")).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(&new) != uid(old), "{} is the old one", pod_name(&new));
    }
    Ok(())
}

async fn a_new_pod_is_not_available_until_it_is_called_normal(space: Space) -> Result {
    let lifecycle = json!({"preNormal": {"labelsHandler": {"example.com/online": "true"}}});
    space.create(set("web", json!({"replicas": 2, "lifecycle": lifecycle}))).await?;
    space.pod_is("web-0", "ready and not normal", |pod| is_ready(pod) && state(pod) == "PreparingNormal").await?;
    waiting_for(&space, "web-0", "preNormal").await?;
    holds(seconds(1), "the next one waits", async || {
        ensure!(space.find_pod("web-1").await?.is_none(), "web-1 is made");
        ensure_eq!(space.status("web").await?.available_replicas, 0, "available");
        Ok(())
    })
    .await?;
    space.label("web-0", "example.com/online", Some("true")).await?;
    in_state(&space, "web-0", "Normal").await?;
    space.pod_is("web-1", "made", |_| true).await?;
    space.label("web-1", "example.com/online", Some("true")).await?;
    space.settled("web").await?;
    // What is normal stays normal.
    space.label("web-1", "example.com/online", None).await?;
    holds(seconds(1), "it stays available", async || {
        ensure_eq!(space.status("web").await?.available_replicas, 2, "available");
        Ok(())
    })
    .await
}

async fn a_new_pod_that_is_marked_not_ready_gets_no_traffic_until_it_is_called_normal(space: Space) -> Result {
    let handler = json!({"labelsHandler": {"example.com/online": "true"}, "markPodNotReady": true});
    space.create(set("web", json!({"replicas": 1, "lifecycle": {"preNormal": handler}}))).await?;
    space
        .pod_is("web-0", "running", |pod| {
            pod_condition(pod, "ContainersReady").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    waiting_for(&space, "web-0", "preNormal").await?;
    ensure!(!is_ready(&space.pod("web-0").await?), "it is in service");
    space.label("web-0", "example.com/online", Some("true")).await?;
    space.settled("web").await?;
    ensure_eq!(state(&space.pod("web-0").await?), "Normal", "state");
    Ok(())
}

async fn a_template_mends_a_pod_that_is_never_called_normal(space: Space) -> Result {
    let lifecycle = json!({"preNormal": {"labelsHandler": {"example.com/good": "yes"}}});
    let online = json!({"metadata": {"labels": {"example.com/good": "yes"}}});
    let spec = json!({"lifecycle": lifecycle, "template": online});
    space.create_settled(set("web", with(spec, re_create()))).await?;
    // Made anew without the label, they wait, and keep their place in the ledger.
    let bad = json!({"metadata": {"labels": {"example.com/good": null}}});
    space.edit_template("web", bad).await?;
    space.pod_is("web-2", "ready and not normal", |pod| is_ready(pod) && state(pod) == "PreparingNormal").await?;
    waiting_for(&space, "web-2", "preNormal").await?;
    ensure_eq!(space.status("web").await?.disrupted.len(), 1, "the ledger");
    space.edit_template("web", json!({"metadata": {"labels": {"example.com/good": "yes", "try": "2"}}})).await?;
    space.settled("web").await
}

async fn scaling_down_waits_and_scaling_up_again_lets_the_pod_stay(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(true)}), json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.scale("web", 2).await?;
    space.pod_is("web-2", "held", |pod| !is_ready(pod) && state(pod) == "PreparingDelete").await?;
    waiting_for(&space, "web-2", "preDelete").await?;
    space.scale("web", 3).await?;
    space.settled("web").await?;
    untouched(&space, &before).await?;
    space.scale("web", 1).await?;
    answered(&space, space.ordinals_are("web", &[0])).await
}

async fn a_marked_pod_waits_for_its_hook(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(false)}), json!({}))).await?;
    let before = uid(&space.pod("web-1").await?);
    space.label("web-1", "apps.asts.dev/specified-delete", Some("true")).await?;
    in_state(&space, "web-1", "PreparingDelete").await?;
    waiting_for(&space, "web-1", "preDelete").await?;
    ensure_eq!(uid(&space.pod("web-1").await?), before, "UID");
    space.label("web-1", "apps.asts.dev/specified-delete", None).await?;
    in_state(&space, "web-1", "Normal").await?;
    space.label("web-1", "apps.asts.dev/specified-delete", Some("true")).await?;
    in_state(&space, "web-1", "PreparingDelete").await?;
    let_go(&space, "web-1").await?;
    space.replaced("web-1", &before).await?;
    space.settled("web").await
}

async fn a_pod_of_a_reserved_ordinal_waits_for_its_hook(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(true)}), json!({"podManagementPolicy": "Parallel"}))).await?;
    space.edit("web", json!({"reserveOrdinals": [0, 1]})).await?;
    let held = ["web-0", "web-1"];
    let count = async || -> Result<usize> {
        let mut count = 0;
        for name in held {
            count += usize::from(state(&space.pod(name).await?) == "PreparingDelete");
        }
        Ok(count)
    };
    eventually(
        seconds(60),
        "one is told",
        async || if count().await? > 0 { Ok(()) } else { Err(Failure("none".into())) },
    )
    .await?;
    holds(seconds(2), "one at a time", async || {
        ensure_eq!(count().await?, 1, "told");
        Ok(())
    })
    .await?;
    answered(&space, space.ordinals_are("web", &[2, 3, 4])).await
}

async fn an_ended_pod_waits_for_its_hook(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(false)}), json!({}))).await?;
    let before = uid(&space.pod("web-1").await?);
    space.annotate("web-1", "kwok.asts.dev/phase", Some("Failed")).await?;
    in_state(&space, "web-1", "PreparingDelete").await?;
    ensure_eq!(uid(&space.pod("web-1").await?), before, "UID");
    let_go(&space, "web-1").await?;
    space.replaced("web-1", &before).await?;
    space.settled("web").await
}

async fn pods_from_before_the_hooks_are_held_once_they_have_the_label(space: Space) -> Result {
    space.create_settled(set("web", re_create())).await?;
    let before = space.pods_of("web").await?;
    let versions = |pods: &[Pod]| pods.iter().map(|pod| pod.metadata.resource_version.clone()).collect::<Vec<_>>();
    space.edit("web", json!({"lifecycle": {"preDelete": hook(true), "preNormal": hook(false)}})).await?;
    space.condition_is("web", "Progressing", "True", Some("Complete")).await?;
    holds(seconds(1), "no Pod is touched", async || {
        ensure_eq!(versions(&space.pods_of("web").await?), versions(&before), "versions");
        ensure_eq!(space.status("web").await?.available_replicas, 3, "available");
        Ok(())
    })
    .await?;
    ensure!(space.condition("web", "FieldsNotActedOn").await.is_err(), "said not to be acted on");
    take_back(&space, "web-2").await?;
    space.edit_template("web", json!({"metadata": {"labels": {HOLD: "true"}}})).await?;
    space.set_image("web", "v2").await?;
    let pod = in_state(&space, "web-2", "PreparingDelete").await?;
    ensure!(is_ready(&pod), "made without a gate, it stays Ready");
    space.event("NoReadinessGate", "web-2").await?;
    let_go(&space, "web-2").await?;
    space.replaced("web-2", &uid(&before[2])).await?;
    let pod = space.pod("web-2").await?;
    ensure!(pod_condition(&pod, "InPlaceUpdateReady").is_some(), "the new one has no gate for its hook");
    answered(&space, space.settled("web")).await
}

async fn without_hooks_the_state_goes_and_what_was_held_goes_on(space: Space) -> Result {
    let before = held_for_v2(&space, true).await?;
    space.edit("web", json!({"lifecycle": null})).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), image_of(&new)), (uid(old), image("v2").as_str()), "{name}");
    }
    eventually(seconds(30), "no Pod has a state", async || {
        let pods = space.pods_of("web").await?;
        ensure!(pods.iter().all(|pod| label(pod, STATE).is_none() && annotation(pod, SINCE).is_none()), "one has");
        Ok(())
    })
    .await
}

async fn a_stuck_hook_is_said(space: Space) -> Result {
    let own = json!({"progressDeadlineSeconds": 3});
    space.create_settled(hooked(json!({"preDelete": hook(false)}), with(own, re_create()))).await?;
    space.set_image("web", "v2").await?;
    in_state(&space, "web-2", "PreparingDelete").await?;
    let condition = space.condition_is("web", "Progressing", "False", Some("ProgressDeadlineExceeded")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("web-2") && message.contains("hook preDelete"), "the message is {message:?}");
    space.event("StuckInHook", "web-2").await?;
    // It gives its place to the next one, and heals when it is let go.
    in_state(&space, "web-1", "PreparingDelete").await?;
    answered(&space, space.settled("web")).await?;
    space.condition_is("web", "Progressing", "True", Some("Complete")).await?;
    Ok(())
}

async fn a_set_without_hooks_has_no_state(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for pod in space.pods_of("web").await? {
        ensure!(label(&pod, STATE).is_none() && annotation(&pod, SINCE).is_none(), "{} has one", pod_name(&pod));
    }
    Ok(())
}

async fn the_pods_go_with_their_set_whatever_the_hooks(space: Space) -> Result {
    space.create_settled(hooked(json!({"preDelete": hook(true)}), json!({}))).await?;
    space.sets().delete("web", &DeleteParams::background()).await?;
    eventually(seconds(60), "all is gone", async || {
        let names: Vec<String> =
            space.pods().list(&ListParams::default()).await?.items.iter().map(|pod| pod_name(pod).to_owned()).collect();
        ensure!(names.is_empty(), "{names:?} are left");
        Ok(())
    })
    .await
    .context("nobody is asked any more")
}
