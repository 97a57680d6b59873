use crate::{Text, app::Seen, client::Answer, message::Field, message::Head};

/// What came of a case at both ends, without what is each connection's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the client heard.
    pub answer: Answer,
    /// What the app saw.
    pub requests: Vec<Seen>,
    /// The values of `X-Forwarded-For` that it saw, one for each request.
    pub forwarded_for: Vec<Text>,
}

/// What concerns one connection only, and is each hop's own.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding"];

impl Observed {
    /// Takes away what is each connection's own, and puts the addresses of those who forwarded aside.
    pub(crate) fn new(mut answer: Answer, mut requests: Vec<Seen>) -> Self {
        let dated = answer.head.all("date").len();
        tidy(&mut answer.head);
        answer.interim.iter_mut().for_each(tidy);
        // The version is each connection's own, and so is how its end is told.
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

    /// What it is once so many hops have added their client's address, all of them on loopback.
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

    /// Removes fields of the answer.
    pub fn answer_lacks(&mut self, name: &str) {
        remove(&mut self.answer.head.fields, name);
    }

    /// Removes fields of what the app saw.
    pub fn requests_lack(&mut self, name: &str) {
        for request in &mut self.requests {
            remove(&mut request.head.fields, name);
        }
    }

    /// Gives the fields of that name that the app saw another value.
    pub fn requests_have(&mut self, name: &str, value: &str) {
        for (given, before) in self.requests.iter_mut().flat_map(|request| &mut request.head.fields) {
            if given.0.eq_ignore_ascii_case(name.as_bytes()) {
                *before = value.into();
            }
        }
    }

    /// Changes the request lines that the app saw.
    pub fn request_line_is(&mut self, line: &str) {
        for request in &mut self.requests {
            request.head.line = line.into();
        }
    }
}

/// The status line without the version.
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

/// By name: only the order of equal names means anything.
fn sort(fields: &mut [Field]) {
    fields.sort_by_key(|(name, _)| name.0.to_ascii_lowercase());
}
