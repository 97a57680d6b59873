//! The webhooks' certificate: made here, kept in a Secret, renewed in time, and believed by the API server because its
//! authority is written into the webhooks' configurations.
//!
//! The authority outlives many certificates, so that renewing one changes nothing that the API server must be told. When
//! the authority itself is renewed, the API server hears of the new one first, beside the old one, and only then
//! a certificate of the new one is served.

mod due;
mod keeper;
mod material;

pub(super) use keeper::Keeper;
#[cfg(test)]
pub(super) use material::Material;
