//! How long to wait after a failure: doubling, bounded, and with some chance in it so that many
//! sets do not come back at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The first and the longest pause.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub first: Duration,
    pub longest: Duration,
}

/// Between tries of one read.
pub const READS: Limits = Limits { first: Duration::from_millis(100), longest: Duration::from_secs(2) };
/// Between looks at a set whose writes fail.
pub const SETS: Limits = Limits { first: Duration::from_millis(50), longest: Duration::from_secs(30) };
/// Between tries of a write that the server refuses: it heals within 30 s of the cause's end.
pub const REFUSALS: Limits = Limits { first: Duration::from_millis(500), longest: Duration::from_secs(15) };
/// Between starts of a watch.
pub const WATCHES: Limits = Limits { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// Chance that is good enough to spread load: numbers that a seed makes.
#[derive(Clone, Debug)]
pub struct Chance(Arc<AtomicU64>);

impl Chance {
    /// Another sequence in each process (each hasher of the standard library has its own seed).
    pub fn system() -> Self {
        Chance::of_seed(RandomState::new().build_hasher().finish())
    }

    /// The same sequence for the same seed.
    pub fn of_seed(seed: u64) -> Self {
        Chance(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number (SplitMix64).
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The pause after `failures` failures in a row (at least one), a quarter more or less.
    pub fn delay(&self, failures: u32, limits: Limits) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.jittered(limits.first.saturating_mul(1 << doublings).min(limits.longest))
    }

    /// `duration`, a quarter more or less.
    pub fn jittered(&self, duration: Duration) -> Duration {
        const PARTS: u32 = 1024;
        let part = u32::try_from(self.next() % u64::from(PARTS / 2)).unwrap_or(0);
        duration.saturating_mul(PARTS - PARTS / 4 + part) / PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let chance = Chance::system();
        for (failures, plain_ms) in [(0, 50), (1, 50), (2, 100), (5, 800), (11, 30_000), (u32::MAX, 30_000)] {
            let plain = Duration::from_millis(plain_ms);
            for _ in 0..50 {
                let pause = chance.delay(failures, SETS);
                assert!(pause >= plain * 3 / 4 && pause <= plain * 5 / 4, "{failures}: {pause:?}");
            }
        }
    }
}
