//! Bytes of a client's connection, on their way through a queue-proxy to an app.

#![no_main]

use std::cell::RefCell;

use ebb_hops::Path;
use ebb_properties::hop::Way;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WAY: RefCell<Way> = RefCell::new(Way::new(Path::Sidecar));
}

fuzz_target!(|bytes: &[u8]| WAY.with_borrow_mut(|way| way.hold(bytes)));
