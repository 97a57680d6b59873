//! Bytes from the network, taken for a question of the API server's.

#![no_main]

use ebb_properties::admission_review::hold;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|question: &[u8]| {
    hold(question);
});
