//! The second layer: the real manager, its caches, watches, queue, retries and lease, over a real
//! `kube::Client` whose other end is the simulated store. Time is tokio's paused clock, so a seed
//! is one run here too.

mod call;
mod drive;
mod intent;
mod manager;
mod serve;
mod service;
mod watches;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::controller::Read;
use super::store::Kind;
use super::world::World;
use crate::plan::Plan;
pub use call::{Answer, Call, Reply};
pub use drive::run_on_the_wire;

/// What the world knows of the managers and their connections.
pub struct Wire {
    pub managers: Vec<ManagerSeen>,
    pub watches: BTreeMap<u64, watches::Watch>,
    /// Pages of lists that were not asked for yet.
    pub pages: BTreeMap<u64, watches::Pages>,
    pub numbers: u64,
    /// Watches of a kind hang until then.
    pub frozen: BTreeMap<(usize, Kind), i64>,
    /// Answers that never come: the connection stays open.
    pub unanswered: Vec<Answer>,
    pub commands: Vec<Command>,
    pub changed: Arc<Notify>,
    /// When the run began, by tokio's clock.
    pub began: Instant,
}

/// What is to be done with the managers' tasks, which only the driver can.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    Start(usize),
    Stop(usize),
}

#[derive(Default)]
pub struct ManagerSeen {
    pub alive: bool,
    /// Grows with each crash.
    pub epoch: u64,
    /// The last plan for each set, which its writes carry out.
    pub plans: BTreeMap<Box<str>, (Read, Plan)>,
    pub restarts: u64,
}

/// What happens on the wire at some moment.
#[derive(Debug)]
pub enum WireEvent {
    /// A request reaches the apiserver.
    Arrive(Box<Call>),
    Answer {
        answer: Answer,
        reply: Reply,
    },
    /// A watch brings news.
    Deliver {
        watch: u64,
    },
    /// A watch ends, as the server ends them from time to time.
    End {
        watch: u64,
    },
    Restart {
        manager: usize,
    },
}

/// The world, as the driver and the managers' connections share it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(world: World) -> Shared {
        Shared(Arc::new(Mutex::new(world)))
    }

    /// The world at this moment.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = world.wire.as_ref().map(|wire| wire.began);
        if let Some(began) = began {
            world.passed_to(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX));
        }
        world
    }
}

impl Wire {
    pub fn new(managers: usize) -> Wire {
        Wire {
            managers: (0..managers).map(|_| ManagerSeen { alive: true, ..ManagerSeen::default() }).collect(),
            watches: BTreeMap::new(),
            pages: BTreeMap::new(),
            numbers: 0,
            frozen: BTreeMap::new(),
            unanswered: Vec::new(),
            commands: (0..managers).map(Command::Start).collect(),
            changed: Arc::default(),
            began: Instant::now(),
        }
    }

    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
