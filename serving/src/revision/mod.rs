//! From a Revision to the Deployment and the Service that run it.
