//! When a kubelet was first seen to have heard of an update. No field of a Pod tells, and where two tags may be one
//! image, nothing else tells a container that is about to be ended from the one that is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::state::InPlaceState;
use crate::model::{Gate, PodFacts};

/// By the Pod's UID: the generation that its last patch brought, and when its kubelet was first seen to have observed
/// it. Can be lost: what is seen for the first time has just been heard, and is waited for once more.
#[derive(Clone, Debug, Default)]
pub struct Heard(BTreeMap<Box<str>, (i64, Timestamp)>);

impl Heard {
    /// Remembers what all Pods of a set show, and says so in them.
    pub fn look(&mut self, pods: &mut BTreeMap<Box<str>, Arc<PodFacts>>, now: Timestamp) {
        let mut seen = BTreeMap::new();
        for pod in pods.values_mut() {
            let Some(generation) = heard_generation(pod) else { continue };
            let before = self.0.get(&pod.uid).filter(|(before, _)| *before == generation);
            let since = before.map_or(now, |(_, since)| now.min(*since));
            seen.insert(pod.uid.clone(), (generation, since));
            Arc::make_mut(pod).heard_since = Some(since);
        }
        self.0 = seen;
    }
}

/// The generation of the last patch, where the kubelet has observed it and time has to show what it made of it.
fn heard_generation(pod: &PodFacts) -> Option<i64> {
    // One in service was waited for. A new Pod's gate may never have been turned.
    if matches!(pod.gate, Gate::Open | Gate::Absent) {
        return None;
    }
    let observed = pod.observed_generation?;
    let state = InPlaceState::parse(pod.in_place_state.as_deref()?)?;
    let mut records = state.containers.values();
    let takes_time = records.any(|record| record.was_about_to_start() || record.is_of_unknown_make());
    (takes_time && observed >= state.generation.min(pod.generation)).then_some(state.generation)
}
