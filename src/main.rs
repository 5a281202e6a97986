//! `order-ledger`: one binary, one subcommand a role, and `up`, which runs them all.

mod cli;
mod commands;
mod config;
mod exit;
mod instance;
mod logging;
mod metrics;
mod roles;
mod traces;
mod up;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Commands are many small allocations that end on another thread than they began on: a third more orders a second than
/// with the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // One TLS provider for the whole process: ring, never OpenSSL. Err means one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
