//! `kubectl asts plan`, as the program that users run.

mod comparison;
mod denied;
mod draws;
mod happened;
pub mod plugin;
mod rights;

use comparison::{
    what_is_planned_is_what_happens, what_is_planned_is_what_happens_by_dice_of_their_own,
    what_is_planned_is_what_happens_by_other_dice,
};
use denied::{
    a_label_that_a_policy_denies_is_told_and_exits_with_1, an_image_that_a_policy_denies_is_told_and_exits_with_1,
    what_was_planned_under_a_policy_for_some_pods_happens,
};
use rights::{a_plan_with_few_rights_says_what_it_assumed, a_plan_without_rights_says_what_is_forbidden};
use serde_json::{Value, json};

use crate::claims::volume_for;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{image_of, is_ready, uid};
use crate::harness::{Context, Failure, Result, Space, image, install, set};
use crate::{ensure, ensure_eq, test_list};
use plugin::plan;

test_list![
    what_is_planned_is_what_happens,
    what_is_planned_is_what_happens_by_other_dice,
    what_is_planned_is_what_happens_by_dice_of_their_own,
    an_image_that_a_policy_denies_is_told_and_exits_with_1,
    a_label_that_a_policy_denies_is_told_and_exits_with_1,
    what_was_planned_under_a_policy_for_some_pods_happens,
    what_cannot_happen_is_told_and_exits_with_1,
    small_changes_go_on_top_of_a_patch,
    items_of_a_list_are_of_its_kind,
    an_image_is_told_with_its_class_and_waves,
    a_field_that_takes_new_pods_is_told_with_why,
    a_set_that_is_not_there_is_planned_from_its_manifest,
    many_sets_come_out_as_a_list_and_the_worst_code_counts,
    what_holds_pods_back_is_told,
    claims_that_are_made_and_grown_are_told,
    scaling_is_told_as_pods_made_and_removed,
    an_older_revision_is_found_again,
    a_manifest_takes_away_what_an_earlier_one_gave,
    what_is_wrong_is_said_and_nothing_is_planned,
    a_broken_rollout_is_mended_in_the_order_told,
    nothing_is_written_by_a_plan,
    kubectl_finds_the_plugin,
    a_plan_without_rights_says_what_is_forbidden,
    a_plan_with_few_rights_says_what_it_assumed,
];

/// A set of so many Pods that has come up.
async fn settled(space: &Space, spec: Value) -> Result {
    space.create_settled(set("web", with(json!({"podManagementPolicy": "Parallel"}), spec))).await
}

fn lines(text: &str) -> Result<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.iter().all(|line| line.chars().count() <= 80), "a line is wider than 80 columns:\n{text}");
    ensure!(!text.contains('\u{1b}'), "colours outside a terminal:\n{text}");
    Ok(lines)
}

fn ensure_lines(text: &str, wanted: &[&str]) -> Result {
    let lines = lines(text)?;
    for line in wanted {
        ensure!(lines.contains(line), "no line {line:?} in:\n{text}");
    }
    Ok(())
}

async fn an_image_is_told_with_its_class_and_waves(space: Space) -> Result {
    settled(&space, with(json!({"replicas": 5}), rolling_update(json!({"maxUnavailable": 2})))).await?;
    let change = format!("image=app={}", image("v2"));
    let text = plan(&space, &["web", "--set", &change], None)?.ended(2)?;
    ensure_lines(
        &text,
        &[
            "web: 5 Pods: 5 updated in place, 0 re-created, 3 waves",
            "Fields of the template",
            &format!("  {:<57}  Rebuild  in place", "spec.containers[app].image"),
            "    docker.io/library/asts-test:v1 -> docker.io/library/asts-test:v2",
            "    the container is re-created with the new image",
            "Waves",
            "  1  in place      web-4 web-3",
            "                   new containers: app",
            "  2  in place      web-2 web-1",
            "  3  in place      web-0",
        ],
    )?;
    let unchanged = plan(&space, &["asts/web", "--set", &format!("image=app={}", image("v1"))], None)?.ended(0)?;
    ensure_eq!(unchanged, "web: 5 Pods: nothing would change\n", "a plan of nothing");
    let label = json!({"spec": {"template": {"metadata": {"labels": {"tier": "db"}}}}}).to_string();
    let label = plan(&space, &["web", "-p", &label, "-o", "json"], None)?.json(2)?;
    ensure_eq!(label["waves"][0]["pods"].as_array().map(Vec::len), Some(5), "Pods in the one wave of a label");
    ensure_eq!(label["fields"][0]["class"], json!("Dynamic"), "class of a label");
    Ok(())
}

async fn a_field_that_takes_new_pods_is_told_with_why(space: Space) -> Result {
    settled(&space, json!({"replicas": 3})).await?;
    let both = ["web", "--set", "env=app.MODE=b", "--set", "image=*=asts-test:v3"];
    let found = plan(&space, &[&both[..], &["-o", "json"]].concat(), None)?.json(3)?;
    let field = |path: &str| -> Result<Value> {
        let fields = found["fields"].as_array().context("the fields")?;
        fields.iter().find(|field| field["path"] == path).cloned().context(path)
    };
    let variable = field("spec.containers[app].env[MODE]")?;
    ensure_eq!((&variable["inPlace"], &variable["class"]), (&json!(false), &json!("Rebuild")), "a variable");
    let why = variable["why"].as_str().unwrap_or_default();
    ensure!(why.contains("this apiserver does not take it"), "why: {why}");
    ensure_eq!(field("spec.containers[app].image")?["inPlace"], json!(true), "an image");
    ensure_eq!((&found["summary"]["recreated"], &found["summary"]["inPlace"]), (&json!(3), &json!(0)), "the counts");
    ensure_eq!(found["waves"][0]["pods"][0]["action"], json!("recreate"), "the first move");
    // Told by hand that the cluster can do it, the manager would try it in place, and be refused.
    let by_hand = plan(&space, &[&both[..], &["--in-place=customised", "-o", "json"]].concat(), None)?.json(3)?;
    ensure_eq!(by_hand["summary"]["recreated"], json!(3), "Pods re-created by hand");
    let why = by_hand["waves"][0]["pods"][0]["why"].as_str().unwrap_or_default();
    let refused =
        "the apiserver refused the update in place: Pod \"web-2\" is invalid: spec: Forbidden: pod updates may not";
    ensure!(why.starts_with(refused) && !why.contains('\n'), "why: {why}");
    Ok(())
}

async fn a_set_that_is_not_there_is_planned_from_its_manifest(space: Space) -> Result {
    let manifest = set("web", json!({"volumeClaimTemplates": [claim_template("data", "1Mi")]})).to_string();
    let text = plan(&space, &["-f", "-"], Some(&manifest))?.ended(2)?;
    ensure_lines(
        &text,
        &[
            "web: 3 Pods: 3 made, 3 waves (the set is not there yet)",
            "  1  made          web-0",
            "  3  made          web-2",
            "  made: data-web-0 data-web-1 data-web-2",
        ],
    )?;
    let found = plan(&space, &["-f", "-", "-o", "yaml"], Some(&manifest))?.ended(2)?;
    ensure!(found.contains("kind: Plan") && found.contains("exists: false"), "{found}");
    ensure!(space.sets().get_opt("web").await?.is_none(), "the plan made the set");
    Ok(())
}

async fn many_sets_come_out_as_a_list_and_the_worst_code_counts(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let manifest = |name: &str, spec: Value| set(name, with(json!({"podManagementPolicy": "Parallel"}), spec));
    let changed = manifest("web", json!({"replicas": 1, "template": {"spec": {"hostNetwork": true}}}));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"}},
        manifest("new", json!({"replicas": 2})),
        changed,
    ]})
    .to_string();
    let found = plan(&space, &["-f", "-", "-o", "json"], Some(&list))?.json(3)?;
    let names: Vec<&str> =
        found["items"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect();
    ensure_eq!((&found["kind"], names), (&json!("PlanList"), vec!["new", "web"]), "the list");
    let documents = format!("{}\n---\n{}", manifest("one", json!({})), manifest("two", json!({})));
    let text = plan(&space, &["-f", "-"], Some(&documents))?.ended(2)?;
    ensure!(text.contains("one: 3 Pods") && text.contains("\n\ntwo: 3 Pods"), "{text}");
    Ok(())
}

async fn what_holds_pods_back_is_told(space: Space) -> Result {
    settled(&space, json!({"replicas": 3})).await?;
    let held = |patch: Value| -> Result<Value> {
        let patch = json!({"spec": patch}).to_string();
        let change = format!("image=app={}", image("v2"));
        plan(&space, &["web", "--set", &change, "-p", &patch, "-o", "json"], None)?.json(2)
    };
    let first = |found: &Value| {
        let pod = &found["pods"][0];
        (pod["heldBy"].clone(), pod["would"].clone(), found["blocked"][0]["reason"].clone())
    };
    let paused = held(rolling_update(json!({"paused": true})))?;
    ensure_eq!(first(&paused), (json!("paused"), json!("inPlace"), json!("Paused")), "paused");
    ensure_eq!(paused["waves"], json!([]), "waves of a paused set");
    let partition = held(rolling_update(json!({"partition": 2})))?;
    ensure_eq!(first(&partition), (json!("partition"), json!("inPlace"), json!("Partitioned")), "partition");
    ensure_eq!(partition["summary"]["inPlace"], json!(1), "Pods beyond the partition");
    let by_hand = held(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}))?;
    ensure_eq!(first(&by_hand), (json!("onDelete"), json!("recreate"), json!("OnDelete")), "OnDelete");
    let patch = json!({"spec": with(
        rolling_update(json!({"podUpdatePolicy": "InPlaceOnly"})),
        json!({"template": {"spec": {"hostNetwork": true}}}),
    )});
    let only = plan(&space, &["web", "-p", &patch.to_string(), "-o", "json"], None)?.json(2)?;
    ensure_eq!(only["pods"][0]["heldBy"], json!("inPlaceOnly"), "InPlaceOnly");
    let reasons = only["blocked"].to_string();
    ensure!(reasons.contains("NotPossibleInPlace") && reasons.contains("spec.hostNetwork"), "{reasons}");
    Ok(())
}

async fn what_cannot_happen_is_told_and_exits_with_1(space: Space) -> Result {
    settled(&space, json!({"replicas": 2})).await?;
    let impossible = |patch: Value, says: &str| -> Result<Value> {
        let patch = json!({"spec": patch}).to_string();
        let called = plan(&space, &["web", "-p", &patch, "-o", "json"], None)?;
        ensure!(called.err.starts_with("error: the plan of web cannot happen: "), "{called:?}");
        ensure!(called.err.contains(says), "it does not say {says:?}: {called:?}");
        let found = called.json(1)?;
        ensure_eq!(found["summary"]["exitCode"], json!(1), "the code in the report");
        ensure!(found["refused"].as_str().is_some_and(|why| why.contains(says)), "{}", found["refused"]);
        Ok(found)
    };
    let port = json!([{"name": "app", "image": "x", "ports": [{"containerPort": 70000}]}]);
    let template = impossible(json!({"template": {"spec": {"containers": port}}}), "containerPort")?;
    let reasons = template["blocked"].to_string();
    ensure!(reasons.contains("InvalidTemplate") && reasons.contains("containerPort"), "{reasons}");
    // The apiserver itself takes it: only the manager reads selectors as a whole.
    impossible(json!({"replicas": 200_000}), "replicas")?;
    space.patch("web", json!({"metadata": {"finalizers": ["example.com/kept"]}})).await?;
    space.kubectl(&["delete", "asts", "web", "--wait=false"], None)?;
    impossible(json!({"replicas": 3}), "the set is being deleted")?;
    let text = plan(&space, &["web"], None)?;
    ensure!(text.code == 1 && text.out.starts_with("web: 2 Pods: "), "what can be told is: {text:?}");
    space.patch("web", json!({"metadata": {"finalizers": null}})).await
}

async fn small_changes_go_on_top_of_a_patch(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let containers = json!([{"name": "app", "image": image("v2"), "command": ["/server"]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}}).to_string();
    let change = format!("image=app={}", image("v3"));
    let found = plan(&space, &["web", "-p", &patch, "--set", &change, "-o", "json"], None)?.json(3)?;
    let field = |path: &str| found["fields"].as_array().and_then(|all| all.iter().find(|one| one["path"] == path));
    ensure_eq!(field("spec.containers[app].image").map(|one| &one["new"]), Some(&json!(image("v3"))), "the image");
    ensure!(field("spec.containers[app].command").is_some(), "the patch's own field: {}", found["fields"]);
    Ok(())
}

async fn items_of_a_list_are_of_its_kind(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let raw = format!("/apis/apps.asts.dev/v1beta1/namespaces/{}/advancedstatefulsets", space.namespace);
    let list: Value = serde_json::from_str(&space.kubectl(&["get", "--raw", &raw], None)?)?;
    let mut bare = list.clone();
    for item in bare["items"].as_array_mut().into_iter().flatten() {
        let item = item.as_object_mut().context("an item")?;
        item.retain(|field, _| field == "metadata" || field == "spec");
        let metadata = item.get_mut("metadata").and_then(Value::as_object_mut).context("its metadata")?;
        metadata.retain(|field, _| field == "name" || field == "namespace");
    }
    plan(&space, &["-f", "-"], Some(&bare.to_string()))?.ended(0)?;
    Ok(())
}

async fn claims_that_are_made_and_grown_are_told(space: Space) -> Result {
    for ordinal in 0..2 {
        volume_for(&space, &format!("data-web-{ordinal}")).await?;
    }
    let sized = |size: &str| json!({"volumeClaimTemplates": [claim_template("data", size)]});
    let spec = json!({"replicas": 2, "volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}});
    settled(&space, with(spec, sized("1Gi"))).await?;
    let patch = json!({"spec": with(json!({"replicas": 3}), sized("2Gi"))}).to_string();
    let text = plan(&space, &["web", "-p", &patch], None)?.ended(2)?;
    ensure_lines(
        &text,
        &[
            "  made: data-web-2",
            "  grown: data-web-1: 1Gi -> 2Gi",
            "  grown: data-web-0: 1Gi -> 2Gi",
            "  spec.volumeClaimTemplates[data].spec.resources.requests.storage: 1Gi -> 2Gi",
        ],
    )
}

async fn scaling_is_told_as_pods_made_and_removed(space: Space) -> Result {
    settled(&space, json!({"replicas": 3})).await?;
    let scaled = |replicas: i64, code: i32| -> Result<String> {
        plan(&space, &["web", "-p", &json!({"spec": {"replicas": replicas}}).to_string()], None)?.ended(code)
    };
    let up = scaled(5, 2)?;
    ensure_lines(&up, &["web: 5 Pods: 0 updated in place, 0 re-created, 2 made, 1 wave", "  spec.replicas: 3 -> 5"])?;
    let down = scaled(1, 3)?;
    ensure_lines(&down, &["web: 1 Pod: 0 updated in place, 0 re-created, 2 removed, 1 wave"])
}

async fn an_older_revision_is_found_again(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let first = space.status("web").await?.update_revision;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let back = plan(&space, &["web", "--set", &format!("image=app={}", image("v1")), "-o", "json"], None)?.json(2)?;
    ensure_eq!(back["revision"]["state"], json!("reused"), "the revision");
    ensure_eq!(back["revision"]["name"].as_str().map(str::to_owned), first, "its name");
    let new = plan(&space, &["web", "--set", &format!("image=app={}", image("v3")), "-o", "json"], None)?.json(2)?;
    ensure_eq!(new["revision"]["state"], json!("new"), "another revision");
    space.set_image("web", "v3").await?;
    space.settled("web").await?;
    ensure_eq!(
        space.status("web").await?.update_revision.as_deref(),
        new["revision"]["name"].as_str(),
        "the name that the new revision got"
    );
    Ok(())
}

async fn a_manifest_takes_away_what_an_earlier_one_gave(space: Space) -> Result {
    let with_more =
        set("web", json!({"replicas": 1, "minReadySeconds": 1, "template": {"spec": {"hostNetwork": true}}}));
    space.apply(&with_more)?;
    space.settled("web").await?;
    let without = set("web", json!({"replicas": 1})).to_string();
    let found = plan(&space, &["-f", "-", "-o", "json"], Some(&without))?.json(3)?;
    ensure_eq!(found["specFields"][0]["path"], json!("spec.minReadySeconds"), "a field that goes");
    let paths = found["fields"].to_string();
    ensure!(paths.contains("spec.hostNetwork"), "the template's field that goes: {paths}");
    plan(&space, &["-f", "-"], Some(&with_more.to_string()))?.ended(0)?;
    let other = plan(&space, &["-f", "-", "--server-side"], Some(&without))?;
    ensure!(other.code == 0, "applied by another way, nothing is taken away: {other:?}");
    Ok(())
}

async fn what_is_wrong_is_said_and_nothing_is_planned(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let bad_selector = set("bad", json!({"selector": {"matchLabels": {"app": "other"}}})).to_string();
    let bad_field = set("bad", json!({"replica": 3})).to_string();
    let negative = json!({"spec": {"replicas": -1}}).to_string();
    for (arguments, input, says) in [
        (vec!["-f", "-"], Some(bad_selector.as_str()), "spec.selector"),
        (vec!["-f", "-"], Some(bad_field.as_str()), "spec.replica"),
        (vec!["-f", "-"], Some("kind: Service\napiVersion: v1\n"), "there is no AdvancedStatefulSet"),
        (vec!["-f", "-"], Some("a: ["), "standard input"),
        (vec!["web", "-p", &negative], None, "spec.replicas"),
        (vec!["web", "-p", "a: ["], None, "--patch"),
        (vec!["web", "-p", "{}", "--type", "strategic"], None, "--type merge"),
        (vec!["web", "--set", "image=db=x"], None, "there is no container \"db\": there is app"),
        (vec!["web", "--set", "replicas=3"], None, "image=CONTAINER=IMAGE"),
        (vec!["nothing"], None, "\"nothing\" not found"),
        (vec!["pod/web-0"], None, "use asts/NAME"),
        (vec![], None, "NAME"),
    ] {
        let called = plan(&space, &arguments, input)?;
        ensure!(called.code == 1 && called.out.is_empty(), "{arguments:?}: {called:?}");
        ensure!(called.err.contains(says), "{arguments:?} does not say {says:?}: {}", called.err);
    }
    Ok(())
}

async fn a_broken_rollout_is_mended_in_the_order_told(space: Space) -> Result {
    settled(&space, json!({"replicas": 4})).await?;
    // Made anew with an image that cannot be pulled, the Pod is lost until the next template.
    let broken =
        json!({"template": {"spec": {"containers": [{"name": "app", "image": image("broken"), "command": ["/x"]}]}}});
    space.edit("web", broken).await?;
    space.pod_is("web-3", "broken", |pod| image_of(pod) == image("broken") && !is_ready(pod) && waits(pod)).await?;
    let recorder = space.record().await?;
    let patch =
        json!({"template": {"spec": {"containers": [{"name": "app", "image": image("v2"), "command": ["/x"]}]}}});
    let manifest = json!({"spec": patch}).to_string();
    let found = plan(&space, &["web", "-p", &manifest, "-o", "json"], None)?.json(3)?;
    let waves: Vec<&Value> =
        found["waves"].as_array().into_iter().flatten().map(|wave| &wave["pods"][0]["name"]).collect();
    ensure_eq!(waves, ["web-3", "web-2", "web-1", "web-0"], "the waves");
    ensure_eq!(found["waves"][0]["pods"][0]["action"], json!("inPlace"), "the broken Pod");
    let text = plan(&space, &["web", "-p", &manifest], None)?.ended(3)?;
    ensure!(text.contains("web-0 web-1 web-2, on web-") && text.contains("web-3, on web-"), "two revisions:\n{text}");
    space.edit("web", patch).await?;
    space.settled("web").await?;
    ensure_eq!(recorder.told_to_go(), ["web-2", "web-1", "web-0"], "Pods told to go");
    Ok(())
}

/// The kubelet says that its first container waits for something that does not come.
fn waits(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let state = containers.and_then(|all| all.first()?.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    state.is_some_and(|reason| reason != "ContainerCreating")
}

async fn nothing_is_written_by_a_plan(space: Space) -> Result {
    settled(&space, json!({"replicas": 2})).await?;
    let looks = async || -> Result<Vec<String>> {
        let mut looks: Vec<String> = space.pods_of("web").await?.iter().map(uid).collect();
        let set = space.set("web").await?;
        looks.extend(
            [set.metadata.resource_version, set.metadata.generation.map(|it| it.to_string())].into_iter().flatten(),
        );
        looks.push(space.revisions_of("web").await?.len().to_string());
        Ok(looks)
    };
    // The manager may still write what it found before.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let before = looks().await?;
    plan(&space, &["web", "--set", "env=app.A=b", "-p", &json!({"spec": {"replicas": 4}}).to_string()], None)?
        .ended(3)?;
    ensure_eq!(looks().await?, before, "the set, its Pods and revisions");
    Ok(())
}

async fn kubectl_finds_the_plugin(space: Space) -> Result {
    settled(&space, json!({"replicas": 1})).await?;
    let info = &space.suite.cluster.info;
    let (program, first) = info.kubectl.split_first().context("kubectl")?;
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kubectl-asts")).parent().context("the plugin's folder")?;
    let mut command = std::process::Command::new(program);
    command.args(first).args(["asts", "plan", "web", "-n", &space.namespace]);
    command.env("PATH", folder).env("KUBECONFIG", &info.kubeconfig).env("HOME", &info.dir);
    let text = install::run(command, None)?;
    if text == "web: 1 Pod: nothing would change\n" { Ok(()) } else { Err(Failure(text)) }
}
