//! The clocks of controllers: ahead of the world's time or behind it, each by its own, and set forth
//! and back while a controller runs.

use super::store::Kind;
use super::world::World;

pub const CONTROLLERS_MAX: usize = 2;

/// How far each controller's clock is ahead of the world's time, in milliseconds; below zero, behind.
pub type Clocks = [i64; CONTROLLERS_MAX];

impl World {
    /// What a controller takes for the time.
    pub fn clock_of(&self, controller: usize) -> i64 {
        self.now + self.ahead_of(controller)
    }

    /// How far a controller's clock is ahead.
    pub fn ahead_of(&self, controller: usize) -> i64 {
        self.oracle.clocks_ms.get(controller).copied().unwrap_or(0)
    }

    /// Somebody sets a controller's clock.
    pub fn set_clock(&mut self, controller: usize, ahead_ms: i64) {
        // What was available by the clock that it had until now may already be on its way.
        for (_, pod) in self.store.all(Kind::Pod) {
            self.oracle.forget_if_over(self.now, pod, &self.cluster);
        }
        if let Some(clock) = self.oracle.clocks_ms.get_mut(controller) {
            *clock = ahead_ms;
        }
    }

    /// Faults end: all clocks are as wrong as the first one was at the beginning. While they differ, two active
    /// controllers do not agree on what is available, and come to no rest.
    pub fn let_clocks_agree(&mut self) {
        for controller in 0..CONTROLLERS_MAX {
            self.set_clock(controller, self.swarm.clocks_ms[0]);
        }
    }
}
