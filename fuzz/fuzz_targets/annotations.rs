//! Annotations, one a line, each a short key and its value: `min-scale=3`.

#![no_main]

use ebb_annotations::full_key;
use ebb_properties::annotations;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    annotations::hold(&pairs.map(|(key, value)| (full_key(key), value.to_owned())).collect());
});
