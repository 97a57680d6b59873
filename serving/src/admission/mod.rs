//! What the API server asks before it stores an object: defaults, and what is wrong with it.
