//! JSON patch operations on a pod, for the answer of an admission webhook.
//!
//! They are listed explicitly, not computed by comparing two pods: comparing lists by position would rewrite
//! containers and volumes that only moved, and lose fields of a newer API server that Ebb does not know.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// Sets `value` at `path`; in a list, inserts it before the element there.
pub(super) fn add(edits: &mut Patch, path: &[&str], value: Value) {
    edits.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
}

/// Removes the value at `path`.
pub(super) fn remove(edits: &mut Patch, path: &[&str]) {
    edits.0.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}
