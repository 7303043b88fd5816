//! Claims in a rollout, and what revisions know of them.

use super::*;
use crate::model::ClaimFacts;
use crate::model::revision::add_claim_sizes;
use crate::model::snapshot::Refusal;

const MIB: u128 = 1 << 20;

/// `data-web-N` with this request, and as much capacity.
fn claim(ordinal: i64, mebibytes: u128) -> ClaimFacts {
    let name: Box<str> = format!("data-web-{ordinal}").into();
    ClaimFacts {
        uid: name.clone(),
        name,
        resource_version: "7".into(),
        made_for: Some("web".into()),
        requested_bytes: Some(mebibytes * MIB),
        capacity_bytes: Some(mebibytes * MIB),
        ..ClaimFacts::default()
    }
}

fn claim_template(name: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}}})
}

fn data_of(image: &str, size: &str) -> Value {
    let mut data = revision_data(&template(image), ["data"]);
    add_claim_sizes(&mut data, &[("data".into(), json!(size))].into());
    data
}

impl World {
    /// The plan, with an apiserver that cannot be asked about templates.
    pub(super) fn answered(&self) -> Plan {
        let mut snapshot = self.snapshot();
        loop {
            let plan = plan(&snapshot);
            let hashes = plan.questions.iter().filter_map(|question| match question {
                Question::DefaultedTemplate { hash, .. } => Some(hash.clone()),
                _ => None,
            });
            let before = snapshot.answers.templates.len();
            snapshot.answers.templates.extend(hashes.map(|hash| (hash, TemplateAnswer::Unavailable)));
            if snapshot.answers.templates.len() == before {
                return plan;
            }
        }
    }

    /// Makes this the data of a revision of the world, and puts these Pods on it.
    fn put_revision(&mut self, index: usize, data: Value, pods: std::ops::Range<usize>) {
        let hash = hash(&data, 0);
        let revision = &mut self.revisions[index];
        (revision.name, revision.hash) = (revision_name("web", &hash).into(), hash.as_str().into());
        revision.data = Arc::new(data);
        for pod in &mut self.pods[pods] {
            pod.labels.insert(names::REVISION_LABEL.into(), hash.as_str().into());
        }
    }

    /// Three Pods with claims of 1 MiB, and a template that asks for claims of 2 MiB.
    fn growing(rolling_update: Value) -> World {
        let mut world = World::settled(3, rolling_update);
        world.spec["volumeClaimUpdateStrategy"] = json!({"type": "OnPodRollingUpdate"});
        world.spec["volumeClaimTemplates"] = json!([claim_template("data", "2Mi")]);
        world.put_revision(0, data_of("app:v1", "1Mi"), 0..3);
        world.status.current_revision = Some(world.revisions[0].name.to_string());
        world.status.update_revision = world.status.current_revision.clone();
        world.claims = (0..3).map(|ordinal| claim(ordinal, 1)).collect();
        world
    }

    fn claim_asks(&mut self, ordinal: usize, mebibytes: u128) {
        self.claims[ordinal].requested_bytes = Some(mebibytes * MIB);
    }

    fn claim_has(&mut self, ordinal: usize, mebibytes: u128) {
        self.claim_asks(ordinal, mebibytes);
        self.claims[ordinal].capacity_bytes = Some(mebibytes * MIB);
    }

    /// The Pod as it is after its label was moved to the revision of the present template.
    fn move_label(&mut self, ordinal: usize, size: &str) {
        let label = hash(&data_of("app:v1", size), 0);
        self.pods[ordinal].labels.insert(names::REVISION_LABEL.into(), label.into());
    }
}

/// Two Pods that their hook has let go, and that are wanted again: neither is missed, and neither waits for the other.
#[test]
fn claims_of_pods_that_a_hook_keeps_down_do_not_wait_for_each_other() {
    let mut world = World::growing(json!({}));
    let hook = json!({"labelsHandler": {"hold": "true"}});
    world.spec["lifecycle"] = json!({"preDelete": hook, "preNormal": hook});
    for pod in &mut world.pods {
        pod.labels.insert("hold".into(), "true".into());
    }
    for ordinal in [1, 2] {
        world.pods[ordinal].labels.remove("hold");
        world.pods[ordinal].labels.insert(names::HOOK_STATE_LABEL.into(), "PreparingDelete".into());
    }
    let deeds = deeds(&world.answered());
    assert!(deeds.contains(&"grow data-web-2".to_owned()), "{deeds:?}");
}

#[test]
fn claims_grow_one_after_another_and_no_pod_is_taken_down() {
    let mut world = World::growing(json!({}));
    let plan = world.answered();
    assert_eq!(deeds(&plan), ["grow data-web-2"]);
    let Some(Action::GrowClaim { patch, .. }) = plan.actions[0].first() else { panic!("{plan:?}") };
    assert_eq!(
        **patch,
        json!({"metadata": {"uid": "data-web-2", "resourceVersion": "7"},
            "spec": {"resources": {"requests": {"storage": "2Mi"}}}})
    );
    world.claim_asks(2, 2);
    let plan = world.answered();
    assert_eq!((deeds(&plan), condition(&plan, "Progressing").1), (vec![], "WaitingForClaim"));
    world.claim_has(2, 2);
    assert_eq!(deeds(&world.answered()), ["patch web-2", "grow data-web-1"]);
    assert!(world.answered().disruptions.is_empty());
}

#[test]
fn as_many_claims_grow_at_once_as_pods_may_be_unavailable() {
    let mut world = World::growing(json!({"maxUnavailable": 2}));
    assert_eq!(deeds(&world.answered()), ["grow data-web-2", "grow data-web-1"]);
    world.pods[0] = lost(world.pods[0].clone());
    world.pods[0].labels.insert(names::REVISION_LABEL.into(), hash(&data_of("app:v1", "2Mi"), 0).into());
    world.claim_has(0, 2);
    assert_eq!(deeds(&world.answered()), ["grow data-web-2"]);
}

#[test]
fn a_file_system_that_grows_on_the_node_is_not_waited_for() {
    let mut world = World::growing(json!({}));
    world.claim_asks(2, 2);
    world.claims[2].file_system_pending = true;
    let plan = world.answered();
    assert_eq!(deeds(&plan), ["patch web-2", "grow data-web-1"]);
    assert_eq!(condition(&plan, "ClaimResizeBlocked"), ("False", "FileSystemResizePending"));
}

#[test]
fn partition_pause_and_on_delete_hold_claims_back_as_they_hold_pods() {
    let mut world = World::growing(json!({"partition": 2}));
    world.claim_has(2, 2);
    world.move_label(2, "2Mi");
    assert_eq!(deeds(&world.answered()), [""; 0]);
    assert_eq!(deeds(&World::growing(json!({"paused": true})).answered()), [""; 0]);
    let mut world = World::growing(json!(null));
    world.spec["updateStrategy"] = json!({"type": "OnDelete"});
    assert_eq!(deeds(&world.answered()), [""; 0]);
    // A Pod that came back on the new revision has its claim grown.
    world.move_label(1, "2Mi");
    assert_eq!(deeds(&world.answered()), ["grow data-web-1"]);
}

#[test]
fn a_refused_claim_holds_its_own_pod_only() {
    let mut world = World::growing(json!({}));
    let refusal = |name: &str| Refusal {
        object: format!("PersistentVolumeClaim {name}"),
        reason: "Forbidden".into(),
        message: "only dynamically provisioned pvc can be resized".into(),
    };
    world.answers.refusals = vec![refusal("data-web-2")];
    let plan = world.answered();
    assert_eq!(deeds(&plan), ["grow data-web-2", "grow data-web-1"]);
    assert_eq!(condition(&plan, "ClaimResizeBlocked"), ("True", "GrowthRefused"));
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "Forbidden"));
    world.claim_has(1, 2);
    assert_eq!(deeds(&world.answered()), ["grow data-web-2", "patch web-1", "grow data-web-0"]);
}

#[test]
fn a_claim_is_never_shrunk() {
    let mut world = World::growing(json!({}));
    world.spec["volumeClaimTemplates"] = json!([claim_template("data", "1Mi")]);
    world.put_revision(0, data_of("app:v1", "3Mi"), 0..3);
    for ordinal in 0..3 {
        world.claim_has(ordinal, 3);
    }
    let plan = world.answered();
    assert_eq!(deeds(&plan), ["patch web-2", "patch web-1", "patch web-0"]);
    assert_eq!(condition(&plan, "ClaimResizeBlocked"), ("True", "ShrinkNotPossible"));
    assert!(plan.events.iter().any(|event| event.reason == "ClaimNotShrunk"), "{:?}", plan.events);
}

#[test]
fn a_claim_grows_before_its_pod_is_touched() {
    let mut world = World::growing(json!({}));
    world.spec["template"] = template("app:v2");
    assert_eq!(deeds(&world.answered()), ["grow data-web-2"]);
    world.claim_asks(2, 2);
    assert_eq!(deeds(&world.answered()), [""; 0]);
    world.claim_has(2, 2);
    assert_eq!(deeds(&world.answered()), ["close web-2"]);
    // Nor does another Pod go while a claim grows, were its own large enough.
    world.claim_asks(2, 3);
    world.claims[2].capacity_bytes = Some(MIB);
    world.claim_has(1, 2);
    assert_eq!(deeds(&world.answered()), [""; 0]);
}

#[test]
fn a_broken_pod_does_not_wait_for_its_claim() {
    let mut world = World::growing(json!({}));
    world.spec["template"] = template("app:v2");
    world.pods[1] = crashing(world.pods[1].clone());
    let mut deeds = deeds(&world.answered());
    deeds.sort();
    assert_eq!(deeds, ["grow data-web-1", "patch web-1"]);
}

#[test]
fn the_rollout_is_not_complete_before_the_claims_are() {
    let mut world = World::growing(json!({}));
    for ordinal in 0..3 {
        world.claim_has(ordinal, 2);
        world.move_label(ordinal, "2Mi");
    }
    world.put_revision(0, data_of("app:v1", "2Mi"), 0..3);
    assert_eq!(condition(&world.answered(), "Progressing").1, "Complete");
    world.claims[0].capacity_bytes = Some(MIB);
    assert_eq!(condition(&world.answered(), "Progressing").1, "WaitingForClaim");
}

#[test]
fn a_claim_of_another_is_left_alone() {
    let mut world = World::growing(json!({}));
    world.claims[2].made_for = Some("other".into());
    world.claims[1].owners = vec![crate::model::claim::ClaimOwner {
        kind: "ConfigMap".into(),
        name: "other".into(),
        uid: "other".into(),
        controller: true,
        our_group: false,
    }];
    world.claims[0].terminating = true;
    assert_eq!(deeds(&world.answered()), ["patch web-2", "patch web-1", "patch web-0"]);
}

#[test]
fn to_have_sizes_count_moves_nothing_while_the_claims_are_large_enough() {
    let mut world = World::growing(json!({}));
    world.put_revision(0, revision_data(&template("app:v1"), ["data"]), 0..3);
    world.spec["volumeClaimTemplates"] = json!([claim_template("data", "1Mi")]);
    let plan = world.answered();
    assert_eq!(deeds(&plan), [""; 0]);
    let [RevisionAction::NoteClaims { note, .. }] = plan.revisions.as_slice() else { panic!("{:?}", plan.revisions) };
    assert_eq!(&**note, r#"{"data":"1Mi"}"#);
    world.revisions[0].noted_claims = Some(note.clone());
    assert!(world.answered().revisions.is_empty());
    // One that asks for more than the claims have is another revision, noted or not.
    for noted in [None, Some(r#"{"data":"1Mi"}"#.into())] {
        world.revisions[0].noted_claims = noted;
        world.spec["volumeClaimTemplates"] = json!([claim_template("data", "2Mi")]);
        let plan = world.answered();
        assert!(matches!(plan.revisions.as_slice(), [.., RevisionAction::Create { .. }]), "{:?}", plan.revisions);
    }
}

#[test]
fn sizes_do_not_count_under_on_delete() {
    let mut world = World::growing(json!({}));
    world.spec["volumeClaimUpdateStrategy"] = json!({"type": "OnDelete"});
    let plan = world.answered();
    assert!(deeds(&plan).is_empty() && plan.revisions.is_empty(), "{plan:?}");
    assert_eq!(condition(&plan, "Progressing").1, "Complete");
}

/// Pods of a native set with the claim `data`, as their revision, which does not say it, made them.
fn adopted() -> World {
    let mut world = World::settled(2, json!({}));
    world.spec["volumeClaimTemplates"] = json!([claim_template("data", "1Mi")]);
    world.revisions[0].data = Arc::new(json!({"spec": {"template": template("app:v1")}}));
    for ordinal in 0..2 {
        let name = format!("web-{ordinal}");
        let whole = json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "containers": [{"name": "app", "image": "app:v1"}],
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}},
                    {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}},
                ],
            },
        });
        world.answers.whole_pods.insert(format!("uid-{ordinal}").into(), Arc::new(whole));
    }
    world
}

#[test]
fn what_a_native_revision_does_not_tell_is_read_off_a_pod_and_noted() {
    let mut world = adopted();
    let whole = std::mem::take(&mut world.answers.whole_pods);
    assert!(matches!(world.answered().questions.as_slice(), [Question::WholePod { .. }]));
    world.answers.whole_pods = whole;
    let plan = world.answered();
    assert_eq!(deeds(&plan), [""; 0]);
    let [RevisionAction::NoteClaims { note, .. }] = plan.revisions.as_slice() else { panic!("{:?}", plan.revisions) };
    assert_eq!(&**note, r#"{"data":null}"#);
    world.revisions[0].noted_claims = Some(note.clone());
    world.answers.whole_pods.clear();
    let plan = world.answered();
    assert!(plan.questions.is_empty() && plan.revisions.is_empty(), "{plan:?}");
}

#[test]
fn a_claim_template_added_to_or_removed_from_an_adopted_revision_re_creates_the_pods() {
    for templates in [json!([claim_template("data", "1Mi"), claim_template("more", "1Mi")]), json!([])] {
        let mut world = adopted();
        world.spec["volumeClaimTemplates"] = templates;
        assert_eq!(deeds(&world.answered()), ["delete web-1"]);
    }
}
