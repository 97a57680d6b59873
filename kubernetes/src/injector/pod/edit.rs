//! Changes of a pod, as an admission webhook answers them.
//!
//! They are named one by one, not found by comparing two pods: a comparison of lists by position would rewrite
//! containers and volumes that only moved, and lose what a newer API server knows of them and we do not.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// Writes `value` at `path`, over what is there; in a list, before what is there.
pub(super) fn add(edits: &mut Patch, path: &[&str], value: Value) {
    edits.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
}

/// Takes away what is at `path`.
pub(super) fn remove(edits: &mut Patch, path: &[&str]) {
    edits.0.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}
