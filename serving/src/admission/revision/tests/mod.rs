//! Tables of specs and what is wrong with them.

mod annotations;
mod containers;
mod pods;
mod probes;
mod properties;
mod volumes;

use serde_json::{Value, json};

use super::*;
use crate::config::{Feature, Flag};

/// Returns the settings of a new installation, with these flags.
fn config(flags: &[(Feature, Flag)]) -> Config {
    let mut config = Config::default();
    for (feature, flag) in flags {
        config.features.set(*feature, *flag);
    }
    config
}

/// Returns settings with these features.
fn enabled(features: &[Feature]) -> Config {
    let flags: Vec<_> = features.iter().map(|feature| (*feature, Flag::Enabled)).collect();
    config(&flags)
}

/// Returns what is wrong with a spec; empty if nothing is.
fn wrong(spec: Value, config: &Config) -> String {
    let spec: RevisionSpec = serde_json::from_value(spec).unwrap();
    spec_faults(&spec, config).text().unwrap_or_default()
}

/// Returns a spec of one container, which has an image and these fields.
fn one(fields: Value) -> Value {
    json!({ "containers": [with_image(fields)] })
}

/// Returns a container with an image and these fields.
fn with_image(fields: Value) -> Value {
    merged(json!({"name": "user-container", "image": "example.com/shop/cart:v1"}), fields)
}

/// Returns an object with the fields of both; those of the second win.
fn merged(mut object: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    object.as_object_mut().unwrap().extend(fields);
    object
}

/// Returns a spec of one container, with these other fields.
fn beside(fields: Value) -> Value {
    merged(one(json!({})), fields)
}
