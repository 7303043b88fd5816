//! Waiting for others: until it is so, or until the time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cli::error::{CliError, of_client};

const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How long a look may take. A connection can be dead without an end; what was begun is found by the next look.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// So much later what does not look at the time itself is ended: what is to be said at the end has its time too.
const GRACE: Duration = Duration::from_secs(6);
const NO_ANSWER: &str = "the apiserver does not answer";

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

/// How it ended to wait for what moves.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved<T> {
    Done(T),
    /// Nothing moves any more, and what is missing.
    Still(String),
}

/// A look, and whether there was an answer.
enum Seen<T> {
    Answer(Look<T>),
    Away(String),
}

impl Patience {
    /// Zero waits for ever, as in kubectl.
    pub fn of(limit: Duration) -> Patience {
        Patience { until: Instant::now().checked_add(limit).filter(|_| !limit.is_zero()) }
    }

    /// Ends anything when the time is over, also a request that has no answer.
    ///
    /// # Errors
    /// Those of `work`; or that the time is over.
    pub async fn bound<T>(self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        let Some(until) = self.until else { return work.await };
        timeout_at(until + GRACE, work).await.unwrap_or_else(|_| Err(over(NO_ANSWER)))
    }

    /// Looks again and again. An apiserver that is away for a while is waited for as well.
    ///
    /// # Errors
    /// The first error that time does not mend; or that the time is over, with what was waited for.
    pub async fn until<T>(self, mut look: impl AsyncFnMut() -> Result<Look<T>, CliError>) -> Result<T, CliError> {
        loop {
            match self.once(&mut look).await? {
                Seen::Answer(Look::Done(found)) => return Ok(found),
                Seen::Answer(Look::Waiting(what)) | Seen::Away(what) => self.again(&what).await?,
            }
        }
    }

    /// The same for what goes on piece by piece: given up when what is waited for stays the same for so long.
    ///
    /// # Errors
    /// As of `until`.
    pub async fn while_it_moves<T>(
        self,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Result<Look<T>, CliError>,
    ) -> Result<Moved<T>, CliError> {
        let (mut last, mut since) = (String::new(), Instant::now());
        loop {
            let (waiting, is_same) = match self.once(&mut look).await? {
                Seen::Answer(Look::Done(found)) => return Ok(Moved::Done(found)),
                Seen::Answer(Look::Waiting(what)) => {
                    let is_same = what == last;
                    (what, is_same)
                }
                // Nobody knows whether it moves.
                Seen::Away(what) => (what, false),
            };
            if !is_same {
                since = Instant::now();
            } else if since.elapsed() >= limit {
                return Ok(Moved::Still(waiting));
            }
            self.again(&waiting).await?;
            last = waiting;
        }
    }

    /// The pause before the next look.
    ///
    /// # Errors
    /// The time is over.
    pub async fn again(self, waiting: &str) -> Result<(), CliError> {
        let next = Instant::now() + LOOK_AGAIN;
        if let Some(until) = self.until.filter(|until| *until <= next) {
            sleep_until(until).await;
            return Err(over(waiting));
        }
        sleep_until(next).await;
        Ok(())
    }

    async fn once<T>(self, look: &mut impl AsyncFnMut() -> Result<Look<T>, CliError>) -> Result<Seen<T>, CliError> {
        let limit = Instant::now() + LOOK_LIMIT;
        let limit = self.until.map_or(limit, |until| until.min(limit));
        match timeout_at(limit, look()).await {
            Ok(Ok(look)) => Ok(Seen::Answer(look)),
            Ok(Err(CliError::Api(error))) if passes(&error) => Ok(Seen::Away(of_client(&error))),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Seen::Away(NO_ANSWER.to_owned())),
        }
    }
}

fn over(waiting: &str) -> CliError {
    CliError::Failed(format!("timed out waiting: {waiting}; the same command goes on from here"))
}

/// Whether an error may be gone at the next try.
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn nothing<T>() -> Result<Look<T>, CliError> {
        std::future::pending().await
    }

    fn waiting(what: impl Into<String>) -> Result<Look<()>, CliError> {
        Ok(Look::Waiting(what.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_over_also_where_nobody_answers() {
        let started = Instant::now();
        let error = Patience::of(MINUTE * 5).until(async || nothing::<()>().await).await.unwrap_err();
        assert!(error.to_string().contains(NO_ANSWER), "{error}");
        assert_eq!(started.elapsed().as_secs(), 300);
        let bound = Patience::of(MINUTE).bound(std::future::pending::<Result<(), CliError>>());
        assert!(bound.await.unwrap_err().to_string().contains(NO_ANSWER));
        let told = Patience::of(MINUTE).until(async || waiting("a Pod")).await.unwrap_err();
        assert!(told.to_string().contains("timed out waiting: a Pod;"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_connection_is_left_for_another() {
        let mut looks = 0;
        let found = Patience::of(Duration::ZERO)
            .until(async || {
                looks += 1;
                if looks < 3 { nothing().await } else { Ok(Look::Done(looks)) }
            })
            .await;
        assert_eq!(found.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_has_all_the_time_there_is() {
        let begun = Instant::now();
        let since = || begun.elapsed().as_secs();
        // One more every 20 s.
        let moving = async || if since() < 200 { waiting(format!("{}", since() / 20)) } else { Ok(Look::Done(())) };
        assert_eq!(Patience::of(MINUTE * 5).while_it_moves(MINUTE, moving).await.unwrap(), Moved::Done(()));
        let short = Patience::of(MINUTE).while_it_moves(MINUTE, async || waiting(format!("{}", since()))).await;
        assert!(short.unwrap_err().to_string().contains("timed out"));
        let begun = Instant::now();
        let still = Patience::of(MINUTE * 5).while_it_moves(MINUTE, async || waiting("web-0")).await.unwrap();
        assert_eq!((still, begun.elapsed().as_secs()), (Moved::Still("web-0".into()), 60));
    }
}
