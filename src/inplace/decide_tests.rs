use serde_json::{Value, json};

use super::*;
use crate::inplace::samples;
use crate::model::{Abilities, Nodes, PodPhase};

fn on(abilities: &Abilities, old: &Value, new: &Value, pod: &PodFacts) -> Decision {
    let cluster = Cluster {
        abilities,
        in_place_only: false,
        rules: &Rules::default(),
        now: samples::time("2026-01-01T01:00:00Z"),
    };
    let contents = |template| Contents { template, claims: &[] };
    should_do_in_place_update(contents(old), contents(new), pod, &cluster)
}

fn decide(old: &Value, new: &Value, pod: &PodFacts) -> Decision {
    on(&Abilities::stock(), old, new, pod)
}

fn patch(decision: Decision) -> InPlacePatch {
    match decision {
        Decision::Patch(patch) => patch,
        other => panic!("{other:?}"),
    }
}

fn rebuilt(decision: &Decision) -> Vec<(&str, &str)> {
    match decision {
        Decision::Patch(patch) => patch
            .rebuild
            .iter()
            .map(|rebuild| (&*rebuild.container, rebuild.image.as_deref().unwrap_or_default()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn reasons(decision: Decision) -> String {
    match decision {
        Decision::Recreate { reasons } | Decision::Blocked { reasons } => reasons.join("; "),
        other => panic!("{other:?}"),
    }
}

/// An apiserver that said this, and node `n1` with a customised kubelet.
fn said(answers: &[(FieldKind, Can)]) -> Abilities {
    Abilities {
        apiserver: answers.iter().cloned().collect(),
        nodes: Nodes::Labelled(std::sync::Arc::new(["n1".into()].into())),
        by_hand: BTreeSet::new(),
    }
}

fn template() -> Value {
    samples::three_kinds("app:v1", "proxy:v1", "setup:v1")
}

fn pod() -> PodFacts {
    samples::facts(&samples::admitted_pod(&template()))
}

#[test]
fn nothing_differs() {
    let decision = decide(&template(), &template(), &pod());
    assert_eq!(rebuilt(&decision), []);
    assert!(matches!(decision, Decision::Patch(InPlacePatch { pace: Pace::Free, .. })));
}

#[test]
fn images_of_lasting_containers() {
    let new = samples::three_kinds("app:v2", "proxy:v2", "setup:v1");
    let decision = decide(&template(), &new, &pod());
    assert_eq!(rebuilt(&decision), [("proxy", "proxy:v2"), ("app", "app:v2")]);
    assert!(matches!(decision, Decision::Patch(InPlacePatch { pace: Pace::Gate, class: Class::Rebuild, .. })));
}

#[test]
fn labels_alone_touch_no_container() {
    let mut new = template();
    new["metadata"]["labels"]["tier"] = json!("gold");
    let decision = decide(&template(), &new, &pod());
    assert!(matches!(&decision, Decision::Patch(patch) if patch.pace == Pace::Free && patch.differences.len() == 1));
}

#[test]
fn a_static_difference_outweighs_the_rest() {
    let mut new = samples::three_kinds("app:v2", "proxy:v1", "setup:v2");
    new["spec"]["containers"][0]["command"] = json!(["run"]);
    let reasons = reasons(decide(&template(), &new, &pod()));
    assert!(reasons.contains("spec.containers[app].command: "), "{reasons}");
    assert!(reasons.contains("spec.initContainers[setup].image: "), "{reasons}");
    assert!(!reasons.contains("[app].image"), "{reasons}");
}

/// Admission may have the Pods pull from a mirror: no template asked for that image, so none patches it.
#[test]
fn an_image_that_admission_changed_is_left_alone() {
    let mut mirrored = pod();
    mirrored.containers.iter_mut().find(|container| &*container.name == "app").unwrap().image = "mirror/app:v1".into();
    assert_eq!(rebuilt(&decide(&template(), &template(), &mirrored)), []);
    let new = samples::three_kinds("app:v9", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &mirrored)), [("app", "app:v9")]);
}

/// Somebody set the new image by hand: the running container has it, no other one is to be waited for.
#[test]
fn an_image_that_the_pod_has_already_is_not_rebuilt() {
    let mut ahead = pod();
    ahead.containers.iter_mut().find(|container| &*container.name == "app").unwrap().image = "app:v9".into();
    let new = samples::three_kinds("app:v9", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &ahead)), []);
}

#[test]
fn another_spelling_of_an_image_is_no_change() {
    let new = samples::three_kinds("docker.io/library/app:v1", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &pod())), []);
}

#[test]
fn an_image_that_admission_gave_a_run_once_container_is_left_alone() {
    let mut mirrored = pod();
    mirrored.containers.iter_mut().find(|container| &*container.name == "setup").unwrap().image = "mirror/setup".into();
    assert_eq!(rebuilt(&decide(&template(), &template(), &mirrored)), []);
}

#[test]
fn a_pod_without_the_container() {
    let mut without = pod();
    without.containers.retain(|container| &*container.name != "proxy");
    assert!(reasons(decide(&template(), &template(), &without)).starts_with("spec.initContainers[proxy]: "));
    let mut other_kind = pod();
    other_kind.containers.iter_mut().find(|container| &*container.name == "proxy").unwrap().kind = ContainerKind::Init;
    assert!(reasons(decide(&template(), &template(), &other_kind)).starts_with("spec.initContainers[proxy]: "));
}

#[test]
fn a_pod_that_has_ended() {
    for phase in [PodPhase::Failed, PodPhase::Succeeded] {
        let ended = PodFacts { phase, ..pod() };
        assert!(reasons(decide(&template(), &template(), &ended)).contains("has ended"));
    }
}

#[test]
fn claim_templates() {
    let template = template();
    let with = |claims| Contents { template: &template, claims };
    let abilities = Abilities::stock();
    let cluster = Cluster {
        abilities: &abilities,
        in_place_only: false,
        rules: &Rules::default(),
        now: samples::time("2026-01-01T01:00:00Z"),
    };
    let added = should_do_in_place_update(with(&["data"]), with(&["data", "log"]), &pod(), &cluster);
    assert!(reasons(added).starts_with("volumeClaimTemplates[log]: claim template added"));
    let removed = should_do_in_place_update(with(&["data", "log"]), with(&["data"]), &pod(), &cluster);
    assert!(reasons(removed).starts_with("volumeClaimTemplates[log]: claim template removed"));
    assert_eq!(rebuilt(&should_do_in_place_update(with(&["a", "b"]), with(&["b", "a"]), &pod(), &cluster)), []);
}

/// image + env + probe + configMap at once, as users do it.
fn everything() -> (Value, Value) {
    let mut old = template();
    old["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "a"}]);
    old["spec"]["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["a"]}});
    old["spec"]["volumes"] = json!([{"name": "conf", "configMap": {"name": "one"}}]);
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("app:v2");
    new["spec"]["containers"][0]["env"][0]["value"] = json!("b");
    new["spec"]["containers"][0]["readinessProbe"]["exec"]["command"] = json!(["b"]);
    new["spec"]["volumes"][0]["configMap"]["name"] = json!("two");
    (old, new)
}

fn scheduled() -> PodFacts {
    PodFacts { node: Some("n1".into()), ..pod() }
}

#[test]
fn a_stock_cluster_names_every_field_that_it_does_not_take() {
    let (old, new) = everything();
    let no = || Can::No("this apiserver does not take it".into());
    let stock = said(&[(FieldKind::Env, no()), (FieldKind::Probes, no()), (FieldKind::VolumeSources, no())]);
    let reasons = reasons(on(&stock, &old, &new, &scheduled()));
    for path in [
        "spec.containers[app].env[MODE].value: ",
        "spec.containers[app].readinessProbe.exec.command: ",
        "spec.volumes[conf].configMap.name: ",
    ] {
        assert!(reasons.contains(path) && reasons.contains("this apiserver"), "{reasons}");
    }
    assert!(!reasons.contains("image"), "{reasons}");
    let blocked = Cluster {
        abilities: &stock,
        in_place_only: true,
        rules: &Rules::default(),
        now: samples::time("2026-01-01T01:00:00Z"),
    };
    let contents = |template| Contents { template, claims: &[] };
    let decision = should_do_in_place_update(contents(&old), contents(&new), &scheduled(), &blocked);
    assert!(matches!(decision, Decision::Blocked { reasons } if reasons.len() == 3));
}

#[test]
fn a_customised_cluster_takes_them_all_in_one_patch() {
    let (old, new) = everything();
    let custom = said(&FieldKind::CUSTOMISED.map(|kind| (kind, Can::Yes)));
    let patch = patch(on(&custom, &old, &new, &scheduled()));
    assert_eq!((patch.class, patch.pace), (Class::Rebuild, Pace::Gate));
    assert_eq!(patch.rebuild.len(), 1);
    assert_ne!(patch.rebuild[0].old_fields, patch.rebuild[0].new_fields);
    assert_eq!(
        assemble(&patch.operations),
        json!({
            "containers": [{
                "name": "app", "image": "app:v2",
                "env": [{"name": "MODE", "value": "b", "valueFrom": null}],
                "$setElementOrder/env": [{"name": "MODE"}],
                "readinessProbe": {
                    "$patch": "replace", "exec": {"command": ["b"]},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
            }],
            "volumes": [{
                "name": "conf", "$retainKeys": ["configMap", "name"],
                "configMap": {"$patch": "replace", "name": "two", "defaultMode": 420},
            }],
        })
    );
    // The same Pod on a node without the label is as on a stock cluster.
    let elsewhere = PodFacts { node: Some("n2".into()), ..pod() };
    assert!(reasons(on(&custom, &old, &new, &elsewhere)).contains("node n2 has no label"));
}

#[test]
fn what_nobody_knows_is_asked_kind_by_kind() {
    let (old, new) = everything();
    let Decision::Ask(inquiries) = on(&said(&[(FieldKind::Env, Can::Yes)]), &old, &new, &scheduled()) else {
        panic!("nothing is asked")
    };
    let kinds: Vec<Vec<FieldKind>> = inquiries.iter().map(|inquiry| inquiry.kinds.iter().copied().collect()).collect();
    assert_eq!(kinds, [[FieldKind::VolumeSources], [FieldKind::Probes]]);
    assert!(inquiries[0].spec.get("containers").is_none() && inquiries[1].spec.get("volumes").is_none());
    // Where the Pod goes anyway, nobody needs to know.
    let mut fixed = new.clone();
    fixed["spec"]["hostNetwork"] = json!(true);
    assert!(matches!(on(&said(&[]), &old, &fixed, &scheduled()), Decision::Recreate { .. }));
}

#[test]
fn a_mount_is_asked_about_with_its_volume() {
    let old = template();
    let mut new = old.clone();
    new["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    new["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let Decision::Ask(inquiries) = on(&said(&[]), &old, &new, &scheduled()) else { panic!("nothing is asked") };
    assert_eq!(inquiries.len(), 1);
    assert_eq!(inquiries[0].kinds, [FieldKind::VolumeMounts, FieldKind::Volumes].into());
}

#[test]
fn a_policys_denial_is_no_answer() {
    let (old, new) = everything();
    let denied = Can::Denied { reason: "AdmissionDenied".into(), message: "no".into() };
    let decision = on(&said(&[(FieldKind::Env, denied)]), &old, &new, &scheduled());
    assert!(matches!(decision, Decision::Denied { message, .. } if &*message == "no"));
}

fn with_resources(resources: Value, policy: Value) -> Value {
    let mut template = template();
    template["spec"]["containers"][0]["resources"] = resources;
    template["spec"]["containers"][0]["resizePolicy"] = policy;
    template
}

#[test]
fn resources_go_through_resize_and_keep_the_container_where_the_policy_lets_them() {
    let restart = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let old = with_resources(
        json!({"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "50m"}}),
        restart.clone(),
    );
    let more_cpu = with_resources(
        json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "50m"}}),
        restart.clone(),
    );
    let pod = samples::facts(&samples::admitted_pod(&old));
    let live = patch(decide(&old, &more_cpu, &pod));
    assert_eq!((live.class, live.pace, live.rebuild.len()), (Class::Dynamic, Pace::Slot, 0));
    assert_eq!(live.operations, []);
    assert_eq!(
        assemble(&live.resize)["containers"][0]["resources"],
        json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}})
    );
    let more_memory =
        with_resources(json!({"limits": {"cpu": "100m", "memory": "128Mi"}, "requests": {"cpu": "50m"}}), restart);
    let rebuild = patch(decide(&old, &more_memory, &pod));
    assert_eq!((rebuild.class, rebuild.pace, rebuild.rebuild.len()), (Class::Rebuild, Pace::Gate, 1));
    assert_ne!(rebuild.rebuild[0].old_fields, rebuild.rebuild[0].new_fields);
    // Half way: the Pod has the resources already, its label does not say so yet.
    let resized = samples::facts(&samples::admitted_pod(&more_cpu));
    let rest = patch(decide(&old, &more_cpu, &resized));
    assert_eq!(rest.resize, []);
    assert_eq!(rest.resized.len(), 1);
    // The same where a LimitRange has filled in what the templates leave open.
    let mut filled = more_cpu.clone();
    filled["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi".into();
    let open = |template: &Value| {
        let mut open = template.clone();
        open["spec"]["containers"][0]["resources"]["limits"].as_object_mut().unwrap().remove("memory");
        open
    };
    let rest = patch(decide(&open(&old), &open(&more_cpu), &samples::facts(&samples::admitted_pod(&filled))));
    assert_eq!((rest.resize.len(), rest.resized.len()), (0, 1));
}

#[test]
fn resources_that_need_a_new_pod() {
    let old = with_resources(json!({"requests": {"cpu": "50m"}}), json!([]));
    let pod = samples::facts(&samples::admitted_pod(&old));
    let both = json!({"cpu": "1", "memory": "1Gi"});
    let mut guaranteed = with_resources(json!({"limits": both}), json!([]));
    guaranteed["spec"]["initContainers"] = json!([]);
    let mut alone = old.clone();
    alone["spec"]["initContainers"] = json!([]);
    assert!(reasons(decide(&alone, &guaranteed, &pod)).contains("QoS class"));
    let disk = with_resources(json!({"requests": {"cpu": "50m", "ephemeral-storage": "1Gi"}}), json!([]));
    assert!(reasons(decide(&old, &disk, &pod)).contains("ephemeral-storage"));
    let policy = with_resources(
        json!({"requests": {"cpu": "50m"}}),
        json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
    );
    assert!(reasons(decide(&old, &policy, &pod)).contains("resizePolicy"));
}

/// An apiserver refuses such a resize ("resource limits cannot be removed"): a Pod is not to be taken down to learn that.
#[test]
fn a_limit_or_request_that_goes_takes_a_new_pod() {
    let burstable = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "50m", "memory": "64Mi"}});
    let old = with_resources(burstable.clone(), json!([]));
    let pod = samples::facts(&samples::admitted_pod(&old));
    for gone in ["/limits/cpu", "/limits/memory", "/requests/cpu"] {
        let mut less = burstable.clone();
        let (list, name) = gone.rsplit_once('/').unwrap();
        less.pointer_mut(list).unwrap().as_object_mut().unwrap().remove(name);
        // A request that goes beside its limit becomes as much as the limit, and is changed.
        let taken = decide(&old, &with_resources(less, json!([])), &pod);
        match gone {
            "/requests/cpu" => assert!(patch(taken).class == Class::Dynamic),
            _ => assert!(reasons(taken).contains("removes none"), "{gone}"),
        }
    }
    let none = with_resources(json!({"requests": {"cpu": "50m", "memory": "64Mi"}}), json!([]));
    assert!(reasons(decide(&old, &none, &pod)).contains("spec.containers[app].resources.limits[cpu]"));
}

#[test]
fn tolerations_are_added_and_never_lost() {
    let one = json!({"key": "a", "operator": "Exists"});
    let two = json!({"key": "b", "operator": "Exists"});
    let with = |tolerations: Value| {
        let mut template = template();
        template["spec"]["tolerations"] = tolerations;
        template
    };
    let added = patch(decide(&with(json!([one])), &with(json!([one, two])), &pod()));
    assert_eq!((added.class, added.pace), (Class::Dynamic, Pace::Free));
    assert_eq!(added.added_tolerations, std::slice::from_ref(&two));
    assert!(reasons(decide(&with(json!([one, two])), &with(json!([one])), &pod())).contains("loses none"));
    assert!(reasons(decide(&with(json!([one])), &template(), &pod())).contains("spec.tolerations"));
}

/// A claim template of the same name is what the Pod mounts.
#[test]
fn a_volume_that_a_claim_stands_for_is_not_patched() {
    let mut old = template();
    old["spec"]["volumes"] = json!([{"name": "data", "configMap": {"name": "a"}}]);
    let mut new = old.clone();
    new["spec"]["volumes"][0]["configMap"]["name"] = json!("b");
    let abilities = Abilities::customised();
    let cluster = Cluster {
        abilities: &abilities,
        in_place_only: false,
        rules: &Rules::default(),
        now: samples::time("2026-01-01T01:00:00Z"),
    };
    let contents = |template| Contents { template, claims: &["data"] };
    let decision = should_do_in_place_update(contents(&old), contents(&new), &pod(), &cluster);
    assert!(reasons(decision).contains("claim template"));
}
