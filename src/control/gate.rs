//! Whether this process may start a write now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Open until a moment that each renewal of the lease moves on. A renewal that does not come
/// closes the gate by itself, whatever the renewing task does.
#[derive(Debug)]
pub struct WriteGate {
    started: Instant,
    open_until_ms: AtomicU64,
}

impl Default for WriteGate {
    fn default() -> Self {
        WriteGate { started: Instant::now(), open_until_ms: AtomicU64::new(0) }
    }
}

impl WriteGate {
    /// A gate that is always open: no other manager is there.
    pub fn always_open() -> Self {
        WriteGate { started: Instant::now(), open_until_ms: AtomicU64::new(u64::MAX) }
    }

    /// Opens the gate for `duration` from `from` on.
    pub fn open_for(&self, from: Instant, duration: Duration) {
        let until = from.saturating_duration_since(self.started).saturating_add(duration);
        self.open_until_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub fn close(&self) {
        self.open_until_ms.store(0, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        let until = self.open_until_ms.load(Ordering::Acquire);
        until == u64::MAX || self.started.elapsed().as_millis() < u128::from(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_by_itself() {
        let gate = WriteGate::default();
        assert!(!gate.is_open());
        gate.open_for(Instant::now(), Duration::from_secs(60));
        assert!(gate.is_open());
        gate.open_for(Instant::now(), Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        assert!(!gate.is_open());
        gate.open_for(Instant::now(), Duration::from_secs(60));
        gate.close();
        assert!(!gate.is_open());
        assert!(WriteGate::always_open().is_open());
    }
}
