//! Waiting for what must come, and watching that something stays.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failure, Result};

const POLL: Duration = Duration::from_millis(100);

/// Asks again and again until the probe is content; the probe's last complaint is part of the
/// failure.
pub async fn eventually<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let complaint = match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(complaint)) => complaint,
            Err(_) => Failure("no answer in time".to_owned()),
        };
        if Instant::now() + POLL > deadline {
            return Err(Failure(format!("not within {} s: {what}: {complaint}", limit.as_secs_f32())));
        }
        sleep(POLL).await;
    }
}

/// Asks for a while, and fails at the first complaint.
pub async fn holds(duration: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result) -> Result {
    let started = Instant::now();
    while started.elapsed() < duration {
        probe().await.map_err(|complaint| {
            Failure(format!("{what} did not stay so, after {:.1} s: {complaint}", started.elapsed().as_secs_f32()))
        })?;
        sleep(POLL).await;
    }
    Ok(())
}

/// Seconds, short to write.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
