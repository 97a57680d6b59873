//! Every socket of Ebb's programs is opened or accepted here, and gets its options here.
//!
//! A partner that is silently gone (its node lost power, its network was cut) says nothing: only asking tells. TCP asks
//! by itself where it is told to, which costs no wake-up of ours; [`liveness`] has the numbers, and why.

mod connect;
mod listen;
pub mod liveness;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;

pub use connect::connect;
pub(crate) use listen::accepted_already;
pub use listen::listen;
pub use liveness::Liveness;
pub use stream::Stream;
