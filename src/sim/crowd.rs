//! Other sets beside the one that is looked at: one that is like any other, and one that cannot be
//! understood. The manager has to go on with all of them. Only on the wire.

use serde_json::{Value, json};

use super::facts;
use super::script::template;
use super::store::Kind;
use super::world::World;

const SOUND: &str = "db";
const POISONED: &str = "bad";
const REPLICAS: usize = 2;

impl World {
    /// Makes them.
    pub fn make_crowd(&mut self) {
        let mut template = template("C");
        template["metadata"]["labels"]["app"] = SOUND.into();
        let spec = json!({
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": SOUND}},
            "template": template,
            "podManagementPolicy": "Parallel",
        });
        drop(self.store.create(Kind::Set, json!({"metadata": {"name": SOUND}, "spec": spec})));
        let spec = json!({"replicas": "many", "selector": 7});
        drop(self.store.create(Kind::Set, json!({"metadata": {"name": POISONED}, "spec": spec})));
    }

    /// The sound one runs, and the other one says what is wrong with it.
    pub fn crowd_is_right(&self) -> Result<(), String> {
        let value = |name: &str| self.store.get(Kind::Set, name).map(|set| set.value.clone()).unwrap_or_default();
        let failure = facts::condition(&value(POISONED), "ReplicaFailure").map(|one| facts::text(one, "/status"));
        if failure.as_deref() != Some("True") {
            return Err(format!("the set {POISONED} does not say what is wrong with it"));
        }
        let ready = value(SOUND).pointer("/status/readyReplicas").and_then(Value::as_u64);
        let runs = (0..REPLICAS).all(|ordinal| {
            let pod = self.store.get(Kind::Pod, &format!("{SOUND}-{ordinal}"));
            pod.and_then(|pod| pod.pod()).is_some_and(|pod| pod.is_ready())
        });
        if runs && ready == Some(REPLICAS as u64) { Ok(()) } else { Err(format!("the set {SOUND} does not run")) }
    }
}
