//! The patches of updates in place, applied by the real apiserver: to a PodTemplate, which holds
//! the same spec as a Pod and takes every change of it.

use asts::inplace::operations::assemble;
use asts::inplace::{Cluster, Contents, Decision, should_do_in_place_update};
use asts::inplace::{Rules, differences, with_defaults};
use asts::model::{Abilities, ContainerFacts, ContainerKind, PodFacts};
use k8s_openapi::api::core::v1::PodTemplate;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{Context, Failure, Result, Space};
use crate::{ensure, test_list};

test_list![
    an_environment_is_merged_with_order_and_switched_sources,
    mounts_are_merged_by_path,
    probes_switch_their_handlers,
    volumes_come_go_and_get_other_sources,
    resources_are_merged,
];

fn template(container: Value, volumes: Value) -> Value {
    let mut app = json!({"name": "app", "image": "docker.io/library/asts-test:v1", "imagePullPolicy": "IfNotPresent"});
    crate::harness::manifest::merge(&mut app, container);
    let spec = json!({"restartPolicy": "Always", "containers": [app], "volumes": volumes});
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}

/// What is beside the template's own in a running Pod.
fn injected(template: &Value) -> Value {
    let mut found = template.clone();
    let app = &mut found["spec"]["containers"][0];
    for (list, entry) in [
        ("env", json!({"name": "INJECTED", "value": "yes"})),
        ("volumeMounts", json!({"name": "token", "mountPath": "/token"})),
    ] {
        if app[list].is_null() {
            app[list] = json!([]);
        }
        app[list].as_array_mut().into_iter().for_each(|list| list.insert(0, entry.clone()));
    }
    let volumes = found["spec"]["volumes"].as_array_mut();
    volumes.into_iter().for_each(|list| list.insert(0, json!({"name": "token", "emptyDir": {}})));
    found
}

/// Takes the entry of that name out of a list.
fn taken(list: &mut Value, name: &str) -> Option<Value> {
    let list = list.as_array_mut()?;
    let at = list.iter().position(|entry| entry["name"] == name)?;
    Some(list.remove(at))
}

async fn merged(space: &Space, name: &str, old: &Value, new: &Value) -> Result {
    let pod = PodFacts {
        name: name.into(),
        containers: vec![ContainerFacts { name: "app".into(), kind: ContainerKind::Main, ..ContainerFacts::default() }],
        ..PodFacts::default()
    };
    let contents = |template| Contents { template, claims: &[] };
    let abilities = Abilities::customised();
    let cluster =
        Cluster { abilities: &abilities, in_place_only: false, rules: &Rules::default(), now: jiff::Timestamp::now() };
    let decision = should_do_in_place_update(contents(old), contents(new), &pod, &cluster);
    let Decision::Patch(update) = decision else { return Err(Failure(format!("{decision:?}"))) };
    let spec = assemble(update.operations.iter().chain(&update.resize));
    let object: PodTemplate = serde_json::from_value(json!({"metadata": {"name": name}, "template": injected(old)}))?;
    let templates = space.api::<PodTemplate>();
    templates.create(&PostParams::default(), &object).await?;
    let patch = Patch::Strategic(json!({"template": {"spec": spec}}));
    let patched = templates.patch(name, &PatchParams::default(), &patch).await?;
    let mut found = serde_json::to_value(patched.template.context("the template")?)?;
    let mut wanted = injected(new);
    // Where the injected variable stands among the others means nothing.
    let injected = [&mut found, &mut wanted].map(|side| taken(&mut side["spec"]["containers"][0]["env"], "INJECTED"));
    ensure!(injected[0] == injected[1], "what was injected is {:?}", injected[0]);
    let left = differences(&found, &wanted);
    ensure!(left.is_empty(), "{left:#?}\nafter {spec:#}");
    let names = |template: &Value| -> Vec<String> {
        let env = with_defaults(template)["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        env.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
    };
    ensure!(names(&found) == names(new), "the order is {:?}, after {spec:#}", names(&found));
    Ok(())
}

async fn an_environment_is_merged_with_order_and_switched_sources(space: Space) -> Result {
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let field = |name: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    let secret = |name: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    let cases = [
        (json!([value("A", "1")]), json!([value("A", "2")])),
        (json!([value("A", "1"), value("B", "$(A)")]), json!([value("B", "$(A)"), value("A", "1")])),
        (json!([value("A", "1")]), json!([field("A")])),
        (json!([field("A")]), json!([value("A", "1")])),
        (json!([field("A"), value("C", "1")]), json!([value("B", "1"), secret("A")])),
        (json!([value("A", "1")]), json!([{"name": "A"}])),
        (json!([value("A", "1"), value("B", "2")]), json!([])),
        (json!([]), json!([value("B", "2"), value("A", "$(B)")])),
    ];
    for (index, (old, new)) in cases.into_iter().enumerate() {
        let of = |env: Value| template(json!({"env": env}), json!([]));
        merged(&space, &format!("env-{index}"), &of(old), &of(new)).await?;
    }
    let from = |sources: Value| template(json!({"envFrom": sources}), json!([]));
    let sources = json!([{"configMapRef": {"name": "a"}}, {"prefix": "P_", "secretRef": {"name": "b"}}]);
    merged(&space, "env-from", &from(json!([{"configMapRef": {"name": "c"}}])), &from(sources.clone())).await?;
    merged(&space, "no-env-from", &from(sources), &from(json!([]))).await
}

async fn mounts_are_merged_by_path(space: Space) -> Result {
    let volumes = json!([{"name": "one", "emptyDir": {}}, {"name": "two", "emptyDir": {}}]);
    let of = |mounts: Value| template(json!({"volumeMounts": mounts}), volumes.clone());
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let read_only = json!({"name": "one", "mountPath": "/a", "readOnly": true, "subPath": "x"});
    let cases = [
        (json!([mount("one", "/a")]), json!([mount("two", "/a")])),
        (json!([read_only]), json!([mount("one", "/a")])),
        (json!([mount("one", "/a"), mount("one", "/b")]), json!([mount("one", "/b"), mount("two", "/c")])),
        (json!([mount("one", "/a")]), json!([])),
    ];
    for (index, (old, new)) in cases.into_iter().enumerate() {
        merged(&space, &format!("mounts-{index}"), &of(old), &of(new)).await?;
    }
    Ok(())
}

async fn probes_switch_their_handlers(space: Space) -> Result {
    let of = |probe: Value| template(json!({"readinessProbe": probe, "livenessProbe": probe}), json!([]));
    let cases = [
        (json!({"exec": {"command": ["a"]}, "periodSeconds": 3}), json!({"httpGet": {"port": 80}})),
        (json!({"httpGet": {"port": 80, "path": "/x"}}), json!({"tcpSocket": {"port": 80}})),
        (json!({"grpc": {"port": 80, "service": "x"}}), json!({"grpc": {"port": 80}})),
        (json!({"exec": {"command": ["a", "b"]}}), Value::Null),
        (Value::Null, json!({"exec": {"command": ["a"]}})),
    ];
    for (index, (old, new)) in cases.into_iter().enumerate() {
        merged(&space, &format!("probes-{index}"), &of(old), &of(new)).await?;
    }
    Ok(())
}

async fn volumes_come_go_and_get_other_sources(space: Space) -> Result {
    let of = |volumes: Value| template(json!({}), volumes);
    let config = |name: &str| json!({"name": "v", "configMap": {"name": name}});
    let items =
        json!({"name": "v", "configMap": {"name": "a", "optional": true, "items": [{"key": "k", "path": "p"}]}});
    let sources = |of: &str| json!({"name": "v", "projected": {"sources": [{of: {"name": "x"}}], "defaultMode": 256}});
    let cases = [
        (json!([config("a")]), json!([config("b")])),
        (json!([items]), json!([config("a")])),
        (json!([sources("secret")]), json!([sources("configMap")])),
        (json!([config("a")]), json!([{"name": "w", "emptyDir": {}}])),
        (json!([]), json!([{"name": "w", "persistentVolumeClaim": {"claimName": "c"}}, config("a")])),
    ];
    for (index, (old, new)) in cases.into_iter().enumerate() {
        merged(&space, &format!("volumes-{index}"), &of(old), &of(new)).await?;
    }
    Ok(())
}

async fn resources_are_merged(space: Space) -> Result {
    let of = |resources: Value| template(json!({"resources": resources}), json!([]));
    let gpu = json!({"limits": {"cpu": "1", "nvidia.com/gpu": "1"}, "requests": {"cpu": "100m"}});
    let more = json!({"limits": {"cpu": "2", "nvidia.com/gpu": "1"}, "requests": {"cpu": "200m", "memory": "1Mi"}});
    merged(&space, "resources", &of(gpu), &of(more)).await
}
