//! Schemas of what the types cannot say.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any object, kept as it is.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of any objects, kept as they are.
pub(super) fn any_objects(_: &mut SchemaGenerator) -> Schema {
    let any = json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json_schema!({ "type": "array", "items": any })
}

/// A whole number, or a name.
pub(super) fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "integer" }, { "type": "string" }], "x-kubernetes-int-or-string": true })
}

/// Quantities by the name of their resource, as `500m` or `1`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    let quantity = json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "x-kubernetes-int-or-string": true,
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
    });
    json_schema!({ "type": "object", "additionalProperties": quantity })
}
