//! From a `DomainMapping` to the host of a Route.
