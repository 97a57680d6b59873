//! The sample application as a program of its own, for `ebb run -- ebb-sample-app` and for tests.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use ebb_sample_app::{Args, run};

/// An HTTP server that starts and answers as slowly as it is told
#[derive(Parser)]
#[command(name = "ebb-sample-app")]
struct Cli {
    #[command(flatten)]
    args: Args,
}

// One thread is plenty for a server that mostly waits, and the fastest to start.
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    run(Cli::parse().args.into()).await
}
