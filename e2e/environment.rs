//! `inPlaceUpdateStrategy.env: Annotations`: literal environment variables change in running Pods.

use k8s_openapi::api::core::v1::{EnvVar, Pod};
use serde_json::{Value, json};

use crate::harness::containers::{container_status, image_in_spec, restart_counts, restarted};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_changed_value_restarts_just_that_container,
    changes_one_after_another_all_arrive,
    a_change_before_the_one_before_it_is_done_arrives,
    a_value_and_an_image_change_in_one_restart,
    values_of_a_restartable_init_container_change_in_place,
    pods_made_before_the_option_are_re_created_and_it_is_said,
    the_option_taken_back_moves_nothing,
    after_the_option_is_taken_back_a_change_re_creates,
    a_variable_that_comes_or_goes_re_creates,
    an_image_without_another_reference_blocks_in_place_only,
    annotations_beyond_the_limit_touch_no_pod,
    pods_with_values_in_annotations_are_adopted_without_a_restart,
    a_rolled_back_value_comes_back,
];

fn annotations() -> Value {
    rolling_update(json!({"inPlaceUpdateStrategy": {"env": "Annotations"}}))
}

fn app(tag: &str, mode: &str) -> Value {
    json!({
        "name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "MODE", "value": mode}, {"name": "GREETING", "value": "hello"}, {"name": "BOTH", "value": "$(MODE)-$(GREETING)"}],
    })
}

fn side() -> Value {
    json!({"name": "side", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "env": [{"name": "MODE", "value": "mine"}]})
}

fn containers(tag: &str, mode: &str) -> Value {
    json!({"template": {"spec": {"containers": [app(tag, mode), side()]}}})
}

fn two_pods(spec: Value) -> Value {
    set("web", with(json!({"replicas": 2}), spec))
}

fn variables<'a>(pod: &'a Pod, container: &str) -> Result<&'a [EnvVar]> {
    let spec = pod.spec.as_ref().context("the spec")?;
    let found = spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|one| one.name == container);
    Ok(found.context(container)?.env.as_deref().unwrap_or_default())
}

/// The value that the kubelet will find for a variable, and whether the Pod refers to an annotation for it.
fn value_of(pod: &Pod, container: &str, name: &str) -> Result<(String, bool)> {
    let found = variables(pod, container)?.iter().find(|variable| variable.name == name).context(name)?;
    let reference = found.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
    let Some(reference) = reference else {
        return Ok((found.value.clone().unwrap_or_default(), false));
    };
    let key = reference.field_path.strip_prefix("metadata.annotations['").and_then(|path| path.strip_suffix("']"));
    let key = key.context(format!("the annotation in {}", reference.field_path))?;
    let value = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    Ok((value.context(format!("annotation {key}"))?.clone(), true))
}

async fn app_alone_restarted(space: &Space, before: &[Pod], mode: &str) -> Result {
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, ["app"], "containers of {} that were restarted", pod_name(&new));
        ensure_eq!(value_of(&new, "app", "MODE")?, (mode.to_owned(), true), "MODE of {}", pod_name(&new));
        ensure!(is_ready(&new), "{} is not Ready", pod_name(&new));
    }
    Ok(())
}

async fn a_changed_value_restarts_just_that_container(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "slowly")))).await?;
    let before = space.pods_of("web").await?;
    ensure_eq!(value_of(&before[0], "app", "MODE")?, ("slowly".to_owned(), true), "MODE at creation");
    ensure_eq!(value_of(&before[0], "app", "BOTH")?, ("$(MODE)-$(GREETING)".to_owned(), false), "BOTH at creation");
    let recorder = space.record().await?;
    space.edit("web", containers("v1", "fast")).await?;
    space.settled("web").await?;
    app_alone_restarted(&space, &before, "fast").await?;
    let new = space.pod("web-0").await?;
    ensure!(image_in_spec(&new, "app") != image("v1"), "the image is written as before");
    ensure!(image_in_spec(&new, "app").ends_with("asts-test:v1"), "the image is {}", image_in_spec(&new, "app"));
    let id = |pod: &Pod| -> Result<String> { Ok(container_status(pod, "app")?.image_id.clone()) };
    ensure_eq!(id(&new)?, id(&before[0])?, "image ID of web-0");
    ensure_eq!(recorder.worst_unready("web", 0..2), 1, "Pods that were down at once");
    for seen in recorder.pods() {
        let pod = seen.object();
        let old = &before[if pod_name(pod) == "web-0" { 0 } else { 1 }];
        let waits = value_of(pod, "app", "MODE")?.0 == "fast" && restarted(old, pod)?.is_empty();
        ensure!(!waits || !is_ready(pod), "{} was in service while its container was to go", pod_name(pod));
    }
    Ok(())
}

async fn changes_one_after_another_all_arrive(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    for (count, mode) in ["1", "2", "3"].into_iter().enumerate() {
        let before = space.pods_of("web").await?;
        space.edit("web", containers("v1", mode)).await?;
        space.settled("web").await?;
        app_alone_restarted(&space, &before, mode).await?;
        let counts = restart_counts(&space.pod("web-0").await?);
        ensure_eq!(counts.get("app"), Some(&(i32::try_from(count)? + 1)), "restarts of app");
    }
    Ok(())
}

/// Whatever the kubelet has seen of the first change by then.
async fn a_change_before_the_one_before_it_is_done_arrives(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", containers("v1", "1")).await?;
    space.pod_is("web-1", "patched", |pod| value_of(pod, "app", "MODE").is_ok_and(|(mode, _)| mode == "1")).await?;
    space.edit("web", containers("v1", "2")).await?;
    space.settled("web").await?;
    app_alone_restarted(&space, &before, "2").await
}

async fn a_rolled_back_value_comes_back(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let first = space.status("web").await?.current_revision;
    let before = space.pods_of("web").await?;
    space.edit("web", containers("v1", "1")).await?;
    space.settled("web").await?;
    let half = space.pods_of("web").await?;
    space.edit("web", containers("v1", "0")).await?;
    space.settled("web").await?;
    ensure_eq!(space.status("web").await?.current_revision, first, "the revision");
    app_alone_restarted(&space, &before, "0").await?;
    app_alone_restarted(&space, &half, "0").await
}

/// openkruise/kruise#1239: it took two restarts.
async fn a_value_and_an_image_change_in_one_restart(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", containers("v2", "1")).await?;
    space.settled("web").await?;
    app_alone_restarted(&space, &before, "1").await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(image_in_spec(&pod, "app"), image("v2"), "image of {}", pod_name(&pod));
        ensure_eq!(restart_counts(&pod).get("app"), Some(&1), "restarts of {}", pod_name(&pod));
    }
    Ok(())
}

async fn values_of_a_restartable_init_container_change_in_place(space: Space) -> Result {
    let with_proxy = |mode: &str| {
        let proxy = json!({
            "name": "proxy", "image": image("v1"), "restartPolicy": "Always", "env": [{"name": "MODE", "value": mode}],
        });
        let once = json!({"name": "setup", "image": image("v1"), "env": [{"name": "MODE", "value": "once"}]});
        with(containers("v1", "0"), json!({"template": {"spec": {"initContainers": [once, proxy]}}}))
    };
    space.create_settled(two_pods(with(annotations(), with_proxy("0")))).await?;
    let before = space.pods_of("web").await?;
    ensure_eq!(value_of(&before[0], "setup", "MODE")?, ("once".to_owned(), false), "MODE of the one that runs once");
    space.edit("web", with_proxy("1")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, ["proxy"], "containers of {} that were restarted", pod_name(&new));
        ensure_eq!(value_of(&new, "proxy", "MODE")?, ("1".to_owned(), true), "MODE of {}", pod_name(&new));
    }
    Ok(())
}

async fn all_re_created(space: &Space, before: &[Pod]) -> Result {
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
    }
    Ok(())
}

async fn pods_made_before_the_option_are_re_created_and_it_is_said(space: Space) -> Result {
    space.create_settled(two_pods(containers("v1", "0"))).await?;
    let before = space.pods_of("web").await?;
    ensure_eq!(value_of(&before[0], "app", "MODE")?, ("0".to_owned(), false), "MODE without the option");
    space.edit("web", annotations()).await?;
    space.settled("web").await?;
    ensure_eq!(uid(&space.pod("web-0").await?), uid(&before[0]), "UID when only the option was set");
    space.edit("web", containers("v1", "1")).await?;
    space.settled("web").await?;
    all_re_created(&space, &before).await?;
    space.event("SuccessfulDelete", "the Pod was made before env was set to Annotations").await?;
    let again = space.pods_of("web").await?;
    space.edit("web", containers("v1", "2")).await?;
    space.settled("web").await?;
    app_alone_restarted(&space, &again, "2").await
}

async fn the_option_taken_back_moves_nothing(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", rolling_update(json!({"inPlaceUpdateStrategy": {"env": "Patch"}}))).await?;
    space.settled("web").await?;
    holds(seconds(2), "no Pod changes", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!(new.metadata.resource_version, old.metadata.resource_version, "version of {}", pod_name(&new));
        }
        Ok(())
    })
    .await
}

async fn after_the_option_is_taken_back_a_change_re_creates(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let before = space.pods_of("web").await?;
    let back = rolling_update(json!({"inPlaceUpdateStrategy": {"env": "Patch"}}));
    space.edit("web", with(back, containers("v1", "1"))).await?;
    space.settled("web").await?;
    all_re_created(&space, &before).await?;
    ensure_eq!(value_of(&space.pod("web-0").await?, "app", "MODE")?, ("1".to_owned(), false), "MODE");
    Ok(())
}

async fn a_variable_that_comes_or_goes_re_creates(space: Space) -> Result {
    let only = |env: Value| {
        let app = json!({"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "env": env});
        json!({"template": {"spec": {"containers": [app]}}})
    };
    let one = json!([{"name": "A", "value": "1"}]);
    let two = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    space.create_settled(two_pods(with(annotations(), only(one.clone())))).await?;
    for (env, what) in [(two, "app].env[B]"), (one, "app].env[B]")] {
        let before = space.pods_of("web").await?;
        space.edit("web", only(env)).await?;
        space.settled("web").await?;
        all_re_created(&space, &before).await?;
        space.event("SuccessfulDelete", what).await?;
    }
    Ok(())
}

/// The fake nodes report no digest of it.
async fn an_image_without_another_reference_blocks_in_place_only(space: Space) -> Result {
    let only = |mode: &str| {
        let app = json!({
            "name": "app", "image": "registry.example/app:v1", "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "MODE", "value": mode}],
        });
        json!({"template": {"spec": {"containers": [app]}}})
    };
    let strategy =
        rolling_update(json!({"podUpdatePolicy": "InPlaceOnly", "inPlaceUpdateStrategy": {"env": "Annotations"}}));
    space.create_settled(two_pods(with(strategy, only("0")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", only("1")).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    for part in ["spec.containers[app].env[MODE]", "no other reference"] {
        ensure!(message.contains(part), "no {part:?} in {message:?}");
    }
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, [""; 0], "containers of {} that were restarted", pod_name(&new));
    }
    Ok(())
}

async fn annotations_beyond_the_limit_touch_no_pod(space: Space) -> Result {
    space.create_settled(two_pods(with(annotations(), containers("v1", "0")))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", containers("v1", &"x".repeat(250 * 1024))).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("InvalidTemplate")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("env Annotations") && message.contains("262144"), "the message is {message:?}");
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(new.metadata.resource_version, old.metadata.resource_version, "version of {}", pod_name(&new));
    }
    space.edit("web", containers("v1", "1")).await?;
    space.settled("web").await?;
    app_alone_restarted(&space, &before, "1").await
}

async fn pods_with_values_in_annotations_are_adopted_without_a_restart(space: Space) -> Result {
    let manifest = two_pods(with(annotations(), containers("v1", "0")));
    space.create_settled(manifest.clone()).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", containers("v1", "1")).await?;
    space.settled("web").await?;
    let changed = space.pods_of("web").await?;
    space.kubectl(&["delete", "asts/web", "--cascade=orphan"], None)?;
    for pod in &changed {
        space.label(pod_name(pod), "controller-revision-hash", None).await?;
    }
    space.kubectl(&["delete", "controllerrevisions", "--all"], None)?;
    space.create_settled(with(manifest, json!({"spec": containers("v1", "1")}))).await?;
    for (old, new) in changed.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(restarted(old, &new)?, [""; 0], "containers of {} that were restarted", pod_name(&new));
    }
    ensure_eq!(uid(&space.pod("web-0").await?), uid(&before[0]), "UID of web-0");
    Ok(())
}
