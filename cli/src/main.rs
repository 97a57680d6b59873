//! ebb

#[allow(dead_code, unused_imports, reason = "`ebb demo`, its only user, comes next")]
mod load;

fn main() {}
