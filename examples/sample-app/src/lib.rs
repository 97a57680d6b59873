//! The application that `ebb demo` and the tests scale: a small HTTP server with adjustable manners.
//!
//! It speaks HTTP/1.1 and HTTP/2 without TLS on one port, takes as long to start and to answer as it is
//! told, and can be made to fail at its start. It knows nothing of Ebb: a pod that works with this program works
//! with any program that listens on `$PORT`.
//!
//! Read [`Options`] first, then [`Server`].
//!
//! | Path | Answer |
//! |---|---|
//! | `/healthz` | 200 at once |
//! | `/started` | `listening_us=` and the Unix time in microseconds since when connections are accepted |
//! | `/echo` | the request's body, streamed back while it arrives |
//! | `/events?count=N&ms=M` | N server-sent events (10), M milliseconds apart (100, at least 1), the first at once |
//! | `/fetch?url=URL` | what the URL answers, with its status; names are resolved by the pod's own name server |
//! | `/upload` | the length of the request's body, in bytes |
//! | `/status/NNN` | that status, 200 to 599 |
//! | `/ws` | a WebSocket that echoes text and binary messages |
//! | any other | `hello from …` after the service time; `?ms=N` sets that time, exactly, for one request |
//!
//! Every answer names its pod in `sample-pod`; a greeting tells in `sample-concurrent` how many greetings were being
//! prepared when its request came, itself among them.

mod events;
mod fetch;
mod identity;
mod names;
mod options;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod websocket;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

pub use options::{Args, Failure, Options};
pub use server::Server;

/// The exit status of [`Failure::Crash`].
const CRASH_STATUS: u8 = 3;

/// Runs the sample app until SIGTERM, and returns the status that the process should exit with.
///
/// The startup delay passes before the port is bound. Right after that one line goes to standard output,
/// `listening port=NNNN at_us=<Unix time in microseconds>`. On SIGTERM what is in flight is finished first.
///
/// # Errors
///
/// When the signal handler cannot be installed, the port cannot be bound, or standard output is closed.
pub async fn run(options: Options) -> io::Result<ExitCode> {
    // Installed before the delay, so that a pod which is stopped while it starts also exits with 0.
    let mut terminate = signal(SignalKind::terminate())?;
    let startup = tokio::select! {
        startup = start(&options) => startup?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
    };
    match startup {
        Startup::Listening(server) => {
            let shutdown = async {
                terminate.recv().await;
            };
            server.run(shutdown).await;
            Ok(ExitCode::SUCCESS)
        }
        Startup::Crashed => Ok(ExitCode::from(CRASH_STATUS)),
    }
}

/// How a start ended.
enum Startup {
    Listening(Server),
    Crashed,
}

async fn start(options: &Options) -> io::Result<Startup> {
    if !options.startup_delay.is_zero() {
        sleep(options.startup_delay).await;
    }
    match options.fail {
        Some(Failure::Crash) => {
            eprintln!("sample app: crashing, as told by --fail crash");
            Ok(Startup::Crashed)
        }
        Some(Failure::NeverListen) => std::future::pending().await,
        None => {
            let server = Server::bind(options).await?;
            announce(&server)?;
            Ok(Startup::Listening(server))
        }
    }
}

/// Tells the one who started this process, on standard output, that connections are accepted from now on.
fn announce(server: &Server) -> io::Result<()> {
    let (port, since) = (server.local_addr().port(), server.listening_since());
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening port={port} at_us={}", since.as_micros())?;
    stdout.flush()
}

/// Time since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the reader is another process, which shares no other clock with this one"
)]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
