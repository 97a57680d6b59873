//! local

pub mod sample_app;
