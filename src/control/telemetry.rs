//! Logs: text for people, JSON for machines.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging to stderr. `level` is a level or a filter as `RUST_LOG` takes it.
/// A filter that cannot be read falls back to `info`.
pub fn start(format: LogFormat, level: &str) {
    // A bare level is ours; of the libraries only what is wrong is of interest, and the client says
    // at error level what the manager handles.
    let bare = level.parse::<tracing::Level>().is_ok();
    let directives = if bare { format!("warn,asts={level},kube_client=off,tower_http=off") } else { level.to_owned() };
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("warn,asts=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (tests) keeps the first.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
