//! Which Revisions of a Configuration are deleted.
