//! `make demo`: a cluster, the manager, five Pods, and an update in place while requests come in.
//! It ends with everything gone, also when it is interrupted.

#[allow(dead_code, unused_imports)]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code, unused_imports)]
#[path = "../live/mod.rs"]
mod live;
mod narrator;
mod steps;
mod table;

use std::process::ExitCode;

use harness::{Context, Result};
use narrator::Narrator;
use tokio::signal::unix::{SignalKind, signal};

/// The shell's way to say: ended by an interrupt.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let narrator = Narrator::start();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")
        .map(|runtime| runtime.block_on(until_done_or_told(&narrator)));
    match outcome {
        Ok(Some(Ok(()))) => {
            narrator.say("Done, and nothing of it is left.");
            ExitCode::SUCCESS
        }
        Ok(Some(Err(failure))) | Err(failure) => {
            narrator.say(&format!("FAILED: {failure}"));
            ExitCode::FAILURE
        }
        Ok(None) => {
            narrator.say("Interrupted; everything that was started has been ended.");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// `None`: a signal came first. What the demo holds goes with its future: manager and cluster.
async fn until_done_or_told(narrator: &Narrator) -> Option<Result> {
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => return Some(Err(error.into())),
    };
    let outcome = tokio::select! {
        outcome = steps::run(narrator) => outcome,
        _ = interrupt.recv() => return None,
        _ = terminate.recv() => return None,
    };
    // An interrupt reaches the children too: they may fail of it before it is noticed here.
    tokio::select! {
        biased;
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        () = tokio::time::sleep(std::time::Duration::from_millis(100)), if outcome.is_err() => Some(outcome),
        () = std::future::ready(()), if outcome.is_ok() => Some(outcome),
    }
}
