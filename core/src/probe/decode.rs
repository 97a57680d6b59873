//! Decodes probes, exactly as leniently and as strictly as the reference.
//!
//! `serde_json` parses the JSON and splits it into values; this module interprets them, because a value is *merged*
//! into an existing one: if a key occurs twice, the last value wins, or, if it is an object, is merged into the
//! first.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Exec, Grpc, Header, HttpGet, Port, Probe, TcpSocket};

/// Maximum length of the text, in bytes: Linux's limit for one environment variable.
pub const MAX_BYTES: usize = 128 * 1024;

/// A probe that cannot be decoded.
#[derive(Debug, Error)]
pub enum InvalidProbe {
    /// The text is too long.
    #[error("a probe of {0} bytes exceeds the bound of {MAX_BYTES}")]
    TooLong(usize),
    /// The text is not JSON.
    #[error("want a Kubernetes Probe as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// A value has the wrong type.
    #[error("{}: want {want}, or null", if path.is_empty() { "the whole" } else { path })]
    WrongKind {
        /// Its path, for example `httpGet.port`.
        path: String,
        /// The type that is expected.
        want: &'static str,
    },
}

impl InvalidProbe {
    const fn wrong_kind(want: &'static str) -> Self {
        Self::WrongKind { path: String::new(), want }
    }

    /// Prefixes the path with the enclosing value's.
    fn within(mut self, outer: &str) -> Self {
        if let Self::WrongKind { path, .. } = &mut self {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            *path = format!("{outer}{dot}{path}");
        }
        self
    }
}

impl Probe {
    /// Decodes one probe, a JSON object; `null` means no probe.
    ///
    /// Keys are case-insensitive, unknown keys are ignored, and `null` leaves a value unchanged.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidProbe`], also for a list of probes.
    pub fn decode(text: &str) -> Result<Option<Self>, InvalidProbe> {
        decode(text)
    }

    /// Decodes a JSON array of probes, one for each container; `null` is a container without a probe.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidProbe`], also for a single probe.
    pub fn decode_multiple(text: &str) -> Result<Vec<Option<Self>>, InvalidProbe> {
        decode(text)
    }
}

fn decode<T: Merge + Default>(text: &str) -> Result<T, InvalidProbe> {
    if text.len() > MAX_BYTES {
        return Err(InvalidProbe::TooLong(text.len()));
    }
    let mut value = T::default();
    value.merge(serde_json::from_str(text)?)?;
    Ok(value)
}

/// Merges a JSON value into an existing one.
trait Merge {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe>;
}

/// Implements [`Merge`] for a struct from its fields' names in JSON.
macro_rules! merge_fields {
    ($type:ty { $($name:literal => $field:ident),+ $(,)? }) => {
        impl Merge for $type {
            fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
                for (key, value) in members(json)? {
                    let key = folded(&key);
                    $(if key.eq_ignore_ascii_case($name) {
                        self.$field.merge(value).map_err(|invalid| invalid.within($name))?;
                    })+
                }
                Ok(())
            }
        }
    };
}

merge_fields!(Probe {
    "exec" => exec,
    "httpGet" => http_get,
    "tcpSocket" => tcp_socket,
    "grpc" => grpc,
    "initialDelaySeconds" => initial_delay_seconds,
    "timeoutSeconds" => timeout_seconds,
    "periodSeconds" => period_seconds,
    "successThreshold" => success_threshold,
    "failureThreshold" => failure_threshold,
    "terminationGracePeriodSeconds" => termination_grace_period_seconds,
});
merge_fields!(Exec { "command" => command });
merge_fields!(HttpGet {
    "path" => path,
    "port" => port,
    "host" => host,
    "scheme" => scheme,
    "httpHeaders" => http_headers,
});
merge_fields!(Header { "name" => name, "value" => value });
merge_fields!(TcpSocket { "port" => port, "host" => host });
merge_fields!(Grpc { "port" => port, "service" => service });

impl<T: Merge + Default> Merge for Option<T> {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        if is_null(json) {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().merge(json)
    }
}

/// A list that occurs twice is merged into the first, element by element, as by the reference.
impl<T: Merge + Default> Merge for Vec<T> {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        if is_null(json) {
            self.clear();
            return Ok(());
        }
        if !json.get().starts_with('[') {
            return Err(InvalidProbe::wrong_kind("a list"));
        }
        let elements: Vec<&RawValue> = serde_json::from_str(json.get())?;
        self.resize_with(elements.len(), T::default);
        for (index, (element, json)) in self.iter_mut().zip(elements).enumerate() {
            element.merge(json).map_err(|invalid| invalid.within(&format!("[{index}]")))?;
        }
        Ok(())
    }
}

impl Merge for String {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        if !is_null(json) {
            *self = text(json).ok_or(InvalidProbe::wrong_kind("text"))?;
        }
        Ok(())
    }
}

impl Merge for i32 {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        merge_number(self, json, "a whole number of 32 bits")
    }
}

impl Merge for i64 {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        merge_number(self, json, "a whole number of 64 bits")
    }
}

/// Parses a number by its notation: `3.0` and `3e0` are not integers to the reference.
fn merge_number<T: FromStr>(number: &mut T, json: &RawValue, want: &'static str) -> Result<(), InvalidProbe> {
    if !is_null(json) {
        *number = json.get().parse().map_err(|_| InvalidProbe::wrong_kind(want))?;
    }
    Ok(())
}

impl Merge for Port {
    fn merge(&mut self, json: &RawValue) -> Result<(), InvalidProbe> {
        if let Some(name) = text(json) {
            *self = Self::Name(name);
            return Ok(());
        }
        let mut number = if let Self::Number(number) = *self { number } else { 0 };
        number.merge(json).map_err(|_| InvalidProbe::wrong_kind("a whole number of 32 bits, text"))?;
        *self = Self::Number(number);
        Ok(())
    }
}

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

/// Folds the key so that equal keys differ at most in ASCII case: under case folding, two non-ASCII letters equal
/// ASCII ones.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

/// Returns the members of an object, in order; none for `null`.
fn members(json: &RawValue) -> Result<Vec<(String, &RawValue)>, InvalidProbe> {
    match json.get().as_bytes().first() {
        Some(b'{') => Ok(serde_json::from_str::<Members<'_>>(json.get())?.0),
        Some(b'n') => Ok(Vec::new()),
        _ => Err(InvalidProbe::wrong_kind("an object")),
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((text(key).unwrap_or_default(), value));
        }
        Ok(Members(members))
    }
}

/// Returns the content of a JSON string; `None` for another value. A lone surrogate becomes U+FFFD, while
/// `serde_json` would refuse it.
fn text(json: &RawValue) -> Option<String> {
    let quoted = json.get().strip_prefix('"')?.strip_suffix('"')?;
    let mut units = Vec::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match chars.next()? {
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'u' => {
                let (digits, rest) = chars.as_str().split_at_checked(4)?;
                chars = rest.chars();
                u16::from_str_radix(digits, 16).ok()?
            }
            // `serde_json` accepts only `"`, `\` and `/` here.
            itself => u16::try_from(u32::from(itself)).ok()?,
        });
    }
    Some(String::from_utf16_lossy(&units))
}
