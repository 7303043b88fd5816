//! The rows of the contract's table "in place or not", each carried out on a real node by a set of
//! one Pod with the containers `app` and `other`.

// Each program runs some of it.
#![allow(dead_code)]

pub mod customised;
pub mod mixed;
pub mod resources;
pub mod stock;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::containers::{
    Seen, container, env_in, file_becomes, file_in, make_bound_claim, make_config_map, make_secret,
};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::recorder::Recorder;
use crate::harness::space::{is_ready, pod_condition, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Failure, Result, Space, eventually, set};
use crate::{ensure, ensure_eq};

/// Real containers take their time.
pub const PATIENCE_SECONDS: u64 = 120;

/// The node whose kubelet is customised on a customised cluster, and the only one of a stock one.
pub const FIRST_NODE: &str = "localhost";
/// The stock node of a customised cluster.
pub const STOCK_NODE: &str = "127.0.0.2";

/// What the process in the container `app` finds once the change is done.
pub enum Finds {
    Env(&'static str, &'static str),
    File(&'static str, &'static str),
}

/// A change of the template, from one merge patch of its spec to another.
pub struct Row {
    pub before: Value,
    pub after: Value,
    pub finds: Vec<Finds>,
}

/// What the change does to the Pod.
pub enum Does {
    /// Pod and containers go on, and the Pod stays in service.
    Nothing,
    /// These containers are re-created, out of service, and nothing else changes.
    Rebuild(&'static [&'static str]),
    /// The Pod is re-created; an event names this.
    Recreate(&'static str),
}

/// A template whose container `app` has these fields beside its image, and whose spec these.
pub fn template_on(node: &str, app: Value, spec: Value) -> Value {
    let probe = json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    let app = container("app", 8080, with(json!({"readinessProbe": probe}), app));
    let base = json!({
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [app, container("other", 8081, json!({}))],
    });
    json!({"template": {"spec": with(base, spec)}})
}

pub fn template(app: Value, spec: Value) -> Value {
    template_on(FIRST_NODE, app, spec)
}

/// A set of one Pod with this template.
pub fn one(spec: Value) -> Value {
    set("web", with(json!({"replicas": 1}), spec))
}

pub async fn settled(space: &Space) -> Result<Vec<Pod>> {
    space.settled_within("web", PATIENCE_SECONDS).await?;
    space.pods_of("web").await
}

/// Makes a set of one Pod and returns what it is.
pub async fn begin(space: &Space, spec: Value) -> Result<Seen> {
    space.create(one(spec)).await?;
    settled(space).await?;
    Ok(Seen::of(&space.pod("web-0").await?))
}

/// What rows refer to: configMaps and secrets `one` and `two` with a `file` that says the same, and
/// a bound claim `data`.
pub async fn sources(space: &Space) -> Result {
    for name in ["one", "two"] {
        make_config_map(space, name, json!({"file": name, "FROM_MAP": name})).await?;
        make_secret(space, name, json!({"file": name})).await?;
    }
    make_bound_claim(space, "data", "file", "claim").await
}

/// Carries the row out and checks what it did.
pub async fn carry_out(space: &Space, row: Row, does: Does) -> Result {
    sources(space).await?;
    let before = begin(space, row.before).await?;
    let generation = space.pod("web-0").await?.metadata.generation;
    let revision = space.status("web").await?.update_revision;
    let recorder = space.record().await?;
    space.edit("web", row.after).await?;
    settled(space).await?;
    ensure!(space.status("web").await?.update_revision != revision, "the template did not change");
    let pod = space.pod("web-0").await?;
    match does {
        Does::Nothing => {
            before.rebuilt(&pod, &[])?;
            ensure!(recorder.pods().iter().all(|seen| is_ready(seen.object())), "the Pod was out of service");
        }
        Does::Rebuild(names) => {
            before.rebuilt(&pod, names)?;
            held_off(&recorder, &before, generation, names)?;
        }
        Does::Recreate(reason) => {
            ensure!(uid(&pod) != before.uid, "{} was not re-created", pod_name(&pod));
            space.event("SuccessfulDelete", reason).await?;
        }
    }
    find(space, &row.finds).await
}

async fn find(space: &Space, finds: &[Finds]) -> Result {
    for found in finds {
        match found {
            Finds::Env(name, value) => ensure_eq!(env_in(space, "web-0", "app", name)?, *value, "{name}"),
            // A file of a running container is swapped a moment after the patch.
            Finds::File(path, content) => file_becomes(space, "web-0", "app", path, content).await?,
        }
    }
    Ok(())
}

/// From the patch until the new container runs, the Pod was out of service through its gate.
fn held_off(recorder: &Recorder, before: &Seen, generation: Option<i64>, names: &[&str]) -> Result {
    let mut closed = 0;
    for seen in recorder.pods() {
        let pod = seen.object();
        let now = Seen::of(pod);
        let patched = pod.metadata.generation > generation;
        let old_runs = names.iter().any(|name| now.containers.get(*name) == before.containers.get(*name));
        if !patched || !old_runs {
            continue;
        }
        ensure!(!is_ready(pod), "the Pod was in service while its old container was to go");
        let gate = pod_condition(pod, "InPlaceUpdateReady");
        ensure_eq!(gate, Some(("False", "ContainerRebuilding")), "the gate");
        closed += 1;
    }
    ensure!(closed > 0, "nobody saw the time between the patch and the new container");
    Ok(())
}

pub fn env() -> Row {
    let app = |mode: &str, more: Value| {
        let mut env = vec![json!({"name": "PORT", "value": "8080"}), json!({"name": "MODE", "value": mode})];
        env.extend(more.as_array().cloned().unwrap_or_default());
        json!({"env": env})
    };
    let added = json!([
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "BOTH", "value": "$(MODE) in $(POD)"},
    ]);
    Row {
        before: template(app("one", json!([{"name": "GONE", "value": "x"}])), json!({})),
        after: template(app("two", added), json!({})),
        finds: vec![
            Finds::Env("MODE", "two"),
            Finds::Env("POD", "web-0"),
            Finds::Env("BOTH", "two in web-0"),
            Finds::Env("GONE", ""),
        ],
    }
}

pub fn env_from() -> Row {
    let app = |name: &str| json!({"envFrom": [{"configMapRef": {"name": name}}]});
    Row {
        before: template(app("one"), json!({})),
        after: template(app("two"), json!({})),
        finds: vec![Finds::Env("FROM_MAP", "two")],
    }
}

fn mounted(name: &str, path: &str) -> Value {
    json!({"volumeMounts": [{"name": name, "mountPath": path}]})
}

pub fn mounts() -> Row {
    let volumes = json!({"volumes": [{"name": "map", "configMap": {"name": "one"}}]});
    Row {
        before: template(mounted("map", "/old"), volumes.clone()),
        after: template(mounted("map", "/new"), volumes),
        finds: vec![Finds::File("/new/file", "one")],
    }
}

/// A volume of each type that a running Pod can be given.
fn volumes() -> Value {
    json!([
        {"name": "a", "configMap": {"name": "one"}},
        {"name": "b", "secret": {"secretName": "one"}},
        {"name": "c", "projected": {"sources": [{"configMap": {"name": "one"}}]}},
        {"name": "d", "downwardAPI": {"items": [{"path": "file", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "e", "emptyDir": {}},
        {"name": "f", "persistentVolumeClaim": {"claimName": "data"}},
    ])
}

fn with_volumes() -> Value {
    let mounts: Vec<Value> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .map(|name| json!({"name": name, "mountPath": format!("/{name}")}))
        .collect();
    template(json!({"volumeMounts": mounts}), json!({"volumes": volumes()}))
}

fn without_volumes() -> Value {
    template(json!({}), json!({"volumes": null}))
}

pub fn volumes_come() -> Row {
    Row {
        before: without_volumes(),
        after: with_volumes(),
        finds: vec![
            Finds::File("/a/file", "one"),
            Finds::File("/b/file", "one"),
            Finds::File("/c/file", "one"),
            Finds::File("/d/file", "web-0"),
            Finds::File("/f/file", "claim"),
        ],
    }
}

pub fn volumes_go() -> Row {
    Row { before: with_volumes(), after: without_volumes(), finds: vec![] }
}

pub fn volume_sources() -> Row {
    let of = |name: &str| {
        let mounts: Vec<Value> = ["map", "secret", "both"]
            .iter()
            .map(|name| json!({"name": name, "mountPath": format!("/{name}")}))
            .collect();
        let volumes = json!([
            {"name": "map", "configMap": {"name": name}},
            {"name": "secret", "secret": {"secretName": name}},
            {"name": "both", "projected": {"sources": [{"configMap": {"name": name}}]}},
        ]);
        template(json!({"volumeMounts": mounts}), json!({"volumes": volumes}))
    };
    Row {
        before: of("one"),
        after: of("two"),
        finds: vec![
            Finds::File("/map/file", "two"),
            Finds::File("/secret/file", "two"),
            Finds::File("/both/file", "two"),
        ],
    }
}

/// A good probe after another good one, and a liveness probe besides.
pub fn probes() -> Row {
    let liveness = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1});
    let readiness = json!({"exec": {"command": ["true"]}, "httpGet": null, "periodSeconds": 2});
    Row {
        before: template(json!({}), json!({})),
        after: template(json!({"livenessProbe": liveness, "readinessProbe": readiness}), json!({})),
        finds: vec![],
    }
}

pub fn image() -> Row {
    Row {
        before: template(json!({}), json!({})),
        after: template(json!({"image": crate::harness::image("v2")}), json!({})),
        finds: vec![Finds::File("/version", "v2\n")],
    }
}

pub fn labels_and_annotations() -> Row {
    let of = |value: &str| {
        let metadata = json!({"labels": {"tier": value}, "annotations": {"note": value}});
        with(template(json!({}), json!({})), json!({"template": {"metadata": metadata}}))
    };
    Row { before: of("silver"), after: of("gold"), finds: vec![] }
}

pub fn tolerations() -> Row {
    let of = |keys: &[&str]| {
        let tolerations: Vec<Value> = keys.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
        template(json!({}), json!({"tolerations": tolerations}))
    };
    Row { before: of(&["one"]), after: of(&["one", "two"]), finds: vec![] }
}

/// Of a restartable init container beside the others.
pub fn sidecar_image() -> Row {
    let of = |tag: &str| {
        let image = crate::harness::image(tag);
        let side = container("side", 8083, json!({"restartPolicy": "Always", "image": image}));
        template(json!({}), json!({"initContainers": [side]}))
    };
    Row { before: of("v1"), after: of("v2"), finds: vec![] }
}

pub fn sidecar_env() -> Row {
    let of = |mode: &str| {
        let env = json!([{"name": "PORT", "value": "8083"}, {"name": "MODE", "value": mode}]);
        let side = container("side", 8083, json!({"restartPolicy": "Always", "env": env}));
        template(json!({}), json!({"initContainers": [side]}))
    };
    Row { before: of("one"), after: of("two"), finds: vec![] }
}

/// Of an init container that runs once: its work must run again.
pub fn setup_env() -> Row {
    let of = |mode: &str| {
        let env = json!([{"name": "MODE", "value": mode}]);
        let once = container("setup", 8083, json!({"command": ["true"], "env": env}));
        template(json!({}), json!({"initContainers": [once]}))
    };
    Row { before: of("one"), after: of("two"), finds: vec![] }
}

pub fn ports() -> Row {
    Row {
        before: template(json!({}), json!({})),
        after: template(json!({"ports": [{"containerPort": 8080}]}), json!({})),
        finds: vec![],
    }
}

/// Image, environment, probe and the source of a volume at once.
pub fn everything() -> Row {
    let of = |tag: &str, word: &str, path: &str| {
        let app = json!({
            "image": crate::harness::image(tag),
            "env": [{"name": "PORT", "value": "8080"}, {"name": "MODE", "value": word}],
            "volumeMounts": [{"name": "map", "mountPath": "/map"}],
            "readinessProbe": {"httpGet": {"path": path}},
        });
        template(app, json!({"volumes": [{"name": "map", "configMap": {"name": word}}]}))
    };
    Row {
        before: of("v1", "one", "/readyz"),
        after: of("v2", "two", "/healthz"),
        finds: vec![Finds::Env("MODE", "two"), Finds::File("/map/file", "two"), Finds::File("/version", "v2\n")],
    }
}

/// What stands against a change in `InPlaceOnly`.
pub fn in_place_only(spec: Value) -> Value {
    with(spec, rolling_update(json!({"podUpdatePolicy": "InPlaceOnly"})))
}

/// Waits until a check of the Pod `web-0` holds.
pub async fn pod_becomes(space: &Space, what: &str, check: impl Fn(&Pod) -> Result) -> Result {
    eventually(seconds(PATIENCE_SECONDS), what, async || check(&space.pod("web-0").await?)).await
}

pub fn failed<T>(what: String) -> Result<T> {
    Err(Failure(what))
}

pub fn read(space: &Space, pod: &str, path: &str) -> Result<String> {
    file_in(space, pod, "app", path)
}
