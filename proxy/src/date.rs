use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

/// Adds a `Date` to a response without one: the time at which it was passed on (RFC 9110, section 6.6.1).
#[expect(clippy::disallowed_methods, reason = "a date for people and caches; nothing is decided by it")]
pub(crate) fn add_missing(fields: &mut HeaderMap) {
    if !fields.contains_key(header::DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        fields.insert(header::DATE, now);
    }
}
