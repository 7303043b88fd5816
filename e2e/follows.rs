//! What the customised apiserver takes and the customised kubelet then does, without a set: Pods
//! are patched by hand. Each test is a row of `e2e/cluster/customised/README.md`.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::containers::{
    PATIENCE, Seen, container, env_in, file_becomes, file_in, make, make_bound_claim, make_config_map, make_secret,
    statuses,
};
use crate::harness::manifest::with;
use crate::harness::space::{describe, is_ready, pod_condition};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds};
use crate::{ensure, ensure_eq, test_list};

test_list![
    environment_is_that_of_the_spec_after_a_restart_of_that_container_alone,
    volumes_and_mounts_come_and_go,
    files_swap_without_a_restart,
    one_name_can_lead_to_another_volume,
    no_container_starts_with_the_files_of_the_old_source,
    readiness_follows_a_changed_probe_without_a_restart,
    a_probe_that_goes_on_well_does_not_flap,
    a_liveness_probe_is_followed_too,
    a_mended_environment_leaves_the_back_off,
    restartable_init_containers_follow,
    what_is_not_in_the_contract_is_refused,
    a_stock_kubelet_does_nothing,
];

/// A strategic merge patch of a Pod, as the manager's are. It returns the server's refusal as text.
async fn patch_pod(space: &Space, name: &str, patch: Value) -> std::result::Result<Pod, String> {
    let patched = space.pods().patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    patched.map_err(|error| error.to_string())
}

/// Waits until the Pod is Ready with its present spec seen by the kubelet.
async fn settled(space: &Space, name: &str) -> Result<Pod> {
    eventually(PATIENCE, &format!("{name} is Ready with its present spec"), async || {
        let pod = space.pod(name).await?;
        let observed = pod.status.as_ref().and_then(|status| status.observed_generation);
        if is_ready(&pod) && observed == pod.metadata.generation {
            return Ok(pod);
        }
        Err(Failure(format!("{:?} {}", observed, describe(&pod))))
    })
    .await
}

const CUSTOMISED: &str = "localhost";
const STOCK: &str = "127.0.0.2";

/// A Pod with the containers `app` (readiness probe, checked each second) and `other`.
async fn pod_on(space: &Space, node: &str, spec: Value) -> Result<Seen> {
    let probe = json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    let base = json!({
        "terminationGracePeriodSeconds": 1, "nodeName": node,
        "containers": [container("app", 8080, json!({"readinessProbe": probe})), container("other", 8081, json!({}))],
    });
    make(space, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": with(base, spec)}))?;
    Ok(Seen::of(&settled(space, "web").await?))
}

async fn pod_with(space: &Space, spec: Value) -> Result<Seen> {
    pod_on(space, CUSTOMISED, spec).await
}

/// Patches fields of the container `app`, and the Pod's volumes.
async fn change(space: &Space, app: Value, volumes: Value) -> Result<Pod> {
    let app = with(json!({"name": "app"}), json!({})).as_object().cloned().map(|mut fields| {
        fields.extend(app.as_object().cloned().unwrap_or_default());
        Value::Object(fields)
    });
    let mut spec = json!({"containers": [app]});
    if !volumes.is_null() {
        spec["volumes"] = volumes;
    }
    patch_pod(space, "web", json!({"spec": spec})).await.map_err(Failure)
}

async fn rebuilt(space: &Space, before: &Seen, names: &[&str]) -> Result<Pod> {
    eventually(PATIENCE, &format!("{names:?} are re-created"), async || {
        let pod = settled(space, "web").await?;
        before.rebuilt(&pod, names)?;
        Ok(pod)
    })
    .await
}

async fn environment_is_that_of_the_spec_after_a_restart_of_that_container_alone(space: Space) -> Result {
    make_config_map(&space, "more", json!({"FROM_MAP": "yes"})).await?;
    let before = pod_with(&space, json!({})).await?;
    let env = json!([{"name": "MODE", "value": "two"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    change(&space, json!({"env": env, "envFrom": [{"configMapRef": {"name": "more"}}]}), Value::Null).await?;
    let now = rebuilt(&space, &before, &["app"]).await?;
    for (name, value) in [("MODE", "two"), ("POD", "web"), ("FROM_MAP", "yes"), ("PORT", "8080")] {
        ensure_eq!(env_in(&space, "web", "app", name)?, value, "{name}");
    }
    let gone = json!({"env": [{"name": "MODE", "$patch": "delete"}], "envFrom": null});
    change(&space, gone, Value::Null).await?;
    rebuilt(&space, &Seen::of(&now), &["app"]).await?;
    ensure_eq!(env_in(&space, "web", "app", "MODE")?, "", "a removed variable");
    Ok(())
}

async fn volumes_and_mounts_come_and_go(space: Space) -> Result {
    make_config_map(&space, "map", json!({"file": "of the map"})).await?;
    make_secret(&space, "hidden", json!({"file": "of the secret"})).await?;
    make_bound_claim(&space, "data", "kept", "of the claim").await?;
    let before = pod_with(&space, json!({})).await?;
    let volumes = json!([
        {"name": "a", "configMap": {"name": "map"}},
        {"name": "b", "secret": {"secretName": "hidden"}},
        {"name": "c", "projected": {"sources": [{"configMap": {"name": "map"}}]}},
        {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "e", "emptyDir": {}},
        {"name": "f", "persistentVolumeClaim": {"claimName": "data"}},
    ]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mounts: Vec<Value> = names.iter().map(|name| json!({"name": name, "mountPath": format!("/{name}")})).collect();
    change(&space, json!({"volumeMounts": mounts}), volumes).await?;
    let now = rebuilt(&space, &before, &["app"]).await?;
    for (path, content) in [
        ("/a/file", "of the map"),
        ("/b/file", "of the secret"),
        ("/c/file", "of the map"),
        ("/d/name", "web"),
        ("/f/kept", "of the claim"),
    ] {
        ensure_eq!(file_in(&space, "web", "app", path)?, content, "{path}");
    }
    ensure_eq!(
        mounts_told(&now)?,
        [&["/a", "/b", "/c", "/d", "/e", "/f"][..], &[TOKEN]].concat(),
        "status.volumeMounts"
    );
    let gone = |key: &str, value: &str| json!({key: value, "$patch": "delete"});
    let mounts: Vec<Value> = names.iter().map(|name| gone("mountPath", &format!("/{name}"))).collect();
    let volumes: Vec<Value> = names.iter().map(|name| gone("name", name)).collect();
    change(&space, json!({"volumeMounts": mounts}), json!(volumes)).await?;
    let now = rebuilt(&space, &Seen::of(&now), &["app"]).await?;
    ensure!(file_in(&space, "web", "app", "/a/file").is_err(), "a removed mount is still there");
    ensure_eq!(mounts_told(&now)?, [TOKEN], "status.volumeMounts");
    Ok(())
}

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The mounts that the status of `app` tells, sorted.
fn mounts_told(pod: &Pod) -> Result<Vec<&str>> {
    let app = statuses(pod).find(|status| status.name == "app").context("app")?;
    let mut paths: Vec<&str> = app.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect();
    paths.sort_unstable();
    Ok(paths)
}

async fn files_swap_without_a_restart(space: Space) -> Result {
    for (name, content) in [("one", "first"), ("two", "second")] {
        make_config_map(&space, name, json!({"file": content})).await?;
        make_secret(&space, name, json!({"file": content})).await?;
    }
    let volumes = |name: &str| {
        json!([
            {"name": "map", "configMap": {"name": name}},
            {"name": "secret", "secret": {"secretName": name}},
            {"name": "both", "projected": {"$retainKeys": ["sources"], "sources": [{"configMap": {"name": name}}]}},
        ])
    };
    let mounts: Vec<Value> =
        ["map", "secret", "both"].iter().map(|name| json!({"name": name, "mountPath": format!("/{name}")})).collect();
    let mut first = volumes("one");
    if let Some(projected) = first[2]["projected"].as_object_mut() {
        projected.remove("$retainKeys");
    }
    let app = container("app", 8080, json!({"volumeMounts": mounts}));
    let before = pod_with(&space, json!({"volumes": first, "containers": [app]})).await?;
    let recorder = space.record().await?;
    patch_pod(&space, "web", json!({"spec": {"volumes": volumes("two")}})).await.map_err(Failure)?;
    for path in ["/map/file", "/secret/file", "/both/file"] {
        file_becomes(&space, "web", "app", path, "second").await?;
    }
    before.rebuilt(&settled(&space, "web").await?, &[])?;
    ensure!(recorder.pods().iter().all(|seen| is_ready(seen.object())), "the Pod blinked");
    Ok(())
}

async fn one_name_can_lead_to_another_volume(space: Space) -> Result {
    make_config_map(&space, "map", json!({"file": "of the map"})).await?;
    make_secret(&space, "hidden", json!({"file": "of the secret"})).await?;
    make_bound_claim(&space, "data", "file", "of the claim").await?;
    let mounted = json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]});
    let app = container("app", 8080, mounted.clone());
    let first = json!([{"name": "x", "configMap": {"name": "map"}}]);
    let mut before = pod_with(&space, json!({"volumes": first, "containers": [app]})).await?;
    for (source, content) in [
        (json!({"secret": {"secretName": "hidden"}}), "of the secret"),
        (json!({"persistentVolumeClaim": {"claimName": "data"}}), "of the claim"),
        (json!({"configMap": {"name": "map"}}), "of the map"),
    ] {
        let gone = json!({"volumeMounts": [{"mountPath": "/x", "$patch": "delete"}]});
        change(&space, gone, json!([{"name": "x", "$patch": "delete"}])).await?;
        let between = rebuilt(&space, &before, &["app"]).await?;
        change(&space, mounted.clone(), json!([with(json!({"name": "x"}), source)])).await?;
        before = Seen::of(&rebuilt(&space, &Seen::of(&between), &["app"]).await?);
        ensure_eq!(file_in(&space, "web", "app", "/x/file")?, content, "the file");
    }
    Ok(())
}

async fn no_container_starts_with_the_files_of_the_old_source(space: Space) -> Result {
    make_config_map(&space, "one", json!({"file": "first"})).await?;
    let app = container("app", 8080, json!({"volumeMounts": [{"name": "map", "mountPath": "/map"}]}));
    let volumes = |name: &str| json!([{"name": "map", "configMap": {"name": name}}]);
    let before = pod_with(&space, json!({"volumes": volumes("one"), "containers": [app]})).await?;
    change(&space, json!({"env": [{"name": "MODE", "value": "two"}]}), volumes("two")).await?;
    holds(seconds(4), "the container goes on while there is no such configMap", async || {
        before.rebuilt(&space.pod("web").await?, &[])
    })
    .await?;
    make_config_map(&space, "two", json!({"file": "second"})).await?;
    eventually(seconds(90), "the container is re-created", async || {
        before.rebuilt(&settled(&space, "web").await?, &["app"])
    })
    .await?;
    ensure_eq!(file_in(&space, "web", "app", "/map/file")?, "second", "the file");
    Ok(())
}

async fn readiness(space: &Space, probe: Value) -> Result {
    change(space, json!({"readinessProbe": probe}), Value::Null).await.map(|_| ())
}

async fn ready_becomes(space: &Space, ready: bool) -> Result {
    space.pod_is("web", if ready { "ready" } else { "not ready" }, |pod| is_ready(pod) == ready).await.map(|_| ())
}

async fn readiness_follows_a_changed_probe_without_a_restart(space: Space) -> Result {
    let before = pod_with(&space, json!({})).await?;
    let failing = json!({"httpGet": {"path": "/no-such-page"}});
    let good = json!({"httpGet": {"path": "/readyz"}});
    readiness(&space, failing.clone()).await?;
    ready_becomes(&space, false).await?;
    readiness(&space, good).await?;
    ready_becomes(&space, true).await?;
    // A removed probe says nothing any more: the container is ready when it runs.
    readiness(&space, failing.clone()).await?;
    ready_becomes(&space, false).await?;
    readiness(&space, Value::Null).await?;
    ready_becomes(&space, true).await?;
    // A new one that fails is believed, a long period does not hold a shorter one back.
    let added = json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 3600, "failureThreshold": 1});
    readiness(&space, added).await?;
    settled(&space, "web").await?;
    readiness(&space, with(failing, json!({"periodSeconds": 1}))).await?;
    ready_becomes(&space, false).await?;
    before.rebuilt(&space.pod("web").await?, &[])
}

async fn a_probe_that_goes_on_well_does_not_flap(space: Space) -> Result {
    let before = pod_with(&space, json!({})).await?;
    let recorder = space.record().await?;
    for probe in [
        json!({"httpGet": {"path": "/healthz"}}),
        json!({"periodSeconds": 2, "failureThreshold": 5}),
        json!({"httpGet": null, "tcpSocket": {"port": 8080}}),
        json!({"tcpSocket": null, "exec": {"command": ["true"]}}),
        Value::Null,
        json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}),
    ] {
        readiness(&space, probe.clone()).await?;
        holds(seconds(2), "the Pod stays ready", async || {
            ensure!(is_ready(&space.pod("web").await?), "not ready under {probe}");
            Ok(())
        })
        .await?;
    }
    let unready = recorder.pods().iter().filter(|seen| !is_ready(seen.object())).count();
    ensure_eq!(unready, 0, "times that the Pod was seen not ready");
    before.rebuilt(&space.pod("web").await?, &[])
}

async fn a_liveness_probe_is_followed_too(space: Space) -> Result {
    let before = pod_with(&space, json!({})).await?;
    let probe = |path: &str| json!({"livenessProbe": {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}});
    change(&space, probe("/healthz"), Value::Null).await?;
    settled(&space, "web").await?;
    before.rebuilt(&space.pod("web").await?, &[])?;
    change(&space, probe("/no-such-page"), Value::Null).await?;
    eventually(PATIENCE, "the failing probe restarts the container", async || {
        let restarts = Seen::of(&space.pod("web").await?).containers.get("app").map(|(_, restarts)| *restarts);
        ensure!(restarts > Some(0), "restarts: {restarts:?}");
        Ok(())
    })
    .await?;
    change(&space, json!({"livenessProbe": null}), Value::Null).await?;
    settled(&space, "web").await?;
    Ok(())
}

async fn a_mended_environment_leaves_the_back_off(space: Space) -> Result {
    pod_with(&space, json!({})).await?;
    // The program ends at once where this is no number.
    change(&space, json!({"env": [{"name": "DRAIN_SECONDS", "value": "none"}]}), Value::Null).await?;
    eventually(PATIENCE, "the container is held back for long", async || {
        let pod = space.pod("web").await?;
        let app = statuses(&pod).find(|status| status.name == "app").context("app")?;
        let waits = app.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        ensure!(app.restart_count >= 3 && waits == Some("CrashLoopBackOff"), "{} {waits:?}", app.restart_count);
        Ok(())
    })
    .await?;
    change(&space, json!({"env": [{"name": "DRAIN_SECONDS", "value": "0"}]}), Value::Null).await?;
    // The back-off of the same container would last for 20 s at the least.
    eventually(seconds(10), "the mended container runs", async || {
        ensure!(is_ready(&space.pod("web").await?), "not ready");
        Ok(())
    })
    .await
}

async fn restartable_init_containers_follow(space: Space) -> Result {
    let once = with(container("once", 8082, json!({})), json!({"command": ["true"]}));
    let side = container("side", 8083, json!({"restartPolicy": "Always"}));
    let before = pod_with(&space, json!({"initContainers": [once, side]})).await?;
    let env = json!([{"name": "MODE", "value": "two"}]);
    let of = |name: &str| json!({"spec": {"initContainers": [{"name": name, "env": env}]}});
    patch_pod(&space, "web", of("side")).await.map_err(Failure)?;
    rebuilt(&space, &before, &["side"]).await?;
    ensure_eq!(env_in(&space, "web", "side", "MODE")?, "two", "MODE");
    let refused = patch_pod(&space, "web", of("once")).await.err().context("a container that ran once was changed")?;
    ensure!(refused.contains("pod updates may not change fields"), "{refused}");
    Ok(())
}

async fn what_is_not_in_the_contract_is_refused(space: Space) -> Result {
    make_config_map(&space, "map", json!({"file": "of the map"})).await?;
    make_secret(&space, "hidden", json!({"file": "of the secret"})).await?;
    let volumes = json!([
        {"name": "map", "configMap": {"name": "map"}},
        {"name": "host", "hostPath": {"path": "/tmp"}},
    ]);
    let before = pod_with(&space, json!({"volumes": volumes})).await?;
    let app = |fields: Value| json!({"spec": {"containers": [with(json!({"name": "app"}), fields)]}});
    let volume = |fields: Value| json!({"spec": {"volumes": [fields]}});
    let kept_null = |mut volume: Value| {
        volume["configMap"] = Value::Null;
        volume
    };
    for (what, patch) in [
        ("a hostPath", volume(json!({"name": "new", "hostPath": {"path": "/"}}))),
        ("another hostPath", volume(json!({"name": "host", "hostPath": {"path": "/"}}))),
        ("a hostPath that goes", volume(json!({"name": "host", "$patch": "delete"}))),
        ("an nfs volume", volume(json!({"name": "new", "nfs": {"server": "127.0.0.1", "path": "/"}}))),
        ("an ephemeral volume", volume(json!({"name": "new", "csi": {"driver": "none.example.com"}}))),
        ("another type under one name", volume(kept_null(json!({"name": "map", "secret": {"secretName": "hidden"}})))),
        ("a hostPath in place of a configMap", volume(kept_null(json!({"name": "map", "hostPath": {"path": "/"}})))),
        ("a startup probe", app(json!({"startupProbe": {"httpGet": {"path": "/readyz", "port": 8080}}}))),
        ("a probe of another host", app(json!({"readinessProbe": {"httpGet": {"host": "192.0.2.1"}}}))),
        ("a command", app(json!({"command": ["sleep", "100"]}))),
        ("a port", app(json!({"ports": [{"containerPort": 9000}]}))),
        ("a security context", app(json!({"securityContext": {"privileged": true}}))),
    ] {
        match patch_pod(&space, "web", patch).await {
            Ok(_) => return Err(Failure(format!("{what} was taken"))),
            Err(refused) => ensure!(refused.contains("pod updates may not change fields"), "{what}: {refused}"),
        }
    }
    let no_volume = app(json!({"volumeMounts": [{"name": "none", "mountPath": "/x"}]}));
    let refused = patch_pod(&space, "web", no_volume).await.err().context("a mount without its volume was taken")?;
    ensure!(refused.contains("volumeMounts") && refused.contains("Not found"), "{refused}");
    before.rebuilt(&space.pod("web").await?, &[])
}

async fn a_stock_kubelet_does_nothing(space: Space) -> Result {
    let before = pod_on(&space, STOCK, json!({})).await?;
    change(&space, json!({"env": [{"name": "MODE", "value": "two"}]}), Value::Null).await?;
    let pod = settled(&space, "web").await?;
    ensure_eq!(pod_condition(&pod, "Ready").map(|(status, _)| status), Some("True"), "Ready");
    holds(seconds(3), "nothing happens", async || before.rebuilt(&space.pod("web").await?, &[])).await?;
    ensure_eq!(env_in(&space, "web", "app", "MODE")?, "", "MODE");
    Ok(())
}
