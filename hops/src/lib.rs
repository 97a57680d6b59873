//! Tests that the hops are transparent: a client gets the same through them as from the app directly.
//!
//! A [`Case`] is data: what a client sends, what a scripted app ([`app::App`]) does, and the expected result.
//! [`check`] runs it on a [`Path`]: directly to the app, through a queue-proxy, through an activator and a
//! queue-proxy, and through both while no pod is ready yet. Client and app exchange bytes over TCP and use the strict
//! parser in [`message`], so that the code under test does not judge itself.
//!
//! Read first: [`Case`], then `tests/`.
#![allow(clippy::missing_panics_doc, reason = "whatever goes wrong here fails the test, and says where")]

pub mod app;
mod autoscaler;
mod case;
pub mod client;
pub mod message;
pub mod net;
mod observed;
mod path;
mod text;
pub mod wire;

use std::{panic::Location, time::Duration};

pub use case::{Case, Difference, Reads, Run, Step, Want, check, has_a_reason, refused};
pub use observed::Observed;
pub use path::{Hops, Path, pod_at};
pub use text::Text;

/// Maximum time that a test waits for anything. It is far more than needed, so only a fault reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let come = tokio::time::timeout(PATIENCE, future).await;
        come.unwrap_or_else(|_| panic!("{caller}: waited {PATIENCE:?} in vain for {what}"))
    }
}

/// Waits for a condition without an event.
#[track_caller]
pub fn until(what: &str, mut reached: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(what, async move {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        while !reached() {
            looks.tick().await;
        }
    })
}

/// Defines a module for each case, with one test for each path, including the direct one.
#[macro_export]
macro_rules! on_every_path {
    ($($name:ident => $case:expr;)*) => { $(
        mod $name {
            #[allow(unused_imports, reason = "not every case needs what its file brings")]
            use super::*;
            $crate::on_paths!($case; direct Direct, sidecar Sidecar, both Both, held Held);
        }
    )* };
}

/// The same without the direct path, for what a hop does differently from the app.
#[macro_export]
macro_rules! through_the_hops {
    ($($name:ident => $case:expr;)*) => { $(
        mod $name {
            #[allow(unused_imports, reason = "not every case needs what its file brings")]
            use super::*;
            $crate::on_paths!($case; sidecar Sidecar, both Both, held Held);
        }
    )* };
}

/// Defines one test of `$case` for each path.
#[doc(hidden)]
#[macro_export]
macro_rules! on_paths {
    ($case:expr; $($test:ident $path:ident),*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::check(&$case, $crate::Path::$path).await;
        }
    )* };
}

/// Defines a module for each `async fn(Path)` of a file, with one test for each of its paths.
#[macro_export]
macro_rules! each_on_paths {
    ($($test:ident: $($name:ident $path:ident),*;)*) => { $(
        mod $test {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$test($crate::Path::$path).await;
                }
            )*
        }
    )* };
}

/// Defines two tests for each async function of a path: with the sidecar alone, and with both hops and a ready pod.
#[macro_export]
macro_rules! on_both_ways {
    ($($name:ident => $test:expr;)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sidecar() {
                let test = $test;
                test($crate::Path::Sidecar).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn both() {
                let test = $test;
                test($crate::Path::Both).await;
            }
        }
    )* };
}
