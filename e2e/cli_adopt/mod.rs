//! `kubectl asts adopt` and `release`: Pods go from one kind of set to another and back, and nothing happens to them.

mod found;
mod refused;
mod resumed;
mod writes;

use found::{
    claims_that_cannot_go_along_are_named, marks_of_tools_stay_behind,
    revisions_of_a_set_that_is_called_alike_stay_its_own,
};
use refused::{
    a_rollout_under_way_is_refused_and_can_be_taken_over, fields_that_a_native_set_does_not_have_are_named,
    what_stands_in_the_way_is_named_and_nothing_begun, without_a_manager_nothing_is_begun,
    without_rights_nothing_is_begun,
};
use resumed::{
    a_given_up_adoption_leaves_the_retention_policy_known, a_pod_made_anew_for_the_other_set_is_where_it_is_to_be,
    a_release_stops_where_somebody_changed_the_set_that_takes_over, a_release_that_goes_on_loses_no_field_in_silence,
    an_adoption_that_goes_on_looks_at_everything_again,
};
use writes::{killed_after_any_write_a_release_ends_right, killed_after_any_write_an_adoption_ends_right};

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

use crate::chaos::{another_manager, apart, with_manager};
use crate::claims::volume_for;
use crate::cli_plugin::{asts, asts_at, asts_killed_at, kubectl_asts};
use crate::cli_state::{State, is_native, is_ours, native, state};
use crate::harness::install::SYSTEM_NAMESPACE;
use crate::harness::manager::Manager;
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_native_set_is_adopted_and_released_through_kubectl,
    killed_at_any_step_an_adoption_ends_right_when_called_again,
    killed_at_any_step_an_adoption_of_claims_that_go_along_ends_right,
    killed_at_any_step_a_release_ends_right_when_called_again,
    claims_that_go_with_their_set_stay_all_the_same,
    a_dry_run_changes_nothing,
    without_rights_nothing_is_begun,
    without_a_manager_nothing_is_begun,
    what_stands_in_the_way_is_named_and_nothing_begun,
    a_rollout_under_way_is_refused_and_can_be_taken_over,
    a_set_that_changes_half_way_is_followed,
    a_set_of_open_kruise_is_adopted,
    an_apiserver_that_goes_half_way_is_waited_for,
    sets_that_update_on_delete_and_empty_ones_go_and_come_back,
    two_calls_at_once_end_right,
    fields_that_a_native_set_does_not_have_are_named,
    a_set_that_was_updated_in_place_is_released_with_its_history,
    killed_after_any_write_an_adoption_ends_right,
    killed_after_any_write_a_release_ends_right,
    an_adoption_that_goes_on_looks_at_everything_again,
    a_release_that_goes_on_loses_no_field_in_silence,
    a_release_stops_where_somebody_changed_the_set_that_takes_over,
    a_pod_made_anew_for_the_other_set_is_where_it_is_to_be,
    a_given_up_adoption_leaves_the_retention_policy_known,
    revisions_of_a_set_that_is_called_alike_stay_its_own,
    claims_that_cannot_go_along_are_named,
    marks_of_tools_stay_behind,
    without_a_namespace_of_its_own_a_manager_works_and_adopts,
];

async fn created(space: &Space, name: &str, replicas: i64, spec: Value) -> Result<State> {
    for ordinal in 0..replicas {
        volume_for(space, &format!("data-{name}-{ordinal}")).await?;
    }
    space.apply(&native(name, replicas, spec))?;
    eventually(seconds(90), "the StatefulSet is ready", async || {
        let set = space.api::<StatefulSet>().get(name).await?;
        let ready = set.status.clone().unwrap_or_default().ready_replicas.unwrap_or(0);
        let seen = set.status.and_then(|status| status.observed_generation);
        ensure_eq!((i64::from(ready), seen), (replicas, set.metadata.generation), "ready Pods, generation");
        Ok(())
    })
    .await?;
    state(space).await
}

/// Whether docs/migration.md shows what an adoption prints.
fn is_documented(told: &str) -> Result {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migration.md"))?;
    let block = page.split_once("A test compares this").and_then(|(_, rest)| rest.split("```").nth(1));
    let shown: Vec<&str> = block.context("the block of docs/migration.md")?.trim().lines().collect();
    let printed: Vec<&str> = told.lines().collect();
    ensure_eq!(printed.len(), shown.len(), "lines of\n{told}");
    for (printed, shown) in printed.into_iter().zip(shown) {
        let mut rest = Some(printed);
        for part in shown.split('…') {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        }
        ensure!(rest.is_some(), "docs/migration.md shows {shown:?}, printed is {printed:?}");
    }
    Ok(())
}

async fn stays(space: &Space, before: &State) -> Result {
    holds(seconds(2), "nothing happens to Pods and claims", async || {
        ensure_eq!(&state(space).await?, before, "Pods and claims");
        Ok(())
    })
    .await
}

/// What stands around the set speaks of the same Pods as before.
async fn stay_counted(space: &Space) -> Result {
    eventually(seconds(60), "the budget counts three Pods, and the Service selects them", async || {
        // Its controller may have looked before it had heard of the kind, and looks again when something changes.
        let now = format!("looked-at={:?}", std::time::Instant::now());
        space.kubectl(&["annotate", "--overwrite", "pdb/budget", &now], None)?;
        let told = space.kubectl(&["get", "pdb", "budget", "-o", "jsonpath={.status.expectedPods}"], None)?;
        ensure_eq!(told, "3", "Pods that the budget expects");
        let addresses = "jsonpath={.items[*].endpoints[*].targetRef.name}";
        let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=peers", "-o", addresses];
        let told = space.kubectl(&slices, None)?;
        let mut names: Vec<&str> = told.split_whitespace().collect();
        names.sort_unstable();
        ensure_eq!(names, ["web-0", "web-1", "web-2"], "Pods behind the Service");
        Ok(())
    })
    .await
}

/// Does what is told to be done next.
fn turn_scaler(space: &Space, told: &str) -> Result {
    let line = told.lines().rev().find(|line| line.starts_with("next: HorizontalPodAutoscaler")).context("a hint")?;
    let (_, command) = line.split_once("turn it with kubectl ").context("a command")?;
    run_told(space, command)
}

/// Runs a kubectl command that was printed, whose last word may be quoted.
fn run_told(space: &Space, command: &str) -> Result {
    let (words, patch) = command.split_once(" '").unwrap_or((command, ""));
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(patch.strip_suffix('\''));
    space.kubectl(&words, None).map(drop)
}

async fn a_native_set_is_adopted_and_released_through_kubectl(space: Space) -> Result {
    let before = created(&space, "web", 3, json!({})).await?;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "scaler"},
        "spec": {"maxReplicas": 3, "minReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}}});
    for object in [budget, scaler, service] {
        space.apply(&object)?;
    }
    let told = kubectl_asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    is_documented(&told)?;
    is_ours(&space, "web").await?;
    stays(&space, &before).await?;
    stay_counted(&space).await?;
    turn_scaler(&space, &told)?;
    let again = kubectl_asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    ensure!(again.contains("nothing is left to be adopted"), "{again}");
    let policy = space.set("web").await?.spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    ensure_eq!(
        serde_json::to_value(policy)?,
        json!({"partition": 0, "maxUnavailable": 1, "paused": false, "podUpdatePolicy": "ReCreate"}),
        "strategy"
    );
    let told = kubectl_asts(&space, &["release", "asts/web"]).await?.fine()?;
    ensure!(told.contains("7/7   3 Pods up to date, none of them made anew"), "{told}");
    for line in [
        "ok    3 claims there and bound",
        "ok    the Pods stay selected by 1 Service (peers)",
        "ok    the Pods stay counted by 1 PodDisruptionBudget (budget); nothing is evicted",
        "note  HorizontalPodAutoscaler scaler scales advancedstatefulset.apps.asts.dev/web: when all is done",
        "next: HorizontalPodAutoscaler scaler scales advancedstatefulset.apps.asts.dev/web: when all is done",
    ] {
        ensure!(told.lines().any(|told| told.starts_with(line)), "{line:?} is not in:\n{told}");
    }
    is_native(&space, "web").await?;
    stay_counted(&space).await?;
    turn_scaler(&space, &told)?;
    let target = space.kubectl(&["get", "hpa", "scaler", "-o", "jsonpath={.spec.scaleTargetRef}"], None)?;
    let native = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"});
    ensure_eq!(serde_json::from_str::<Value>(&target)?, native, "target of the scaler");
    stays(&space, &before).await?;
    let again = kubectl_asts(&space, &["release", "web"]).await?.fine()?;
    ensure!(again.contains("nothing is left to be released"), "{again}");
    // It still works as a StatefulSet does.
    space.kubectl(&["set", "image", "statefulset/web", &format!("app={}", image("v2"))], None)?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=90s"], None)?;
    Ok(())
}

async fn killed_at_any_step_an_adoption_ends_right_when_called_again(space: Space) -> Result {
    killed_adoptions(&space, "Retain").await
}

async fn killed_at_any_step_an_adoption_of_claims_that_go_along_ends_right(space: Space) -> Result {
    killed_adoptions(&space, "Delete").await
}

async fn killed_adoptions(space: &Space, when_deleted: &str) -> Result {
    let spec = json!({
        "podManagementPolicy": "Parallel", "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted},
    });
    let before = created(space, "web", 3, spec).await?;
    for mark in ["ok    you", "note", "1/6", "2/6", "3/6", "4/6", "5/6", "6/6"] {
        asts_killed_at(space, &["adopt", "statefulset/web"], mark).await?;
        asts(space, &["adopt", "statefulset/web"]).await?.fine().context(mark)?;
        is_ours(space, "web").await.context(mark)?;
        ensure_eq!(state(space).await?, before, "after {mark}");
        asts(space, &["release", "web"]).await?.fine().context(mark)?;
        is_native(space, "web").await.context(mark)?;
        ensure_eq!(state(space).await?, before, "released after {mark}");
    }
    stays(space, &before).await
}

async fn killed_at_any_step_a_release_ends_right_when_called_again(space: Space) -> Result {
    let retention = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}});
    let before = created(&space, "web", 3, retention).await?;
    for mark in ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"] {
        asts(&space, &["adopt", "statefulset/web"]).await?.fine().context(mark)?;
        is_ours(&space, "web").await.context(mark)?;
        asts_killed_at(&space, &["release", "web"], mark).await?;
        asts(&space, &["release", "web"]).await?.fine().context(mark)?;
        is_native(&space, "web").await.context(mark)?;
        ensure_eq!(state(&space).await?, before, "after {mark}");
    }
    stays(&space, &before).await
}

async fn claim_owners(space: &Space, claim: &str) -> Result<Vec<String>> {
    let owners = space.claim(claim).await?.metadata.owner_references.unwrap_or_default();
    Ok(owners.into_iter().map(|owner| owner.kind).collect())
}

async fn claims_that_go_with_their_set_stay_all_the_same(space: Space) -> Result {
    let retention = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}});
    let before = created(&space, "web", 2, retention.clone()).await?;
    ensure_eq!(claim_owners(&space, "data-web-0").await?, ["StatefulSet"], "owner before");
    asts(&space, &["adopt", "sts/web"]).await?.fine()?;
    is_ours(&space, "web").await?;
    ensure_eq!(claim_owners(&space, "data-web-0").await?, ["AdvancedStatefulSet"], "owner after");
    let policy = space.sets().get("web").await?.data["spec"]["persistentVolumeClaimRetentionPolicy"].clone();
    ensure_eq!(policy, retention["persistentVolumeClaimRetentionPolicy"], "policy");
    asts(&space, &["release", "web"]).await?.fine()?;
    is_native(&space, "web").await?;
    eventually(seconds(30), "the claims go with the StatefulSet", async || {
        ensure_eq!(claim_owners(&space, "data-web-1").await?, ["StatefulSet"], "owner at the end");
        Ok(())
    })
    .await?;
    stays(&space, &before).await
}

async fn a_dry_run_changes_nothing(space: Space) -> Result {
    created(&space, "web", 2, json!({})).await?;
    let version = async || Ok::<_, Failure>(space.api::<StatefulSet>().get("web").await?.metadata.resource_version);
    let before = version().await?;
    for flag in ["--dry-run", "--dry-run=server", "--dry-run=client"] {
        let told = asts(&space, &["adopt", "statefulset/web", flag]).await?.fine()?;
        ensure!(told.contains("would do (dry run):") && told.contains("4/6   delete the StatefulSet"), "{told}");
    }
    ensure_eq!(version().await?, before, "resourceVersion");
    ensure!(space.sets().get_opt("web").await?.is_none(), "a set was made");
    asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    let told = asts(&space, &["release", "web", "--dry-run"]).await?.fine()?;
    ensure!(told.contains("would do (dry run):"), "{told}");
    ensure!(space.api::<StatefulSet>().get_opt("web").await?.is_none(), "a StatefulSet was made");
    is_ours(&space, "web").await
}

async fn a_set_that_changes_half_way_is_followed(space: Space) -> Result {
    created(&space, "web", 2, json!({})).await?;
    volume_for(&space, "data-web-2").await?;
    asts_killed_at(&space, &["adopt", "statefulset/web"], "2/6").await?;
    if space.api::<StatefulSet>().get_opt("web").await?.is_none_or(|set| set.metadata.deletion_timestamp.is_some()) {
        // The kill came too late for a change.
        return asts(&space, &["adopt", "statefulset/web"]).await?.fine().map(drop);
    }
    space.kubectl(&["scale", "statefulset/web", "--replicas=3"], None)?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=60s"], None)?;
    let before = state(&space).await?;
    asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    is_ours(&space, "web").await?;
    ensure_eq!(space.set("web").await?.spec.replicas, Some(3), "replicas");
    stays(&space, &before).await
}

/// A set as OpenKruise's controller leaves it; there is none here to go on with it.
async fn a_set_of_open_kruise_is_adopted(space: Space) -> Result {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "statefulsets.apps.kruise.io"},
        "spec": {"group": "apps.kruise.io", "scope": "Namespaced",
            "names": {"plural": "statefulsets", "singular": "statefulset", "kind": "StatefulSet", "listKind": "StatefulSetList"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}]}});
    space.apply(&definition)?;
    let name = "crd/statefulsets.apps.kruise.io";
    space.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", name], None)?;
    let mut manifest = set("web", json!({"replicas": 2}));
    manifest["apiVersion"] = json!("apps.kruise.io/v1beta1");
    manifest["kind"] = json!("StatefulSet");
    manifest["spec"]["updateStrategy"] =
        json!({"rollingUpdate": {"podUpdatePolicy": "InPlaceIfPossible", "paused": true}});
    let template = manifest["spec"]["template"].clone();
    eventually(seconds(20), "the kind is served", async || space.apply(&manifest)).await?;
    let set_uid = space.kubectl(&["get", "statefulset.apps.kruise.io/web", "-o", "jsonpath={.metadata.uid}"], None)?;
    let owner = json!([{"apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet", "name": "web", "uid": set_uid,
        "controller": true, "blockOwnerDeletion": true}]);
    let mut data = template.clone();
    data["$patch"] = json!("replace");
    space.apply(&json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {"name": "web-6d4f", "labels": {"app": "web", "controller.kubernetes.io/hash": "6d4f"}, "ownerReferences": owner},
        "data": {"spec": {"template": data}}}))?;
    for ordinal in 0..2 {
        let name = format!("web-{ordinal}");
        let mut pod = template.clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"] = json!({"name": name, "ownerReferences": owner, "labels": {
            "app": "web", "controller-revision-hash": "web-6d4f", "statefulset.kubernetes.io/pod-name": name,
            "lifecycle.apps.kruise.io/state": "Normal"}});
        pod["spec"]["hostname"] = json!(name);
        pod["spec"]["subdomain"] = json!("peers");
        space.apply(&pod)?;
        space.pod_is(&name, "ready", crate::harness::space::is_ready).await?;
    }
    let status =
        json!({"status": {"observedGeneration": 1, "updateRevision": "web-6d4f", "currentRevision": "web-6d4f"}});
    let patch =
        ["patch", "statefulset.apps.kruise.io/web", "--subresource=status", "--type=merge", "-p", &status.to_string()];
    space.kubectl(&patch, None)?;
    let before = state(&space).await?;
    let told = asts(&space, &["adopt", "statefulset.apps.kruise.io/web"]).await?.fine()?;
    ensure!(told.contains("statefulset.apps.kruise.io/web adopted"), "{told}");
    is_ours(&space, "web").await?;
    let rolling = space.set("web").await?.spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    ensure_eq!(
        serde_json::to_value(rolling)?,
        json!({"partition": 0, "maxUnavailable": 1, "paused": true, "podUpdatePolicy": "InPlaceIfPossible"}),
        "a set that was paused stays so"
    );
    stays(&space, &before).await
}

async fn an_apiserver_that_goes_half_way_is_waited_for(here: Space) -> Result {
    apart(&here, "adopt-outage", async |suite, space| {
        let before = created(space, "web", 3, json!({})).await?;
        let apiserver = suite.clone();
        let restart = move |_: &mut std::process::Child| {
            apiserver.cluster.command("kill kube-apiserver")?;
            std::thread::sleep(seconds(1));
            apiserver.cluster.command("start kube-apiserver")?;
            // A manager that ends when it loses its lease is started again by its Deployment.
            if !with_manager(&apiserver, |manager| Ok(manager.is_alive()))? {
                another_manager(&apiserver, &[])?;
            }
            Ok(())
        };
        let ran = asts_at(space, &["adopt", "statefulset/web", "--timeout=100s"], "1/6", restart).await?;
        if ran.code != Some(0) {
            // A write was under way just then: it is said, and the next call goes on.
            ensure!(ran.err.starts_with("error: "), "{ran:?}");
            asts(space, &["adopt", "statefulset/web"]).await?.fine()?;
        }
        is_ours(space, "web").await?;
        ensure_eq!(state(space).await?, before, "Pods and claims");
        Ok(())
    })
    .await
}

async fn sets_that_update_on_delete_and_empty_ones_go_and_come_back(space: Space) -> Result {
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    created(&space, "empty", 0, json!({})).await?;
    let before = created(&space, "web", 2, on_delete).await?;
    for name in ["web", "empty"] {
        asts(&space, &["adopt", &format!("statefulset/{name}")]).await?.fine()?;
        is_ours(&space, name).await?;
        asts(&space, &["release", name]).await?.fine()?;
        is_native(&space, name).await?;
    }
    let strategy = space.api::<StatefulSet>().get("web").await?.spec.and_then(|spec| spec.update_strategy);
    ensure_eq!(strategy.and_then(|strategy| strategy.type_).as_deref(), Some("OnDelete"), "strategy");
    stays(&space, &before).await
}

async fn two_calls_at_once_end_right(space: Space) -> Result {
    let before = created(&space, "web", 3, json!({"podManagementPolicy": "Parallel"})).await?;
    let call = || asts(&space, &["adopt", "statefulset/web"]);
    let (one, other) = tokio::join!(call(), call());
    one?.fine()?;
    other?.fine()?;
    is_ours(&space, "web").await?;
    let call = || asts(&space, &["release", "web"]);
    let (one, other) = tokio::join!(call(), call());
    one?.fine()?;
    other?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await
}

async fn a_set_that_was_updated_in_place_is_released_with_its_history(space: Space) -> Result {
    for ordinal in 0..2 {
        volume_for(&space, &format!("data-web-{ordinal}")).await?;
    }
    let mut ours = native("web", 2, json!({}));
    ours["apiVersion"] = json!("apps.asts.dev/v1beta1");
    ours["kind"] = json!("AdvancedStatefulSet");
    space.create_settled(ours).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let before = state(&space).await?;
    asts(&space, &["release", "web"]).await?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await?;
    let history = space.kubectl(&["rollout", "history", "statefulset/web"], None)?;
    ensure_eq!(history.lines().filter(|line| line.starts_with(|it: char| it.is_ascii_digit())).count(), 2, "{history}");
    space.kubectl(&["rollout", "undo", "statefulset/web"], None)?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=90s"], None)?;
    ensure_eq!(crate::harness::space::image_of(&space.pod("web-0").await?), image("v1"), "image");
    Ok(())
}

/// Nothing but the definition is installed, and the manager runs outside of the cluster with no flag but its kubeconfig:
/// its Lease is where there always is a namespace, and that the plugin does not know it stops nobody.
async fn without_a_namespace_of_its_own_a_manager_works_and_adopts(here: Space) -> Result {
    apart(&here, "no-namespace", async |suite, space| {
        let before = created(space, "web", 2, json!({})).await?;
        with_manager(suite, |manager| manager.terminate().map(drop))?;
        space.kubectl(&["delete", "namespace", SYSTEM_NAMESPACE, "--timeout=60s"], None)?;
        let info = &suite.cluster.info;
        let mut manager = Manager::start(&info.kubeconfig, info.dir.join("manager-outside.log"), &[])?;
        manager.wait_for_log("the lease asts-manager is kept in kube-system")?;
        manager.wait_for_log("holding the lease")?;
        let told = asts(space, &["adopt", "statefulset/web"]).await?.fine()?;
        ensure!(told.contains("note  there is no Lease asts-system/asts-manager"), "{told}");
        is_ours(space, "web").await?;
        ensure_eq!(state(space).await?, before, "Pods and claims");
        manager.terminate().map(drop)
    })
    .await
}
