//! The log, on the standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts to log: warnings, and more for every `-v`; [`LOG_VARIABLE`] says it in detail.
pub(crate) fn init(verbose: u8) {
    let filter =
        EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(filter(verbose)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .init();
}

/// What so many `-v` let through.
pub(crate) fn filter(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn",
        1 => "info,quinn=warn,rustls=warn",
        2 => "debug,quinn=info,rustls=info",
        _ => "trace",
    }
}

/// The environment variable with a filter such as `warn,rolecast=debug`.
pub(crate) const LOG_VARIABLE: &str = "ROLECAST_LOG";
