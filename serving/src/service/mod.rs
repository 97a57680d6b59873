//! From a ksvc to its Configuration and its Route.
