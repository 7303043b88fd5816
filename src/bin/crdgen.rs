//! Writes the CustomResourceDefinition, or its reference page, to standard output.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Write the CustomResourceDefinition of AdvancedStatefulSet as YAML.
#[derive(Parser)]
#[command(name = "crdgen")]
struct Arguments {
    /// Write the reference page (Markdown) instead.
    #[arg(long)]
    docs: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let text = if arguments.docs { asts::api::docs::markdown() } else { asts::api::crd::yaml() };
    let written = text.map_err(|error| error.to_string()).and_then(|text| {
        std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("crdgen: {message}");
            ExitCode::FAILURE
        }
    }
}
