//! The time of day, handed in by whoever starts the manager. Pauses and patience go by tokio's
//! clock, which no one sets back.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// This machine's.
    pub fn system() -> Self {
        Clock(Arc::new(Timestamp::now))
    }

    /// Another one.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Clock(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}
