//! Bodies, and the guards that are dropped when a body ends.

mod error;
mod relay;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use error::BodyError;
pub(crate) use relay::{AnswerBody, Relay};
pub use request::{REPLAYED, RequestBody};
pub use response::ResponseBody;
