//! Writes the CustomResourceDefinition, its reference page, the page about updates in place, or that of the plugin, to
//! standard output.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Write the CustomResourceDefinition of AdvancedStatefulSet as YAML.
#[derive(Parser)]
#[command(name = "crdgen")]
struct Arguments {
    /// Write the reference page (Markdown) instead.
    #[arg(long)]
    docs: bool,
    /// Write the page about updates in place (Markdown) instead, with the figures of this file.
    #[arg(long, value_name = "FILE")]
    inplace: Option<PathBuf>,
    /// Write the reference page of the plugin (Markdown) instead.
    #[arg(long)]
    cli: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let written = text(&arguments).and_then(|text| {
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

fn text(arguments: &Arguments) -> Result<String, String> {
    match &arguments.inplace {
        Some(file) => {
            let trace = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            asts::inplace::docs::markdown(&trace).map_err(|error| error.to_string())
        }
        None if arguments.cli => Ok(asts::cli::reference::markdown()),
        None if arguments.docs => asts::api::docs::markdown().map_err(|error| error.to_string()),
        None => asts::api::crd::yaml().map_err(|error| error.to_string()),
    }
}
