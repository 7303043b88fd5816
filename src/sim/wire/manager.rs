//! One life of a manager: from its start to a crash, or to the loss of its lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Shared, service};
use crate::control::abilities::{AbilityCache, InPlace};
use crate::control::backoff::Chance;
use crate::control::cache::Scope;
use crate::control::client::Apiserver;
use crate::control::clock::Clock;
use crate::control::gate::WriteGate;
use crate::control::lease::{Elector, LeaseOptions};
use crate::control::metrics::Metrics;
use crate::control::reconcile::{Planner, Rules};
use crate::control::run::{Manager, lead};
use crate::model::{Patterns, Snapshot};
use crate::sim::store::{NAMESPACE, timestamp};

/// Says so where a task of the manager ended by a panic.
struct Tasks {
    set: JoinSet<()>,
    shared: Shared,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        while let Some(ended) = self.set.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                self.shared.lock().oracle.fail("a task of the manager panicked".to_owned());
            }
        }
    }
}

pub async fn live(shared: Shared, index: usize) {
    let (epoch, restarts, in_place, seed, swarm) = {
        let world = shared.lock();
        let Some(wire) = &world.wire else { return };
        let Some(seen) = wire.managers.get(index) else { return };
        let in_place = if world.script.customised { InPlace::Customised } else { InPlace::Stock };
        (seen.epoch, seen.restarts, in_place, world.script.seed, world.swarm.clone())
    };
    let metrics = Arc::new(Metrics::default());
    let gate = Arc::new(if swarm.lease { WriteGate::default() } else { WriteGate::always_open() });
    let of_world = shared.clone();
    let clock = Clock::new(move || timestamp(of_world.lock().clock_of(index)));
    let chance = Chance::of_seed(seed ^ (restarts << 32) ^ ((index as u64) << 56));
    let client = service::client(shared.clone(), index, epoch);
    let apiserver = Apiserver::new(client, Arc::clone(&gate), Arc::clone(&metrics), clock, chance);
    let rules = Rules {
        abilities: Arc::new(AbilityCache::new(in_place)),
        injectors: Patterns::of_injectors([]),
        planner: planner(shared.clone(), index, epoch),
    };
    let manager = Manager::new(vec![Scope::All], apiserver, Arc::clone(&metrics), rules);
    let options = LeaseOptions {
        namespace: Some(NAMESPACE.to_owned()),
        name: "manager".to_owned(),
        identity: format!("m{index}-{restarts}"),
        duration: Duration::from_secs(15),
    };
    let elector = swarm.lease.then(|| Elector::new(manager.apiserver(), gate, metrics, options));
    let mut tasks = Tasks { set: JoinSet::new(), shared: shared.clone() };
    manager.spawn_watches(&mut tasks.set);
    lead(&manager, elector.as_ref(), &mut tasks.set).await;
    drop(tasks);
    shared.lock().crash_manager(index);
}

/// The planner, with the checks looking on.
fn planner(shared: Shared, index: usize, epoch: u64) -> Planner {
    Arc::new(move |honest: &Snapshot| {
        let mutant = shared.lock().mutant;
        if mutant.is_none() {
            let plan = crate::plan::plan(honest);
            shared.lock().planned(index, epoch, honest, &plan);
            return plan;
        }
        let mut snapshot = honest.clone();
        shared.lock().mutate_snapshot(&mut snapshot);
        let mut plan = crate::plan::plan(&snapshot);
        shared.lock().mutate_plan(&mut plan);
        shared.lock().planned(index, epoch, honest, &plan);
        plan
    })
}
