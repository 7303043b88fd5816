//! How often a set's status is written when it only tells what others read: often while few sets
//! are busy, less often while many are, so that the apiserver has time for their Pods.

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::action::StatusWrite;

/// Between two such writes of one set.
const GAP: Duration = Duration::from_millis(300);
/// The same while many sets are busy, of what is not only on its way.
const GAP_BUSY: Duration = Duration::from_secs(1);
/// The same while many sets are busy, of counts.
const GAP_BUSY_COUNTS: Duration = Duration::from_secs(10);
/// Status writes of all sets in [`WINDOW`], from which on many are busy.
const BUSY_WRITES: u32 = 40;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the status writes of all sets.
#[derive(Debug)]
pub struct StatusPace {
    window_began: Instant,
    writes: u32,
    writes_before: u32,
}

impl StatusPace {
    pub fn new() -> Self {
        StatusPace { window_began: Instant::now(), writes: 0, writes_before: 0 }
    }

    /// A status was written.
    pub fn count(&mut self) {
        self.turn();
        self.writes = self.writes.saturating_add(1);
    }

    /// The least time between two writes of one set.
    pub fn gap(&mut self, write: StatusWrite) -> Duration {
        self.turn();
        let busy = self.writes.max(self.writes_before) >= BUSY_WRITES;
        match write {
            _ if !busy => GAP,
            StatusWrite::Later => GAP_BUSY_COUNTS,
            _ => GAP_BUSY,
        }
    }

    fn turn(&mut self) {
        let passed = self.window_began.elapsed();
        if passed < WINDOW {
            return;
        }
        self.writes_before = if passed < 2 * WINDOW { self.writes } else { 0 };
        self.writes = 0;
        self.window_began = Instant::now();
    }
}

impl Default for StatusPace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_writes_make_each_set_wait_longer_until_they_are_over() {
        let mut pace = StatusPace::new();
        for _ in 1..BUSY_WRITES {
            pace.count();
        }
        assert_eq!(pace.gap(StatusWrite::Soon), GAP);
        pace.count();
        assert_eq!(pace.gap(StatusWrite::Soon), GAP_BUSY);
        assert_eq!(pace.gap(StatusWrite::Later), GAP_BUSY_COUNTS);
        tokio::time::advance(WINDOW).await;
        assert_eq!(pace.gap(StatusWrite::Soon), GAP_BUSY, "the window before counts too");
        tokio::time::advance(WINDOW).await;
        assert_eq!(pace.gap(StatusWrite::Soon), GAP);
        for _ in 0..BUSY_WRITES {
            pace.count();
        }
        tokio::time::advance(10 * WINDOW).await;
        assert_eq!(pace.gap(StatusWrite::Soon), GAP, "long ago");
    }
}
