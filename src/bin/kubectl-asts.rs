//! The kubectl plugin: `kubectl asts`.

use std::process::ExitCode;

fn main() -> ExitCode {
    asts::cli::main(std::env::args_os())
}
