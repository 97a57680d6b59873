//! From a Route to the Services that divide its requests.
