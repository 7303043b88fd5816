//! Lets the world and the managers take turns: the next event of the world is one of the moments
//! that tokio's paused clock jumps to.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Command, Shared, Wire, manager};
use crate::sim::mutants::Mutant;
use crate::sim::run::Outcome;
use crate::sim::script::Script;
use crate::sim::world::{Violation, World};

/// One run with the real manager.
pub fn run_on_the_wire(script: Script, mutant: Option<Mutant>, keep_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    runtime.block_on(async {
        let mut world = World::new(script, keep_trace);
        world.set_mutant(mutant);
        let managers = world.controllers.len();
        world.controllers.clear();
        world.wire = Some(Wire::new(managers));
        if world.swarm.crowd {
            world.make_crowd();
        }
        let mut driver = Driver { shared: Shared::new(world), lives: (0..managers).map(|_| None).collect() };
        let broken = driver.run().await.err();
        for life in driver.lives.iter().flatten() {
            life.abort();
        }
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        let mut world = driver.shared.lock();
        let broken = broken.or_else(|| world.oracle.violation.take());
        world.outcome(broken)
    })
}

struct Driver {
    shared: Shared,
    lives: Vec<Option<AbortHandle>>,
}

impl Driver {
    async fn run(&mut self) -> Result<(), Violation> {
        loop {
            let goal = self.shared.lock().next_goal()?;
            match goal {
                Some(goal) => self.run_until(goal).await?,
                None => return Ok(()),
            }
        }
    }

    async fn run_until(&mut self, goal: i64) -> Result<(), Violation> {
        loop {
            self.obey();
            let (now, next) = {
                let world = self.shared.lock();
                (world.now, world.next_at())
            };
            let next = next.filter(|next| *next <= goal);
            match next {
                Some(at) if at <= now => {
                    self.shared.lock().step()?;
                    tokio::task::yield_now().await;
                }
                None if now >= goal => return Ok(()),
                _ => self.wait_until(next.unwrap_or(goal)).await,
            }
            self.shared.lock().broken()?;
        }
    }

    /// Until then, or until a manager has sent something.
    async fn wait_until(&self, at_ms: i64) {
        let (changed, began): (_, Instant) = {
            let world = self.shared.lock();
            let Some(wire) = &world.wire else { return };
            (std::sync::Arc::clone(&wire.changed), wire.began)
        };
        let at = began + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = sleep_until(at) => {}
        }
    }

    fn obey(&mut self) {
        let commands = self.shared.lock().wire.as_mut().map(|wire| std::mem::take(&mut wire.commands));
        for command in commands.unwrap_or_default() {
            match command {
                Command::Start(index) => {
                    let life = tokio::spawn(manager::live(self.shared.clone(), index));
                    self.lives[index] = Some(life.abort_handle());
                }
                Command::Stop(index) => {
                    if let Some(life) = self.lives[index].take() {
                        life.abort();
                    }
                }
            }
        }
    }
}
