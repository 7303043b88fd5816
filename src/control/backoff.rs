//! How long to wait after a failure: doubling, bounded, and with some chance in it so that many
//! sets do not come back at once.

use std::hash::{BuildHasher, Hasher, RandomState};
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

/// The pause after `failures` failures in a row (at least one), a quarter more or less.
pub fn delay(failures: u32, limits: Limits) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let plain = limits.first.saturating_mul(1 << doublings).min(limits.longest);
    jittered(plain)
}

/// `duration`, a quarter more or less.
pub fn jittered(duration: Duration) -> Duration {
    const PARTS: u32 = 1024;
    let part = u32::try_from(random() % u64::from(PARTS / 2)).unwrap_or(0);
    duration.saturating_mul(PARTS - PARTS / 4 + part) / PARTS
}

/// Chance that is good enough to spread load (each hasher of the standard library has its own seed).
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        for (failures, plain_ms) in [(0, 50), (1, 50), (2, 100), (5, 800), (11, 30_000), (u32::MAX, 30_000)] {
            let plain = Duration::from_millis(plain_ms);
            for _ in 0..50 {
                let pause = delay(failures, SETS);
                assert!(pause >= plain * 3 / 4 && pause <= plain * 5 / 4, "{failures}: {pause:?}");
            }
        }
    }
}
