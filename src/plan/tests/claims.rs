//! Claims that are about to go, and those that a Pod uses meanwhile.

use super::*;
use crate::model::ClaimFacts;
use crate::model::claim::ClaimOwner;

/// A set with claims whose Pod 0 has its claim, which this one owns.
fn owned_by(uid: &str, our_group: bool) -> World {
    let mut world = World::settled(1, json!({}));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    world.revisions[0].data = Arc::new(revision_data(&template("app:v1"), ["data"]));
    world.claims = vec![ClaimFacts {
        name: "data-web-0".into(),
        uid: "claim".into(),
        resource_version: "5".into(),
        made_for: Some("web".into()),
        owners: vec![ClaimOwner {
            kind: names::KIND.into(),
            name: "web".into(),
            uid: uid.into(),
            controller: false,
            our_group,
        }],
        ..ClaimFacts::default()
    }];
    world
}

#[test]
fn a_pod_waits_while_its_claim_goes_with_a_dead_set_of_the_same_name() {
    let mut dead = owned_by("dead", true);
    dead.pods.clear();
    let plan = dead.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    assert_eq!(found.reason.as_deref(), Some("WaitingForClaim"));
    let message = found.message.as_deref().unwrap();
    assert!(message.contains("claim data-web-0") && message.contains("earlier set web"), "{message}");
    assert!(plan.wake_at.is_some());

    for mut other in [owned_by("set", true), owned_by("dead", false)] {
        other.pods.clear();
        assert_eq!(deeds(&other.plan())[0], "create web-0 app:v1");
    }
}

#[test]
fn a_claim_that_a_pod_uses_is_taken_from_a_dead_set_of_the_same_name() {
    let plan = owned_by("dead", true).plan();
    assert_eq!(deeds(&plan), ["own data-web-0"]);
    let Action::PatchClaim { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(patch.pointer("/metadata/ownerReferences"), Some(&json!([{"$patch": "delete", "uid": "dead"}])));
}

/// Orange-OpenSource/casskop#316, instaclustr/cassandra-operator#402: after a restart an old view showed the deletion of
/// an earlier set of the name, and the claims of the present one were deleted.
#[test]
fn a_set_that_is_seen_to_be_deleted_leaves_its_claims_alone() {
    let mut world = owned_by("dead", true);
    world.spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let mut snapshot = world.snapshot();
    snapshot.set.terminating = true;
    assert_eq!(deeds(&plan(&snapshot)), [""; 0]);
}

/// instaclustr/cassandra-operator#407: an old view showed a Pod that was scaled away, and the claim of the present Pod of
/// its name was deleted. Here a claim is handed to the very Pod that goes with it, if it is still the claim that was seen.
#[test]
fn a_claim_goes_with_the_very_pod_that_was_seen_to_be_scaled_away() {
    let mut world = owned_by("set", true);
    world.spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete"});
    world.spec["replicas"] = json!(0);
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["own data-web-0"], "before the Pod goes");
    let Action::PatchClaim { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(patch.pointer("/metadata/uid"), Some(&json!("claim")));
    assert_eq!(patch.pointer("/metadata/resourceVersion"), Some(&json!("5")));
    let owners = patch.pointer("/metadata/ownerReferences").and_then(Value::as_array).unwrap();
    let pod = owners.iter().find(|owner| owner["kind"] == "Pod").unwrap();
    assert_eq!((&pod["name"], &pod["uid"]), (&json!("web-0"), &json!("uid-0")));
}

#[test]
fn a_claim_that_is_deleted_under_a_running_pod_is_told() {
    let mut world = owned_by("set", true);
    let told = |plan: &Plan| plan.events.iter().filter(|event| event.reason == "ClaimIsBeingDeleted").count();
    assert_eq!(told(&world.plan()), 0);
    world.claims[0].terminating = true;
    let plan = world.plan();
    assert_eq!(told(&plan), 1);
    assert!(plan.events[0].warning && plan.events[0].message.contains("data-web-0"), "{:?}", plan.events);
}

/// Somebody drains a node, or a rollout has just deleted it, and then it is condemned: its claims have to go with it too.
#[test]
fn claims_of_a_condemned_pod_that_ends_already_are_handed_over() {
    for order in ["Parallel", "OrderedReady"] {
        let mut world = owned_by("set", true);
        world.spec["podManagementPolicy"] = json!(order);
        world.spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete"});
        world.spec["ordinals"] = json!({"start": 1});
        world.pods.push(pod(1, "app:v1"));
        world.pods[0].deletion = Some(at(1));
        assert_eq!(deeds(&world.plan()), ["own data-web-0"], "{order}");
        world.spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete"});
        assert_eq!(deeds(&world.plan()), [""; 0], "{order}: it stays");
    }
}

/// A Pod that stays on its old revision mounts no claim of a template that came since: a volume of it would stand unused.
#[test]
fn no_claim_is_made_that_its_pod_does_not_mount() {
    let mut world = World::settled(1, json!({"paused": true}));
    world.revisions[0].data = Arc::new(revision_data(&template("app:v1"), ["data"]));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}, {"metadata": {"name": "log"}}]);
    world.add_revision(&template("app:v1"), 2);
    world.revisions[1].data = Arc::new(revision_data(&template("app:v1"), ["data", "log"]));
    world.pods[0].node = None;
    assert_eq!(deeds(&world.plan()), ["claim data-web-0"]);
}

/// What a native set made has no annotation of ours, and is the garbage collector's as long as the set owns it.
#[test]
fn a_claim_without_a_mark_is_let_go_where_the_policy_says_so() {
    let mut world = owned_by("set", true);
    world.claims[0].name = "data-web-7".into();
    for (made_for, deeds_of_it) in
        [(None, vec!["own data-web-7"]), (Some("web"), vec!["own data-web-7"]), (Some("x"), vec![])]
    {
        world.claims[0].made_for = made_for.map(Box::from);
        let plan = world.plan();
        let all = deeds(&plan);
        assert_eq!(all.iter().filter(|deed| deed.contains("web-7")).collect::<Vec<_>>(), deeds_of_it, "{made_for:?}");
    }
    world.claims[0].made_for = Some("web".into());
    let other = ClaimOwner {
        uid: "other".into(),
        kind: "Backup".into(),
        controller: true,
        ..world.claims[0].owners[0].clone()
    };
    world.claims[0].owners.push(other);
    assert!(!deeds(&world.plan()).contains(&"own data-web-7".to_owned()), "another controller has it");
}
