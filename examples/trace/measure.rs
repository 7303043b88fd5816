//! Runs the controller's own decision over the trace, on three clusters.

use std::collections::BTreeMap;

use asts::control::cache::pod::PodObject;
use asts::inplace::env_annotations::move_to_annotations;
use asts::inplace::{Class, Cluster, Contents, Decision, Rules, should_do_in_place_update, with_defaults};
use asts::model::{Abilities, PodFacts};
use serde_json::{Map, Value, json};

use super::applications::{able, applications, change};
use super::mix::{Kind, all};
use super::random::Random;

/// What a trace is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    Stock,
    /// With `env: Annotations`.
    StockEnv,
    Customised,
}

pub const ALL: [On; 3] = [On::Stock, On::StockEnv, On::Customised];

/// How often Pods were not re-created, and of these, how often no container was either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InPlace {
    pub pods_kept: usize,
    pub containers_kept: usize,
}

/// By kind of change and cluster.
pub type Counts = BTreeMap<(Kind, On), InPlace>;

/// # Errors
/// A change that could not be decided.
pub fn measure(seed: u64) -> Result<Counts, String> {
    let mut random = Random::new(seed);
    let mut kinds = all();
    random.shuffle(&mut kinds);
    let mut templates = applications();
    let mut counts = Counts::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let able = able(kind);
        let which = able[random.below(able.len())];
        let new = change(&templates[which], kind, index + 2, &mut random);
        for on in ALL {
            let count = counts.entry((kind, on)).or_default();
            if let Some(class) = in_place(&templates[which], &new, on).map_err(|why| format!("{kind:?}: {why}"))? {
                count.pods_kept += 1;
                count.containers_kept += usize::from(class == Class::Dynamic);
            }
        }
        templates[which] = new;
    }
    Ok(counts)
}

/// The class of the update, where the running Pod takes it.
fn in_place(old: &Value, new: &Value, on: On) -> Result<Option<Class>, String> {
    let abilities = if on == On::Customised { Abilities::customised() } else { Abilities::stock() };
    let rules = Rules { env_in_annotations: on == On::StockEnv, ..Rules::default() };
    let cluster =
        Cluster { abilities: &abilities, in_place_only: false, rules: &rules, now: jiff::Timestamp::UNIX_EPOCH };
    let pod = pod_of(old, on)?;
    let contents = |template| Contents { template, claims: &[] };
    match should_do_in_place_update(contents(old), contents(new), &pod, &cluster) {
        Decision::Patch(patch) => Ok(Some(patch.class)),
        Decision::Recreate { .. } => Ok(None),
        other => Err(format!("{other:?}")),
    }
}

/// A running Pod of a template, as the controller's cache has it.
fn pod_of(template: &Value, on: On) -> Result<PodFacts, String> {
    let template = with_defaults(template);
    let object = |pointer: &str| template.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut spec, mut annotations) = (object("/spec"), object("/metadata/annotations"));
    if on == On::StockEnv {
        move_to_annotations(&mut spec, &mut annotations);
    }
    let statuses = |list: &str| -> Vec<Value> {
        spec.get(list).and_then(Value::as_array).into_iter().flatten().map(status).collect()
    };
    let (containers, init_containers) = (statuses("containers"), statuses("initContainers"));
    spec.insert("nodeName".into(), "node-1".into());
    let pod = json!({
        "metadata": {
            "name": "app-0", "uid": "uid", "resourceVersion": "1", "generation": 1,
            "labels": object("/metadata/labels"), "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "app", "uid": "set",
                "controller": true,
            }],
        },
        "spec": Value::from(Map::from_iter(spec)),
        "status": {
            "phase": "Running", "observedGeneration": 1, "containerStatuses": containers,
            "initContainerStatuses": init_containers,
        },
    });
    let object: PodObject = serde_json::from_value(pod).map_err(|error| error.to_string())?;
    Ok(object.whole())
}

/// The status of a container whose image came from a registry.
fn status(container: &Value) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    let digest = "0123456789abcdef".repeat(4);
    json!({
        "name": container["name"], "image": image, "imageID": format!("{name}@sha256:{digest}"),
        "containerID": "containerd://1", "ready": true, "started": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "resources": container["resources"],
    })
}
