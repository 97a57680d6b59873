//! From a Configuration to its Revisions.
