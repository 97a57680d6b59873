//! The wire format of measurements: the reference's protobuf messages, field for field (`spec/autoscaler.md`, section
//! 2.1), so that either side may be the reference's.

use prost::Message;

use crate::ServiceKey;

/// The path on the stats port for a `POST` with which the autoscaler, authenticated by the pod's nonce, makes a
/// queue-proxy ask its clients to reconnect.
pub const RENEW_PATH: &str = "/renew-connections";

/// Maximum size of an encoded [`Stat`], in bytes, as in the reference.
pub const MAX_STAT_BYTES: usize = 336;

/// The content type of an encoded [`Stat`].
pub const CONTENT_TYPE: &str = "application/protobuf";

/// More than the requests in flight, requests per second, or seconds of any pod.
const MOST: f64 = 1e9;

/// One pod's report about the last second.
#[derive(Clone, PartialEq, Message)]
pub struct Stat {
    /// The pod that reports.
    #[prost(string, tag = "1")]
    pub pod_name: String,
    /// Time-averaged number of requests in flight in the period.
    #[prost(double, tag = "2")]
    pub average_concurrent_requests: f64,
    /// The part of it that came through an activator, which reports it too.
    #[prost(double, tag = "3")]
    pub average_proxied_concurrent_requests: f64,
    /// Requests that began in the period.
    #[prost(double, tag = "4")]
    pub request_count: f64,
    /// The part of it that came through an activator.
    #[prost(double, tag = "5")]
    pub proxied_request_count: f64,
    /// Seconds since the reporting process started.
    #[prost(double, tag = "6")]
    pub process_uptime: f64,
    /// Unix seconds; zero if the receiver must fill it in.
    #[prost(int64, tag = "7")]
    pub timestamp: i64,
}

impl Stat {
    /// Returns the concurrency without the activator's part, which the activator reports.
    pub fn own_concurrency(&self) -> f64 {
        self.average_concurrent_requests - self.average_proxied_concurrent_requests
    }

    /// Returns requests per second without the activator's part.
    pub fn own_rate(&self) -> f64 {
        self.request_count - self.proxied_request_count
    }

    /// Returns whether nothing was in flight and nothing began.
    pub fn is_idle(&self) -> bool {
        self.average_concurrent_requests == 0.0 && self.request_count == 0.0
    }

    /// Returns whether every number is plausible, from 0 to 1e9: an invalid report of a faulty or hostile pod must
    /// not reach the windows.
    pub fn is_sane(&self) -> bool {
        [
            self.average_concurrent_requests,
            self.average_proxied_concurrent_requests,
            self.request_count,
            self.proxied_request_count,
            self.process_uptime,
        ]
        .iter()
        .all(|value| (0.0..=MOST).contains(value))
    }
}

/// A [`Stat`] with its service.
#[derive(Clone, PartialEq, Message)]
pub struct WireStatMessage {
    /// Namespace of the service.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Name of the service (in the reference, of the revision).
    #[prost(string, tag = "2")]
    pub name: String,
    /// The report; messages without one are ignored.
    #[prost(message, optional, tag = "3")]
    pub stat: Option<Stat>,
}

impl WireStatMessage {
    /// Creates a report `stat` about `service`.
    pub fn new(service: &ServiceKey, stat: Stat) -> Self {
        Self { namespace: service.namespace.clone(), name: service.name.clone(), stat: Some(stat) }
    }

    /// Returns the service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

/// The reports that an activator sends together, one for each service that it carried.
#[derive(Clone, PartialEq, Message)]
pub struct WireStatMessages {
    /// The reports.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<WireStatMessage>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_through_an_activator_is_counted_once() {
        let stat = Stat {
            average_concurrent_requests: 3.0,
            average_proxied_concurrent_requests: 2.0,
            request_count: 9.0,
            proxied_request_count: 4.0,
            ..Stat::default()
        };
        assert_eq!((stat.own_concurrency(), stat.own_rate()), (1.0, 5.0));
    }

    #[test]
    fn made_up_numbers_are_not_sane() {
        assert!(Stat::default().is_sane());
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert!(!Stat { request_count: bad, ..Stat::default() }.is_sane(), "{bad}");
        }
    }
}
