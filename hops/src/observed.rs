use crate::{Text, app::Seen, client::Answer, message::Field, message::Head};

/// The result of a case at both ends, without what is specific to each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the client received.
    pub answer: Answer,
    /// What the app received.
    pub requests: Vec<Seen>,
    /// The values of `X-Forwarded-For` that the app received, one for each request.
    pub forwarded_for: Vec<Text>,
}

/// Fields that concern one connection only, and are set by each hop.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding"];

impl Observed {
    /// Removes what is specific to each connection, and stores the forwarded addresses separately.
    pub(crate) fn new(mut answer: Answer, mut requests: Vec<Seen>) -> Self {
        let dated = answer.head.all("date").len();
        tidy(&mut answer.head);
        answer.interim.iter_mut().for_each(tidy);
        // The version and the marking of the end are specific to each connection.
        answer.head.line = reason(&answer.head.line);
        answer.interim.iter_mut().for_each(|head| head.line = reason(&head.line));
        assert!(dated <= 1, "{dated} dates");
        sort(&mut answer.trailers);
        let mut forwarded_for = Vec::new();
        for request in &mut requests {
            let lines = request.head.all("x-forwarded-for").join(&b", "[..]);
            forwarded_for.push(Text(lines));
            remove(&mut request.head.fields, "x-forwarded-for");
            tidy(&mut request.head);
            sort(&mut request.trailers);
        }
        Self { answer, requests, forwarded_for }
    }

    /// Adds the client addresses that this many hops would have added, all of them on loopback.
    pub(crate) fn through(mut self, hops: usize) -> Self {
        for line in &mut self.forwarded_for {
            for _ in 0..hops {
                if !line.0.is_empty() {
                    line.0.extend_from_slice(b", ");
                }
                line.0.extend_from_slice(b"127.0.0.1");
            }
        }
        self
    }

    /// Removes fields from the response.
    pub fn answer_lacks(&mut self, name: &str) {
        remove(&mut self.answer.head.fields, name);
    }

    /// Removes fields from the requests that the app received.
    pub fn requests_lack(&mut self, name: &str) {
        for request in &mut self.requests {
            remove(&mut request.head.fields, name);
        }
    }

    /// Sets the fields with that name in the requests that the app received.
    pub fn requests_have(&mut self, name: &str, value: &str) {
        for (given, before) in self.requests.iter_mut().flat_map(|request| &mut request.head.fields) {
            if given.0.eq_ignore_ascii_case(name.as_bytes()) {
                *before = value.into();
            }
        }
    }

    /// Sets the request lines that the app received.
    pub fn request_line_is(&mut self, line: &str) {
        for request in &mut self.requests {
            request.head.line = line.into();
        }
    }
}

/// Returns the status line without the version.
fn reason(line: &Text) -> Text {
    line.0.get(9..).unwrap_or_default().into()
}

fn tidy(head: &mut Head) {
    for name in OF_THE_CONNECTION {
        remove(&mut head.fields, name);
    }
    sort(&mut head.fields);
}

fn remove(fields: &mut Vec<Field>, name: &str) {
    fields.retain(|(given, _)| !given.0.eq_ignore_ascii_case(name.as_bytes()));
}

/// Sorts by name, because only the order of equal names has a meaning.
fn sort(fields: &mut [Field]) {
    fields.sort_by_key(|(name, _)| name.0.to_ascii_lowercase());
}
