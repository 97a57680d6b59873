//! Bytes from the network, taken for stats.

#![no_main]

use ebb_properties::stats;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stats::hold(bytes));
