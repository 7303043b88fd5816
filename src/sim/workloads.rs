//! Stories in a calm world, for the faults that are put in one by one.

use serde_json::{Value, json};

use super::script::{Script, Step, Swarm, template};

const SECOND: i64 = 1000;

/// A world in which nothing goes wrong by itself.
pub fn calm(controllers: usize, request_ms: i64) -> Swarm {
    Swarm {
        controllers,
        watch_lag_ms: 20,
        slow_watch_per_mille: 0,
        broken_watch_per_mille: 0,
        kubelet_lag_ms: 50,
        status_lag_ms: 50,
        request_ms,
        slow_request_per_mille: 0,
        error_per_mille: 0,
        lost_answer_per_mille: 0,
        denied_in_place_per_mille: 0,
        collector_lag_ms: 50,
        restart_ms: 50,
        clocks_ms: [0; 2],
        lease: false,
        crowd: false,
    }
}

/// A set with three Pods and a budget of one, as far as `changes` does not say other things.
pub fn set(changes: &Value) -> Value {
    let mut set = json!({
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template("A"),
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 1,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {}},
    });
    json_patch::merge(&mut set, changes);
    set
}

pub fn use_template(name: &str) -> Step {
    Step::Spec(json!({"template": template(name)}))
}

fn rolling(fields: &Value) -> Step {
    Step::Spec(json!({"updateStrategy": {"rollingUpdate": fields}}))
}

pub struct Workload {
    pub name: &'static str,
    pub set: Value,
    /// What happens after the set was created, in seconds.
    pub story: Vec<(i64, Step)>,
    /// How far it came when its story goes on depends on when things happen: the states on the way may differ.
    pub depends_on_time: bool,
    /// So few writes that there is time for all pairs of faults.
    pub meets_pairs: bool,
}

/// There is no time in `make test` to sweep these with the real manager too.
const WITH_THE_MODEL_ALONE: [&str; 11] = [
    "create in order",
    "create at once",
    "reserved ordinals",
    "a Pod marked for deletion",
    "changes by hand",
    "hooks",
    "claims that stay",
    "re-creation",
    "a broken image",
    "one Pod in place",
    "one Pod with its claim",
];

impl Workload {
    /// Swept with the real manager as well.
    pub fn is_on_the_wire(&self) -> bool {
        !WITH_THE_MODEL_ALONE.contains(&self.name)
    }

    pub fn script(&self, controllers: usize) -> Script {
        let mut steps = vec![(0, Step::CreateSet)];
        steps.extend(self.story.iter().map(|(at, step)| (at * SECOND, step.clone())));
        let last = steps.last().map_or(0, |(at, _)| *at);
        Script {
            seed: 1,
            swarm: calm(controllers, 5),
            set: self.set.clone(),
            steps,
            peace_ms: last + 90 * SECOND,
            faults: Some(Vec::new()),
            behind: Vec::new(),
            customised: false,
        }
    }
}

fn story(name: &'static str, set: Value, story: Vec<(i64, Step)>) -> Workload {
    Workload { name, set, story, depends_on_time: false, meets_pairs: false }
}

fn with_claims(when_scaled: &str, replicas: u32) -> Value {
    set(&json!({
        "replicas": replicas,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": when_scaled},
    }))
}

pub fn all() -> Vec<Workload> {
    let parallel = |changes: Value| {
        let mut changes = changes;
        changes["podManagementPolicy"] = "Parallel".into();
        set(&changes)
    };
    let hooks = json!({"lifecycle": {"inPlaceUpdate": {"labelsHandler": {"hold": "true"}, "markPodNotReady": true}}});
    vec![
        story("create in order", set(&json!({})), vec![]),
        story("create at once", parallel(json!({"replicas": 4})), vec![]),
        story(
            "scale",
            set(&json!({"replicas": 2})),
            vec![(60, Step::Spec(json!({"replicas": 4}))), (120, Step::Spec(json!({"replicas": 1})))],
        ),
        story("an image in place", set(&json!({})), vec![(60, use_template("B"))]),
        story(
            "re-creation",
            parallel(json!({
                "updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "ReCreate", "maxUnavailable": 2}},
            })),
            vec![(60, use_template("B"))],
        ),
        story(
            "partition",
            set(&json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}})),
            vec![(60, use_template("B")), (120, rolling(&json!({"partition": 0})))],
        ),
        Workload {
            depends_on_time: true,
            ..story(
                "a pause in the middle",
                parallel(json!({"replicas": 4})),
                vec![
                    (60, use_template("B")),
                    (63, rolling(&json!({"paused": true}))),
                    (120, rolling(&json!({"paused": false}))),
                ],
            )
        },
        Workload {
            depends_on_time: true,
            ..story(
                "a rollback half way",
                set(&json!({"replicas": 3})),
                vec![(60, use_template("B")), (64, use_template("A"))],
            )
        },
        story(
            "claims that go with their Pods",
            with_claims("Delete", 3),
            vec![(90, Step::Spec(json!({"replicas": 1}))), (180, Step::Spec(json!({"replicas": 2})))],
        ),
        story(
            "claims that stay",
            with_claims("Retain", 3),
            vec![
                (60, Step::Spec(json!({"replicas": 1}))),
                (120, Step::DeleteSet { orphan: false }),
                (180, Step::CreateSet),
            ],
        ),
        story(
            "reserved ordinals",
            parallel(json!({})),
            vec![(60, Step::Spec(json!({"reserveOrdinals": [1]}))), (120, Step::Spec(json!({"reserveOrdinals": []})))],
        ),
        // Whoever answers hooks may sleep for long.
        Workload { depends_on_time: true, ..story("hooks", set(&hooks), vec![(60, use_template("B"))]) },
        story("a Pod marked for deletion", set(&json!({})), vec![(60, Step::MarkPod(1))]),
        story(
            "a grace period",
            parallel(json!({
                "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 3}}},
            })),
            vec![(60, use_template("C"))],
        ),
        story("adoption", set(&json!({})), vec![(60, Step::DeleteSet { orphan: true }), (90, Step::CreateSet)]),
        story("a broken image", set(&json!({})), vec![(60, use_template("broken")), (120, use_template("C"))]),
        story(
            "changes by hand",
            set(&json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}})),
            vec![(60, use_template("static")), (90, Step::DeletePod(2))],
        ),
        Workload {
            meets_pairs: true,
            ..story("one Pod in place", set(&json!({"replicas": 1})), vec![(30, use_template("B"))])
        },
        Workload {
            meets_pairs: true,
            ..story("one Pod with its claim", with_claims("Delete", 1), vec![(60, Step::Spec(json!({"replicas": 0})))])
        },
    ]
}
