//! Waiting for others: until it is so, or until the time is over.

use std::time::{Duration, Instant};

use crate::cli::error::{CliError, of_client};

const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Until when to wait; `--timeout`, from the start of the call.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// `None`: for ever.
    until: Option<Instant>,
}

/// What a look has shown.
#[derive(Debug)]
pub enum Look<T> {
    Done(T),
    /// Not yet, and what is waited for.
    Waiting(String),
}

impl Patience {
    /// Zero waits for ever, as in kubectl.
    pub fn of(limit: Duration) -> Patience {
        Patience { until: Instant::now().checked_add(limit).filter(|_| !limit.is_zero()) }
    }

    /// This one, but not longer than `limit` from now.
    pub fn at_most(self, limit: Duration) -> Patience {
        let limit = Instant::now().checked_add(limit);
        Patience { until: [self.until, limit].into_iter().flatten().min() }
    }

    /// Looks again and again. An apiserver that is away for a while is waited for as well.
    ///
    /// # Errors
    /// The first error that time does not mend; or that the time is over, with what was waited for.
    pub async fn until<T>(self, mut look: impl AsyncFnMut() -> Result<Look<T>, CliError>) -> Result<T, CliError> {
        loop {
            let waiting = match look().await {
                Ok(Look::Done(found)) => return Ok(found),
                Ok(Look::Waiting(what)) => what,
                Err(CliError::Api(error)) if passes(&error) => of_client(&error),
                Err(error) => return Err(error),
            };
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return Err(CliError::Failed(format!(
                    "timed out waiting: {waiting}; the same command goes on from here"
                )));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether an error may be gone at the next try.
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}
