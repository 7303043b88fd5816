//! The kubectl plugin: a file a verb. What a verb finds out is a value; what it prints is made of that value.

mod adopt;
mod arguments;
mod completion;
mod connect;
mod convert;
mod diff;
mod each;
mod error;
mod events;
mod fetch;
mod follow;
mod get;
mod manifest;
mod migrate;
mod output;
mod phase;
mod plan;
mod print;
mod proxy;
mod pulls;
pub mod reference;
mod release;
mod rollout;
mod seen;
mod target;
mod terminal;
mod tree;
mod truth;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

pub use arguments::{Arguments, Verb};
pub use error::CliError;

/// How a verb ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    pub const SUCCESS: Exit = Exit(0);
    /// What every error ends with, as in kubectl: also a wrong flag.
    pub const FAILURE: Exit = Exit(1);
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// Runs one call of the plugin to its end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let outcome = if arguments.get(1).is_some_and(|word| word == completion::REQUEST) {
        let words: Vec<String> = arguments[2..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
        run(completion::answer(&words))
    } else {
        match Arguments::try_parse_from(arguments) {
            Ok(arguments) => run(arguments.verb.run(&arguments.connection)),
            Err(error) => return refused(&error),
        }
    };
    match outcome {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::SUCCESS.into(),
        Err(error) => {
            eprintln!("{}", error.shown());
            Exit::FAILURE.into()
        }
    }
}

/// A call that cannot be understood, or one for help.
fn refused(error: &clap::Error) -> ExitCode {
    // Nothing is left to be said where standard error is closed.
    let _ = error.print();
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_answer { Exit::SUCCESS.into() } else { Exit::FAILURE.into() }
}

fn run(verb: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(verb)
}
