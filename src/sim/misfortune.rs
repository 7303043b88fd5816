//! What goes wrong besides, each kind in some of the seeds and drawn by itself: a kind that is added
//! leaves the others' runs as they were.

use super::clocks::{CONTROLLERS_MAX, Clocks};
use super::random::Random;
use super::script::{Step, Swarm};

/// Milliseconds by which clocks are wrong.
const SKEWS_MS: [i64; 5] = [-40_000, -1500, 0, 1500, 40_000];
/// And how far somebody sets them forth and back.
const JUMPS_MS: [i64; 6] = [-600_000, -40_000, -2000, 2000, 40_000, 600_000];

/// Half of the seeds whose clocks are behind, and some others, have a clock of its own for each controller.
pub fn draw_clocks(seed: u64, behind_ms: i64) -> Clocks {
    let mut random = Random::new(seed ^ 0x0063_6c6f_636b);
    if random.per_mille(if behind_ms > 0 { 500 } else { 200 }) {
        return [(); CONTROLLERS_MAX].map(|()| random.pick(&SKEWS_MS));
    }
    [-behind_ms; CONTROLLERS_MAX]
}

/// Adds to what happens until the last step.
pub fn add(seed: u64, swarm: &Swarm, steps: &mut Vec<(i64, Step)>) {
    let last_ms = steps.last().map_or(0, |(at, _)| *at);
    for (kind, draw) in KINDS.into_iter().enumerate() {
        let mut random = Random::new(seed ^ (0x6d69_7366_0000 + kind as u64));
        if !random.per_mille(120) {
            continue;
        }
        for _ in 0..random.range(1, 2) {
            let (begins, ends) = draw(&mut random, swarm);
            let at_ms = random.range(0, last_ms);
            steps.push((at_ms, begins));
            // Else when all faults end.
            if random.per_mille(600) {
                steps.push((at_ms + random.range(100, 120_000), ends));
            }
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    let mut random = Random::new(seed ^ 0x656e_6400);
    if random.per_mille(30) {
        let last_ms = steps.last().map_or(0, |(at, _)| *at);
        steps.push((last_ms + random.range(0, 30_000), Step::EndNamespace));
    }
}

/// What begins, and what ends it.
type Draw = fn(&mut Random, &Swarm) -> (Step, Step);

const KINDS: [Draw; 7] = [
    |random, swarm| {
        let controller = random.below(swarm.controllers);
        (Step::SetClock { controller, ahead_ms: random.pick(&JUMPS_MS) }, Step::SetClock { controller, ahead_ms: 0 })
    },
    |random, _| (Step::HoldPod(random.below(8)), Step::LetPodsGo),
    |random, _| (Step::TakeClaim(random.below(6)), Step::GiveBackClaims),
    |random, _| (Step::LoseClaim(random.below(6)), Step::GiveBackClaims),
    |_, _| (Step::DenyPods(true), Step::DenyPods(false)),
    |_, _| (Step::Inject(true), Step::Inject(false)),
    |_, _| (Step::TakeNothing(true), Step::TakeNothing(false)),
];
