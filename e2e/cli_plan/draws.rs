//! Changes of a set as users make them, drawn by a seed.

use serde_json::{Value, json};

use crate::harness::dice::Dice;
use crate::harness::image;
use crate::harness::manifest::{merge, rolling_update, with};
use crate::lifecycle::HOLD;

/// What a lane's set has from its beginning on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Plain,
    /// Lifecycle hooks, which somebody answers.
    Hooks,
    /// A claim a Pod, which somebody lets grow.
    Claims,
}

/// The size of the first claims, in MiB; each growth adds one.
const CLAIM_MEBIBYTES: u64 = 1;

/// The spec that a set of this nature begins with.
pub fn beginning(nature: Nature, lane: u64, class: &str) -> Value {
    let policy = if lane.is_multiple_of(2) { "Parallel" } else { "OrderedReady" };
    let more = json!({
        "replicas": 4,
        "podManagementPolicy": policy,
        "template": {"spec": {"containers": [{
            "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "MODE", "value": "0"}],
            "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
        }]}},
    });
    let spec = with(more, rolling_update(json!({"maxUnavailable": 1 + lane % 3})));
    match nature {
        Nature::Plain => spec,
        Nature::Hooks => {
            let hook = |mark: bool| json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": mark});
            let hooks = json!({"preDelete": hook(false), "inPlaceUpdate": hook(lane.is_multiple_of(2))});
            with(spec, json!({"lifecycle": hooks, "template": {"metadata": {"labels": {HOLD: "true"}}}}))
        }
        Nature::Claims => {
            let own = json!({
                "volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"},
                "volumeClaimTemplates": claims(class, CLAIM_MEBIBYTES),
            });
            with(spec, own)
        }
    }
}

fn claims(class: &str, mebibytes: u64) -> Value {
    let requests = json!({"storage": format!("{mebibytes}Mi")});
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": requests},
    });
    json!([{"metadata": {"name": "data"}, "spec": spec}])
}

/// A set's spec as it is drawn further and further.
pub struct Draws {
    pub dice: Dice,
    pub spec: Value,
    nature: Nature,
    class: String,
    mebibytes: u64,
}

impl Draws {
    pub fn new(dice: Dice, nature: Nature, class: &str, spec: Value) -> Draws {
        Draws { dice, spec, nature, class: class.to_owned(), mebibytes: CLAIM_MEBIBYTES }
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.dice.below(count) == 0
    }

    /// A merge patch of the spec, as some user would make it.
    pub fn change(&mut self) -> Value {
        let mut patch = json!({});
        for _ in 0..=self.dice.below(2) {
            let one = self.one();
            merge(&mut patch, one);
        }
        let standing = self.spec.pointer("/updateStrategy/rollingUpdate/paused") == Some(&json!(true))
            || self.spec.pointer("/updateStrategy/type") == Some(&json!("OnDelete"));
        let only = self.spec.pointer("/updateStrategy/rollingUpdate/podUpdatePolicy") == Some(&json!("InPlaceOnly"));
        if only && !self.one_in(3) {
            merge(&mut patch, rolling_update(json!({"podUpdatePolicy": "InPlaceIfPossible"})));
        }
        if standing && !self.one_in(3) {
            merge(&mut patch, rolling_update(json!({"paused": false, "maxUnavailable": 2})));
        }
        if patch.pointer("/updateStrategy/type") == Some(&json!("OnDelete")) {
            patch["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": null});
        }
        patch
    }

    /// A rollout that comes to a stand at its first Pods, and what takes it further.
    pub fn stuck_and_mended(&mut self) -> (Value, Value) {
        let going = rolling_update(json!({"paused": false, "partition": 0, "podUpdatePolicy": "InPlaceIfPossible"}));
        let stuck = with(self.container("image", json!(image("never-ready"))), going.clone());
        merge(&mut self.spec, stuck.clone());
        let mut mended = self.template();
        let tag = ["v1", "v2", "v3"][self.index(3)];
        merge(&mut mended, self.container("image", json!(image(tag))));
        merge(&mut mended, going);
        (stuck, mended)
    }

    fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.dice.below(bound)).unwrap_or(0)
    }

    fn one(&mut self) -> Value {
        match self.dice.below(3) {
            0 => self.template(),
            1 => self.strategy(),
            _ if self.nature == Nature::Claims && self.one_in(3) => {
                self.mebibytes += 1;
                json!({"volumeClaimTemplates": claims(&self.class, self.mebibytes)})
            }
            _ => self.other(),
        }
    }

    /// Something of the template.
    fn template(&mut self) -> Value {
        match self.dice.below(12) {
            0..=2 => {
                let now = self.spec["template"]["spec"]["containers"][0]["image"].clone();
                let others: Vec<String> =
                    ["v1", "v2", "v3"].into_iter().map(image).filter(|it| now != json!(it)).collect();
                let which = self.index(2);
                self.container("image", json!(others[which]))
            }
            3 => {
                let value = self.dice.below(3).to_string();
                self.container("env", json!([{"name": "MODE", "value": value}]))
            }
            4 => json!({"template": {"metadata": {"labels": {"tier": format!("t{}", self.dice.below(3))}}}}),
            5 => json!({"template": {"metadata": {"annotations": {"note": self.dice.below(3).to_string()}}}}),
            6 => {
                let at = format!("2026-01-01T00:00:{:02}Z", self.dice.below(60));
                json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}})
            }
            7 => {
                let cpu = format!("{}m", 10 + 5 * self.dice.below(3));
                self.container("resources", json!({"requests": {"cpu": cpu}, "limits": {"memory": "64Mi"}}))
            }
            8 => {
                let command = json!(["/server", format!("--n={}", self.dice.below(2))]);
                self.container("command", command)
            }
            9 => {
                let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 5 + self.dice.below(2), "timeoutSeconds": 3});
                self.container("readinessProbe", probe)
            }
            10 => {
                let count = self.dice.below(3);
                let one = |number| json!({"key": format!("k{number}"), "operator": "Exists", "effect": "NoSchedule"});
                json!({"template": {"spec": {"tolerations": (0..count).map(one).collect::<Vec<Value>>()}}})
            }
            _ => {
                let tag = ["v1", "v2"][self.index(2)];
                let init = json!([{"name": "init", "image": image(tag), "imagePullPolicy": "IfNotPresent"}]);
                let init = if self.one_in(3) { Value::Null } else { init };
                json!({"template": {"spec": {"initContainers": init}}})
            }
        }
    }

    /// Something of how Pods are updated.
    fn strategy(&mut self) -> Value {
        match self.dice.below(12) {
            0 => rolling_update(json!({"partition": self.dice.below(4)})),
            1 => rolling_update(json!({"partition": format!("{}%", 25 * self.dice.below(4))})),
            2 => rolling_update(json!({"partition": 0, "paused": false})),
            3 => rolling_update(json!({"maxUnavailable": 1 + self.dice.below(3)})),
            4 => rolling_update(json!({"maxUnavailable": format!("{}%", 25 * (1 + self.dice.below(3)))})),
            5 => rolling_update(json!({"paused": self.dice.below(2) == 0})),
            6 => {
                let index = self.dice.below(4).to_string();
                let term =
                    json!({"weight": 5, "matchSelector": {"matchLabels": {"apps.kubernetes.io/pod-index": index}}});
                let strategy = match self.dice.below(4) {
                    0 | 1 => Value::Null,
                    2 => json!({"priorityStrategy": {"weightPriority": [term]}}),
                    _ => {
                        json!({"priorityStrategy": {"orderPriority": [{"orderedKey": "apps.kubernetes.io/pod-index"}]}})
                    }
                };
                rolling_update(json!({"unorderedUpdate": strategy}))
            }
            7 => {
                let env = if self.one_in(3) { "Patch" } else { "Annotations" };
                rolling_update(json!({"inPlaceUpdateStrategy": {"env": env}}))
            }
            8 => rolling_update(json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": self.dice.below(3)}})),
            9 => rolling_update(json!({"inPlaceUpdateStrategy": {"prePull": self.one_in(2)}})),
            10 if self.one_in(3) => json!({"updateStrategy": {"type": "OnDelete"}}),
            _ => {
                let policy = ["InPlaceIfPossible", "ReCreate", "InPlaceOnly"][self.index(3)];
                rolling_update(json!({"podUpdatePolicy": policy}))
            }
        }
    }

    /// Something of the set.
    fn other(&mut self) -> Value {
        match self.dice.below(6) {
            0 | 1 => json!({"replicas": 2 + self.dice.below(4)}),
            2 => {
                let reserved = if self.one_in(2) { json!([]) } else { json!([self.dice.below(4)]) };
                json!({"reserveOrdinals": reserved})
            }
            3 => json!({"minReadySeconds": self.dice.below(2)}),
            4 => json!({"ordinals": {"start": self.dice.below(2)}}),
            _ => {
                let most = if self.one_in(3) { Value::Null } else { json!(1 + self.dice.below(3)) };
                json!({"scaleStrategy": {"maxUnavailable": most}})
            }
        }
    }

    /// The containers with one field otherwise: a merge patch takes lists whole.
    fn container(&mut self, field: &str, value: Value) -> Value {
        let mut container = self.spec["template"]["spec"]["containers"][0].clone();
        container[field] = value;
        // A second change of the same patch begins with the first.
        self.spec["template"]["spec"]["containers"][0] = container.clone();
        json!({"template": {"spec": {"containers": [container]}}})
    }
}
