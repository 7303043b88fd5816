//! Pods that ended, and what counts as progress while they are replaced over and over.

use super::*;

fn failed(seconds_old: i64) -> PodFacts {
    PodFacts {
        phase: PodPhase::Failed,
        failed_because: Some("SysctlForbidden: forbidden sysctl: net.core.somaxconn".into()),
        created_at: Some(at(seconds_old)),
        ready: None,
        containers_ready: false,
        gate: Gate::Unset,
        ..pod(0, "app:v1")
    }
}

fn progressing(plan: &Plan) -> (&str, &str, &str) {
    let (status, reason) = condition(plan, "Progressing");
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    (status, reason, found.message.as_deref().unwrap())
}

#[test]
fn a_pod_that_fails_at_once_is_replaced_after_a_pause() {
    let mut world = World::settled(1, json!({}));
    world.pods[0] = failed(3);
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(plan.wake_at, Some(at(-7)));
    let (_, reason, message) = progressing(&plan);
    assert_eq!(reason, "WaitingForPods");
    for said in ["Pod web-0", "Failed", "SysctlForbidden", "somaxconn"] {
        assert!(message.contains(said), "{message}");
    }
    world.pods[0] = failed(10);
    assert_eq!(deeds(&world.plan()), ["delete web-0"]);
    world.pods[0] = failed(3);
    world.pods[0].labels.insert(names::SPECIFIED_DELETE_LABEL.into(), "".into());
    assert_eq!(deeds(&world.plan()), ["delete web-0"], "whoever marks it does not want to wait");
}

/// Each would wait for the lower one to come back.
#[test]
fn condemned_pods_that_have_ended_go_in_order() {
    let mut world = World::settled(0, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.pods = vec![pod(0, "app:v1"), pod(1, "app:v1")];
    for pod in &mut world.pods {
        pod.phase = PodPhase::Failed;
        pod.ready = Some(ReadyFacts { status: false, since: Some(at(5)) });
    }
    assert_eq!(deeds(&world.plan()), ["delete web-1"]);
}

/// A Pod comes and goes for eleven minutes, looked at every five seconds.
#[test]
fn a_pod_that_is_replaced_over_and_over_is_no_progress() {
    for rolling in [json!({}), json!({"partition": 2})] {
        let mut world = World::rolling(2, rolling);
        world.pods[1] = pod(1, "app:v2");
        world.status = world.plan().status;
        let there = world.pods[1].clone();
        let mut last = None;
        for look in 0..135 {
            world.pods.truncate(1);
            if look % 2 == 0 {
                let mut new = there.clone();
                (new.ready, new.phase, new.containers_ready) = (None, PodPhase::Pending, false);
                new.created_at = None;
                world.pods.push(new);
            }
            let mut snapshot = world.snapshot();
            snapshot.now = at(-5 * look);
            let plan = plan(&snapshot);
            world.status = plan.status.clone();
            last = Some(plan);
        }
        assert_eq!(condition(&last.unwrap(), "Progressing"), ("False", "ProgressDeadlineExceeded"));
    }
}

#[test]
fn a_pod_that_is_scaled_away_is_progress() {
    let mut world = World::settled(4, json!({}));
    world.spec["replicas"] = json!(1);
    world.status = world.plan().status;
    let mut snapshot = world.snapshot();
    snapshot.now = at(-590);
    snapshot.pods.remove("web-3");
    world.status = plan(&snapshot).status;
    snapshot = world.snapshot();
    snapshot.pods.remove("web-3");
    snapshot.now = at(-700);
    assert_eq!(condition(&plan(&snapshot), "Progressing").0, "True");
}
