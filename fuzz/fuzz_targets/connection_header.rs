//! Fields of a request, each a line: `connection: close, x-one`.

#![no_main]

use ebb_properties::connection_header::{fields, hold};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &[u8]| hold(&fields(lines)));
