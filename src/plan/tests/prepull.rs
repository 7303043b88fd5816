//! Images that are pulled before any Pod is touched.

use super::*;
use crate::model::snapshot::Refusal;
use crate::model::{HelperFacts, HelperImage};

fn pre_pull(rolling_update: Value) -> Value {
    let mut rolling_update = rolling_update;
    rolling_update["inPlaceUpdateStrategy"] = json!({"prePull": true});
    rolling_update
}

impl World {
    /// Pods of `app:v1` on nodes of their own, and a template of `app:v2`.
    fn pulling(replicas: i64, rolling_update: Value) -> World {
        let mut world = World::rolling(replicas, pre_pull(rolling_update));
        for (index, pod) in world.pods.iter_mut().enumerate() {
            pod.node = Some(format!("node-{index}").into());
        }
        world
    }

    /// Makes the helpers that the plan asks for, as Pods that their nodes have not looked at.
    fn make_helpers(&mut self) {
        let plan = self.plan();
        for action in plan.actions.iter().flatten() {
            let Action::CreateHelper { name, pod, .. } = action else { continue };
            let containers = pod.pointer("/spec/containers").and_then(Value::as_array).unwrap();
            let image = |container: &Value| HelperImage {
                image: container["image"].as_str().unwrap().into(),
                ..HelperImage::default()
            };
            self.helpers.push(PodFacts {
                name: name.clone(),
                uid: name.clone(),
                resource_version: "3".into(),
                created_at: Some(at(5)),
                node: pod["spec"]["nodeName"].as_str().map(Box::from),
                labels: [(names::PRE_PULL_LABEL.into(), "set".into())].into(),
                helper: Some(Box::new(HelperFacts {
                    owner_uid: "set".into(),
                    images: containers.iter().map(image).collect(),
                    rejected: None,
                })),
                ..PodFacts::default()
            });
        }
    }

    fn helper_ends(&mut self, index: usize) {
        self.helpers[index].phase = PodPhase::Failed;
        for image in &mut self.helpers[index].helper.as_mut().unwrap().images {
            image.pulled = true;
        }
    }

    fn helper_says(&mut self, index: usize, error: &str) {
        self.helpers[index].helper.as_mut().unwrap().images[0].error = Some(error.into());
    }
}

fn message(plan: &Plan) -> &str {
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    assert_eq!(found.reason.as_deref(), Some("WaitingForImage"), "{found:?}");
    found.message.as_deref().unwrap()
}

#[test]
fn the_next_nodes_have_the_image_before_a_pod_is_touched() {
    let mut world = World::pulling(2, json!({}));
    assert_eq!(deeds(&world.plan()), ["pull app:v2 on node-1", "pull app:v2 on node-0"]);
    world.make_helpers();
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(message(&plan).contains("node-1 pulls app:v2"), "{}", message(&plan));
    world.helper_ends(0);
    assert_eq!(deeds(&world.plan()), [format!("remove {}", world.helpers[0].name)]);
    world.helper_ends(1);
    let plan = world.plan();
    assert_eq!(plan.disruptions.iter().map(deed).collect::<Vec<_>>(), ["close web-1"]);
    let removed = plan.actions.iter().flatten().filter_map(|action| match action {
        Action::DeleteHelper { pulled, .. } => Some(pulled.clone()),
        _ => None,
    });
    let pulled: Vec<(Box<str>, Box<str>)> = removed.flatten().collect();
    assert_eq!(pulled.len(), 2);
    // What is remembered is not pulled again, and without it a helper looks again.
    world.helpers.clear();
    world.answers.pulled_images = pulled.into_iter().collect();
    assert_eq!(deeds(&world.plan()), ["close web-1"]);
    world.answers.pulled_images.clear();
    assert_eq!(deeds(&world.plan()), ["pull app:v2 on node-1", "pull app:v2 on node-0"]);
}

#[test]
fn an_image_that_one_node_cannot_pull_touches_no_pod_at_all() {
    let mut world = World::pulling(3, json!({"maxUnavailable": 2}));
    world.make_helpers();
    world.helper_ends(0);
    world.helper_ends(1);
    world.helper_says(2, "ErrImagePull: no such host");
    let plan = world.plan();
    assert!(plan.disruptions.is_empty(), "{plan:?}");
    let told = message(&plan);
    assert!(["app:v2", "node-0", "no such host"].iter().all(|part| told.contains(part)), "{told}");
    // It is made anew after a while, and no Pod goes in between.
    world.helpers[2].created_at = Some(at(70));
    let name = world.helpers[2].name.clone();
    assert!(deeds(&world.plan()).contains(&format!("remove {name}")));
    world.helpers.pop();
    assert!(world.plan().disruptions.is_empty());
    // The next template removes what nobody waits for.
    world.spec["template"] = template("app:v1");
    assert_eq!(deeds(&world.plan()).len(), 2);
    assert!(deeds(&world.plan()).iter().all(|deed| deed.starts_with("remove")));
}

#[test]
fn helpers_are_few_and_pods_beyond_them_wait() {
    let mut world = World::pulling(9, json!({"maxUnavailable": "100%"}));
    assert_eq!(deeds(&world.plan()).len(), 4);
    world.make_helpers();
    for index in 0..4 {
        world.helper_ends(index);
    }
    let plan = world.plan();
    let closed: Vec<String> = plan.disruptions.iter().map(deed).collect();
    assert_eq!(closed, ["close web-8", "close web-7", "close web-6", "close web-5"]);
}

#[test]
fn a_helper_that_is_refused_or_turned_away_is_told_and_the_rollout_waits() {
    let mut world = World::pulling(1, json!({}));
    let plan = world.plan();
    let Some(Action::CreateHelper { name, .. }) = plan.actions.iter().flatten().next() else { panic!("{plan:?}") };
    world.answers.refusals = vec![Refusal {
        object: format!("Pod {name}"),
        reason: "QuotaExceeded".into(),
        message: "exceeded quota: pods".into(),
    }];
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["pull app:v2 on node-0"]);
    assert!(message(&plan).contains("cannot pre-pull") && message(&plan).contains("exceeded quota"));
    world.answers.refusals.clear();
    world.make_helpers();
    world.helpers[0].phase = PodPhase::Failed;
    world.helpers[0].helper.as_mut().unwrap().rejected = Some("OutOfpods: no room".into());
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(message(&plan).contains("OutOfpods"), "{}", message(&plan));
    world.helpers[0].created_at = Some(at(30));
    assert_eq!(deeds(&world.plan()), [format!("remove {}", world.helpers[0].name)]);
}

#[test]
fn a_pod_that_cannot_run_does_not_wait_for_images() {
    let mut world = World::pulling(2, json!({}));
    // Ready at once after it was started.
    world.pods[1].started_at = Some(at(60));
    world.pods[0] = crashing(world.pods[0].clone());
    assert_eq!(deeds(&world.plan()), ["pull app:v2 on node-1", "patch web-0"]);
}

#[test]
fn only_new_images_are_pulled_and_only_where_a_rollout_goes() {
    let mut world = World::pulling(2, json!({}));
    world.spec["template"] = template("app:v1");
    world.spec["template"]["metadata"]["labels"]["tier"] = json!("gold");
    assert!(!deeds(&world.answered()).iter().any(|deed| deed.starts_with("pull")));
    for rolling_update in [json!({"paused": true}), json!({"partition": 2})] {
        assert_eq!(deeds(&World::pulling(2, rolling_update).plan()), [""; 0]);
    }
    let mut world = World::pulling(2, json!({"podUpdatePolicy": "ReCreate", "partition": 1}));
    assert_eq!(deeds(&world.plan()), ["pull app:v2 on node-1"]);
    world.make_helpers();
    world.spec["updateStrategy"]["rollingUpdate"] = json!({"paused": true});
    assert_eq!(deeds(&world.plan()), [format!("remove {}", world.helpers[0].name)]);
}

#[test]
fn a_helper_runs_nothing_fits_the_strictest_policy_and_is_nobody_elses_pod() {
    let mut world = World::rolling(1, pre_pull(json!({})));
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {
        "serviceAccountName": "db", "imagePullSecrets": [{"name": "key"}],
        "initContainers": [{"name": "setup", "image": "setup:v2"}],
        "containers": [{"name": "app", "image": "app:v2"}, {"name": "log", "image": "docker.io/library/app:v1"}],
    }});
    world.add_revision(&template, 3);
    world.spec["template"] = template;
    let plan = world.plan();
    let Some(Action::CreateHelper { pod, name, .. }) = plan.actions.iter().flatten().next() else { panic!("{plan:?}") };
    assert_eq!(deeds(&plan), ["pull app:v2 setup:v2 on node"]);
    assert!(crate::model::pod::parent_and_ordinal(name).is_none(), "{name}");
    for (path, expected) in [
        ("/metadata/labels/app", None),
        ("/metadata/labels/controller-revision-hash", None),
        ("/metadata/annotations/linkerd.io~1inject", Some(json!("disabled"))),
        ("/metadata/ownerReferences/0/uid", Some(json!("set"))),
        ("/metadata/ownerReferences/0/controller", None),
        ("/spec/nodeName", Some(json!("node"))),
        ("/spec/restartPolicy", Some(json!("Never"))),
        ("/spec/serviceAccountName", Some(json!("db"))),
        ("/spec/imagePullSecrets/0/name", Some(json!("key"))),
        ("/spec/automountServiceAccountToken", Some(json!(false))),
        ("/spec/tolerations/0/operator", Some(json!("Exists"))),
        ("/spec/securityContext/seccompProfile/type", Some(json!("RuntimeDefault"))),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", Some(json!(false))),
        ("/spec/containers/0/imagePullPolicy", Some(json!("IfNotPresent"))),
    ] {
        assert_eq!(pod.pointer(path), expected.as_ref(), "{path}");
    }
}

#[test]
fn a_pod_that_its_hook_has_out_of_service_goes_back_when_the_image_cannot_be_pulled() {
    let mut world = World::pulling(1, json!({}));
    world.spec["lifecycle"] = json!({"inPlaceUpdate": {"labelsHandler": {"hold": "true"}, "markPodNotReady": true}});
    world.pods[0].labels.insert("hold".into(), "true".into());
    world.pods[0].labels.insert(names::HOOK_STATE_LABEL.into(), "PreparingUpdate".into());
    world.pods[0].gate = Gate::Closed { since: Some(at(5)), reason: names::REASON_CONTAINER_REBUILDING.into() };
    world.pods[0] = lost(world.pods[0].clone());
    world.make_helpers();
    assert_eq!(deeds(&world.plan()), [""; 0], "it is being pulled");
    world.helper_says(0, "ErrImagePull: no such host");
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["open web-0"]);
    assert!(message(&plan).contains("no such host"));
}
