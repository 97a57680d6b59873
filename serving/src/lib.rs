//! Knative Serving's API as a translator to annotated Services. So far: its kinds, and the schemas that the API server
//! checks them by.

pub mod api;
