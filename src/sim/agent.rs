//! Whoever answers the lifecycle hooks: puts a label on Pods, and takes it away when it is asked to, in its own time.

use serde_json::json;

use super::random::Random;
use super::script::{Script, Step, draw};
use super::store::Kind;
use super::world::{Event, World, note};
use crate::api::names;
use crate::model::HookState;

const HOLD: &str = "hold";

/// The script of a seed, on a set with hooks that come and go.
pub fn draw_with_hooks(seed: u64) -> Script {
    let mut script = draw(seed);
    let mut random = Random::new(seed ^ 0x0068_6f6f_6b73);
    script.set["lifecycle"] = draw_hooks(&mut random);
    let last = script.steps.last().map_or(0, |(at, _)| *at);
    for _ in 0..random.range(0, 2) {
        let hooks = if random.per_mille(300) { json!(null) } else { draw_hooks(&mut random) };
        script.steps.push((random.range(1000, last.max(2000)), Step::Spec(json!({"lifecycle": hooks}))));
    }
    script.steps.sort_by_key(|(at, _)| *at);
    script
}

fn draw_hooks(random: &mut Random) -> serde_json::Value {
    let mut hooks = json!({"preDelete": null, "inPlaceUpdate": null, "preNormal": null});
    for name in ["preDelete", "inPlaceUpdate", "preNormal"] {
        if random.per_mille(600) {
            hooks[name] = json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": random.per_mille(500)});
        }
    }
    hooks
}

impl World {
    /// A Pod has changed: it is looked at in a moment, or after a long sleep.
    pub fn agent_soon(&mut self, name: &str, uid: &str) {
        if self.script.set.get("lifecycle").is_none() {
            return;
        }
        let sleeps = self.faults && self.random.per_mille(50);
        let delay = if sleeps { self.random.range(10_000, 900_000) } else { self.random.range(5, 3000) };
        self.after(delay, Event::AnswerHooks { name: name.into(), uid: uid.into() });
    }

    pub fn answer_hooks(&mut self, name: &str, uid: &str) {
        let Some(object) = self.store.get(Kind::Pod, name).filter(|object| &*object.uid == uid) else { return };
        let Some(pod) = object.pod() else { return };
        let held = pod.labels.contains_key(HOLD);
        let wanted = !pod.hook_state().is_some_and(HookState::is_preparing);
        if pod.controller.is_none() || held == wanted {
            return;
        }
        note!(self, "agent {} {name}", if wanted { "holds" } else { "lets go of" });
        drop(self.store.change(Kind::Pod, name, |value| {
            let labels = &mut value["metadata"]["labels"];
            if wanted {
                labels[HOLD] = "true".into();
            } else if let Some(labels) = labels.as_object_mut() {
                labels.remove(HOLD);
            }
        }));
    }

    /// The state that a Pod has in the end.
    pub fn state_is_right(&self, pod: &crate::model::PodFacts, has_hooks: bool) -> Result<(), String> {
        let label = pod.labels.get(names::HOOK_STATE_LABEL).map(|state| &**state);
        let right = if has_hooks { matches!(label, None | Some("Normal")) } else { label.is_none() };
        if right { Ok(()) } else { Err(format!("the state of {} is {label:?}", pod.name)) }
    }
}
