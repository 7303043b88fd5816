//! Templates, Pods and a strategic merge for this folder's tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::names;
use crate::inplace::env_annotations::variables_in_annotations;
use crate::model::pod::Running;
use crate::model::{ContainerFacts, ContainerKind, PodFacts, PodPhase};

/// Failures are seen in the test's output; no files are kept of them.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

pub fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// A template with one container of each kind.
pub fn three_kinds(app: &str, proxy: &str, setup: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "initContainers": [
                {"name": "setup", "image": setup},
                {"name": "proxy", "image": proxy, "restartPolicy": "Always"},
            ],
            "containers": [{"name": "app", "image": app}],
        },
    })
}

fn image() -> impl Strategy<Value = String> {
    prop_oneof![Just("app"), Just("app:v1"), Just("app:v2"), Just("docker.io/library/app:v1"), Just("r.io/app:v1")]
        .prop_map(str::to_owned)
}

fn words() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]", "[x-z]?", 0..3).prop_map(|map| json!(map))
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let env = proptest::collection::btree_map("[A-C]", prop_oneof![Just("1"), Just("$(A)"), Just("")], 0..3);
    let memory = proptest::option::of(prop_oneof![Just(json!("1Gi")), Just(json!("1024Mi")), Just(json!(5))]);
    let port = proptest::option::of(80..82_u16);
    (image(), env, memory, port, any::<bool>()).prop_map(move |(image, env, memory, port, probe)| {
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut container = json!({"name": name, "image": image, "env": env});
        if let Some(memory) = memory {
            container["resources"] = json!({"limits": {"memory": memory}});
        }
        if let Some(port) = port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if probe {
            container["readinessProbe"] = json!({"httpGet": {"port": 80}});
        }
        container
    })
}

/// Templates as users write them.
pub fn template() -> impl Strategy<Value = Value> {
    let containers = (container("app"), proptest::option::of(container("side")));
    let init = (proptest::option::of(container("setup")), proptest::option::of(container("proxy")));
    let volume = prop_oneof![
        Just(json!([])),
        Just(json!([{"name": "v"}])),
        Just(json!([{"name": "v", "configMap": {"name": "c"}}])),
        Just(json!([{"name": "v", "hostPath": {"path": "/x", "type": ""}}])),
    ];
    (words(), words(), containers, init, volume, proptest::option::of(0..3_i64)).prop_map(
        |(labels, annotations, (app, side), (setup, proxy), volumes, grace)| {
            let containers: Vec<Value> = [Some(app), side].into_iter().flatten().collect();
            let proxy = proxy.map(|mut proxy| {
                proxy["restartPolicy"] = json!("Always");
                proxy
            });
            let init: Vec<Value> = [setup, proxy].into_iter().flatten().collect();
            json!({
                "metadata": {"labels": labels, "annotations": annotations, "creationTimestamp": null},
                "spec": {
                    "containers": containers,
                    "initContainers": init,
                    "volumes": volumes,
                    "terminationGracePeriodSeconds": grace,
                },
            })
        },
    )
}

/// A template, and the same with other images, labels and annotations.
pub fn template_and_next() -> impl Strategy<Value = (Value, Value)> {
    let images = proptest::collection::vec(image(), 4);
    (template(), words(), words(), images).prop_map(|(old, labels, annotations, images)| {
        let mut new = old.clone();
        new["metadata"]["labels"] = labels;
        new["metadata"]["annotations"] = annotations;
        let mut images = images.into_iter();
        for list in ["containers", "initContainers"] {
            for container in new["spec"][list].as_array_mut().unwrap() {
                let runs_once = list == "initContainers" && container.get("restartPolicy").is_none();
                // The pull policy follows the tag, so it is written out to change nothing else.
                container["imagePullPolicy"] = json!("IfNotPresent");
                if !runs_once {
                    container["image"] = json!(images.next());
                }
            }
        }
        let mut old = old;
        for list in ["containers", "initContainers"] {
            for container in old["spec"][list].as_array_mut().unwrap() {
                container["imagePullPolicy"] = json!("IfNotPresent");
            }
        }
        (old, new)
    })
}

/// JSON that has some of a template's keys, and anything under them.
pub fn near_template() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("metadata"),
        Just("labels"),
        Just("spec"),
        Just("containers"),
        Just("initContainers"),
        Just("name"),
        Just("image"),
        Just("env"),
        Just("value"),
        Just("valueFrom"),
        Just("resources"),
        Just("limits"),
        Just("requests"),
        Just("ports"),
        Just("containerPort"),
        Just("livenessProbe"),
        Just("httpGet"),
        Just("volumes"),
        Just("projected"),
        Just("sources"),
        Just("affinity"),
        Just("serviceAccount"),
        Just("serviceAccountName"),
        Just("lifecycle"),
        Just("hostNetwork"),
        Just("x/y"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
        "[a-z:@/$(]{0,4}".prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>()),
        ]
    });
    (tree.clone(), tree).prop_map(|(metadata, spec)| json!({"metadata": metadata, "spec": spec}))
}

/// The Pod that the controller and admission make of a template, as JSON.
pub fn admitted_pod(template: &Value) -> Value {
    let mut pod = crate::inplace::with_defaults(template);
    let metadata = &mut pod["metadata"];
    for (key, value) in [
        ("name", json!("web-0")),
        ("uid", json!("u1")),
        ("resourceVersion", json!("7")),
        ("generation", json!(1)),
        ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
    ] {
        metadata[key] = value;
    }
    metadata["labels"][names::REVISION_LABEL] = json!("old");
    metadata["labels"][names::POD_NAME_LABEL] = json!("web-0");
    metadata["labels"]["injected"] = json!("yes");
    metadata["annotations"]["cni.example/ip"] = json!("10.0.0.1");
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = json!("default");
    spec["serviceAccount"] = json!("default");
    spec["nodeName"] = json!("n1");
    spec["hostname"] = json!("web-0");
    spec["subdomain"] = json!("web");
    spec["priority"] = json!(0);
    spec["preemptionPolicy"] = json!("PreemptLowerPriority");
    spec["readinessGates"] = json!([{"conditionType": names::READINESS_GATE}]);
    push(
        &mut spec["tolerations"],
        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
    );
    push(&mut spec["volumes"], json!({"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": []}}));
    push(&mut spec["volumes"], json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}));
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["resources"] = container.get("resources").cloned().unwrap_or(json!({}));
            let mount = json!({"name": "kube-api-access-x", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
            push(&mut container["volumeMounts"], mount);
        }
    }
    push(&mut spec["containers"], json!({"name": "mesh", "image": "mesh:v9"}));
    pod
}

fn push(list: &mut Value, entry: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(entry);
}

/// What is kept of a Pod (JSON) whose containers all run what its spec says.
pub fn facts(pod: &Value) -> PodFacts {
    let container = |value: &Value, init: bool| {
        let name: Box<str> = value["name"].as_str().unwrap().into();
        let kind = match (init, value.get("restartPolicy").is_some()) {
            (false, _) => ContainerKind::Main,
            (true, true) => ContainerKind::RestartableInit,
            (true, false) => ContainerKind::Init,
        };
        ContainerFacts {
            container_id: Some(format!("containerd://{name}-1").into()),
            image: value["image"].as_str().unwrap_or_default().into(),
            resources: Some(Box::new(crate::inplace::resize::amounts(&value["resources"]))),
            status_image: value["image"].as_str().map(Into::into),
            running: (kind != ContainerKind::Init).then_some(Running { since: Some(time("2026-01-01T00:00:05Z")) }),
            ready: true,
            env_in_annotations: variables_in_annotations(value),
            name,
            kind,
            ..ContainerFacts::default()
        }
    };
    let list = |field: &str| pod["spec"][field].as_array().cloned().unwrap_or_default();
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().into();
    let init = list("initContainers");
    let main = list("containers");
    PodFacts {
        namespace: "ns".into(),
        name: text("name"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: 1,
        observed_generation: Some(1),
        labels: pod["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into()))
            .collect(),
        phase: PodPhase::Running,
        containers: init
            .iter()
            .map(|value| container(value, true))
            .chain(main.iter().map(|value| container(value, false)))
            .collect(),
        ..PodFacts::default()
    }
}

/// What an apiserver makes of an object and a strategic merge patch.
pub fn merged(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    crate::sim::merge::merge(&mut target, patch);
    target
}

fn probe() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({"exec": {"command": ["a"]}})),
        Just(json!({"exec": {"command": ["b"]}, "periodSeconds": 3})),
        Just(json!({"httpGet": {"port": 80, "path": "/x"}})),
        Just(json!({"httpGet": {"port": "web", "httpHeaders": [{"name": "A", "value": "b"}]}})),
        Just(json!({"grpc": {"port": 1}, "terminationGracePeriodSeconds": 5})),
        Just(json!({"tcpSocket": {"port": 2}, "initialDelaySeconds": 1})),
    ]
    .boxed()
}

fn environment() -> BoxedStrategy<Value> {
    let source = prop_oneof![
        Just(json!({"value": "1"})),
        Just(json!({"value": "$(A)-$(B)"})),
        Just(json!({})),
        Just(json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})),
        Just(json!({"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}})),
        Just(json!({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}})),
    ];
    let names = Just(vec!["A", "B", "C", "D"]).prop_shuffle();
    (names, proptest::collection::vec(source, 0..4))
        .prop_map(|(names, sources)| {
            let named = names.into_iter().zip(sources).map(|(name, mut source)| {
                source["name"] = json!(name);
                source
            });
            named.collect()
        })
        .boxed()
}

fn mounts() -> BoxedStrategy<Value> {
    let mount = prop_oneof![
        Just(json!({"name": "one"})),
        Just(json!({"name": "two", "readOnly": true})),
        Just(json!({"name": "one", "mountPropagation": "None"})),
    ];
    proptest::collection::btree_map("/[a-c]", mount, 0..3)
        .prop_map(|mounts| {
            let with_path = mounts.into_iter().map(|(path, mut mount)| {
                mount["mountPath"] = json!(path);
                mount
            });
            with_path.collect()
        })
        .boxed()
}

fn amounts() -> BoxedStrategy<Value> {
    let cpu = prop_oneof![Just("100m"), Just("0.2"), Just("1")];
    let memory = prop_oneof![Just("64Mi"), Just("1Gi")];
    let limit = prop_oneof![Just("2"), Just("3")];
    // Always Burstable, so that the QoS class stays, and with the same amounts: none goes in place.
    (cpu, memory, limit)
        .prop_map(|(cpu, memory, limit)| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": limit}}))
        .boxed()
}

/// What a running container may take on a customised cluster.
fn changeable_container(name: &'static str) -> BoxedStrategy<Value> {
    let env_from = prop_oneof![
        Just(json!([])),
        Just(json!([{"configMapRef": {"name": "c"}}])),
        Just(json!([{"prefix": "P_", "secretRef": {"name": "s"}}]))
    ];
    (image(), environment(), env_from, mounts(), (probe(), probe()), amounts())
        .prop_map(move |(image, env, env_from, mounts, (liveness, readiness), resources)| {
            json!({
                "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "env": env, "envFrom": env_from,
                "volumeMounts": mounts, "livenessProbe": liveness, "readinessProbe": readiness, "resources": resources,
                "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            })
        })
        .boxed()
}

/// A volume of one type under each name, so that its type never changes under it.
fn changeable_volumes() -> BoxedStrategy<Value> {
    let one = prop_oneof![
        Just(Value::Null),
        Just(json!({"name": "one", "configMap": {"name": "a"}})),
        Just(
            json!({"name": "one", "configMap": {"name": "b", "items": [{"key": "k", "path": "p"}], "optional": true}})
        ),
    ];
    let two = prop_oneof![
        Just(Value::Null),
        Just(json!({"name": "two", "projected": {"sources": [{"secret": {"name": "s"}}]}})),
        Just(json!({"name": "two", "projected": {"sources": [{"configMap": {"name": "s"}}], "defaultMode": 256}})),
    ];
    let three = prop_oneof![Just(Value::Null), Just(json!({"name": "three", "emptyDir": {"medium": "Memory"}}))];
    (one, two, three)
        .prop_map(|(one, two, three)| [one, two, three].into_iter().filter(|it| !it.is_null()).collect())
        .boxed()
}

fn changeable_template() -> BoxedStrategy<Value> {
    let containers = (changeable_container("app"), changeable_container("side"), changeable_container("proxy"));
    (words(), words(), containers, changeable_volumes())
        .prop_map(|(labels, annotations, (app, side, mut proxy), volumes)| {
            proxy["restartPolicy"] = json!("Always");
            json!({
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "containers": [app, side],
                    "initContainers": [{"name": "setup", "image": "setup:v1"}, proxy],
                    "volumes": volumes,
                },
            })
        })
        .boxed()
}

/// Two templates between which a customised cluster's Pods can go in place.
pub fn changeable_templates() -> BoxedStrategy<(Value, Value)> {
    let tolerations = proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3);
    (changeable_template(), changeable_template(), tolerations, 0..4_usize)
        .prop_map(|(mut old, mut new, keys, kept)| {
            let all: Vec<Value> = keys.into_iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
            old["spec"]["tolerations"] = all[..kept.min(all.len())].into();
            new["spec"]["tolerations"] = all.into();
            (old, new)
        })
        .boxed()
}
