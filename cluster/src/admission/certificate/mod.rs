//! The webhooks' certificate: created here, kept in a Secret, and renewed in time. The API server trusts it because
//! its authority is in the webhook configurations.
//!
//! The authority outlives many certificates, so renewing a certificate requires no change in the API server. When the
//! authority itself is renewed, it is first added beside the old one. Only then is a certificate of the new authority
//! served.

mod due;
mod keeper;
mod material;

pub(super) use keeper::Keeper;
#[cfg(test)]
pub(super) use material::Material;
