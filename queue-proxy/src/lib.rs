//! queue-proxy
