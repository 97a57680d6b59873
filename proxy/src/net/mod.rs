//! Opens and accepts every socket of Ebb's programs, and sets its options.
//!
//! A peer that vanished (its node lost power, its network was cut) sends nothing; it is only detected by asking. TCP
//! can do that by itself, without waking the program; [`liveness`] has the numbers and the reasons.

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
