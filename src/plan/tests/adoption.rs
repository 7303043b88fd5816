//! Pods and revisions of a native StatefulSet that was deleted after this set was made.

use super::*;

/// Three Pods of a native StatefulSet, whose revision was stored with the apiserver's defaults, and a set with the same
/// template that made a revision of its own before it saw them.
fn taken_over(strategy: Value) -> World {
    let mut world = World::settled(3, json!({}));
    world.spec["updateStrategy"] = strategy;
    let mut stored = template("app:v1");
    stored["spec"]["restartPolicy"] = json!("Always");
    stored["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    stored["$patch"] = json!("replace");
    world.revisions.push(RevisionFacts {
        name: "web-5d4f9".into(),
        uid: "native".into(),
        resource_version: "1".into(),
        hash: "5d4f9".into(),
        number: 1,
        controller: Some(owner()),
        terminating: false,
        data: Arc::new(json!({"spec": {"template": stored}})),
        noted_claims: Some("{}".into()),
    });
    for pod in &mut world.pods {
        pod.labels.insert(names::REVISION_LABEL.into(), "web-5d4f9".into());
    }
    world
}

#[test]
fn pods_on_a_revision_that_means_the_same_are_relabelled_under_any_strategy() {
    for strategy in [json!({"type": "OnDelete"}), json!({"rollingUpdate": {"paused": true}}), json!({})] {
        let world = taken_over(strategy.clone());
        let plan = world.plan();
        let patched: Vec<&Action> = plan.actions.iter().flatten().collect();
        assert_eq!((patched.len(), plan.disruptions.len()), (3, 0), "{strategy}: {plan:?}");
        for action in patched {
            let Action::PatchPod { patch, why: PatchWhy::Metadata, revision, .. } = action else {
                panic!("{strategy}: {action:?}");
            };
            assert!(world.status.update_revision.as_deref().unwrap().ends_with(&**revision));
            assert_eq!(patch.pointer("/metadata/labels").unwrap(), &json!({names::REVISION_LABEL: revision}));
            assert_eq!(patch.get("spec"), None);
        }
    }
}

#[test]
fn a_revision_with_other_claims_does_not_mean_the_same() {
    let mut world = taken_over(json!({"type": "OnDelete"}));
    world.revisions.last_mut().unwrap().noted_claims = Some(r#"{"data": null}"#.into());
    let plan = world.plan();
    for action in plan.actions.iter().flatten() {
        assert!(matches!(action, Action::PatchPod { revision, .. } if &**revision == "5d4f9"), "{action:?}");
    }
    assert_eq!(plan.status.updated_replicas, 0);
}

#[test]
fn the_pods_of_a_running_stateful_set_are_to_be_adopted_and_not_deleted() {
    let mut snapshot = World::settled(1, json!({})).snapshot();
    let (name, theirs) = snapshot.pods.pop_first().unwrap();
    let mut theirs = PodFacts::clone(&theirs);
    theirs.controller = Some(OwnerFacts {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        name: "web".into(),
        uid: "other".into(),
    });
    snapshot.foreign.insert(name, Arc::new(theirs));
    let plan = plan(&snapshot);
    let how = "kubectl delete asts web --cascade=orphan, then kubectl asts adopt statefulset/web";
    let told = |event: &&PlannedEvent| event.reason == "ForeignPod" && event.message.contains(how);
    assert!(plan.events.iter().any(|event| told(&event)), "{:?}", plan.events);
    let progressing = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    assert!(progressing.message.as_deref().is_some_and(|text| text.contains(how)), "{progressing:?}");
}
