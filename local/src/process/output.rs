//! The output of pods, line by line.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
};

/// Longer lines are cut into pieces of this many bytes.
const MAX_LINE: usize = 8 * 1024;
/// The number of lines kept to explain an end.
const KEPT: usize = 10;

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of a pod's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The pod.
    pub pod: Arc<str>,
    /// Where it was printed.
    pub stream: Stream,
    /// The text without its line ending; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Receives a pod's lines: keeps the last ones, and passes all on.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pod: Arc<str>,
    last: Arc<Mutex<VecDeque<String>>>,
    sink: mpsc::Sender<Line>,
}

impl Output {
    pub(crate) fn new(pod: Arc<str>, sink: mpsc::Sender<Line>) -> Self {
        Self { pod, last: Arc::default(), sink }
    }

    /// Starts anew for another process: earlier output does not explain how this one ends.
    pub(crate) fn begin(&self) {
        self.last.lock().clear();
    }

    /// Returns the last lines, oldest first.
    pub(crate) fn last(&self) -> Vec<String> {
        self.last.lock().iter().cloned().collect()
    }

    /// Reads until the end. A slow reader of the lines slows the pod down, as a slow terminal would.
    pub(crate) async fn read(self, stream: Stream, from: impl AsyncRead + Unpin) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let limited = (&mut from).take(MAX_LINE as u64);
            match { limited }.read_until(b'\n', &mut bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
            self.keep(text.clone());
            // Lines are read even if nobody wants them: a full pipe would stop the pod.
            let _ = self.sink.send(Line { pod: self.pod.clone(), stream, text }).await;
        }
    }

    fn keep(&self, text: String) {
        let mut last = self.last.lock();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_and_the_last_are_kept() {
        let (sink, mut lines) = mpsc::channel(64);
        let output = Output::new("web-1".into(), sink);
        let long = "x".repeat(MAX_LINE + 1);
        let numbered: Vec<String> = (0..12).map(|n| format!("line {n}\r\n")).collect();
        let text = numbered.concat() + &long;
        output.clone().read(Stream::Err, text.as_bytes()).await;
        drop(output.sink);
        let last: Vec<String> = output.last.lock().iter().cloned().collect();
        assert_eq!(last.len(), KEPT);
        assert_eq!(last[KEPT - 3], "line 11");
        assert_eq!((last[KEPT - 2].len(), last[KEPT - 1].len()), (MAX_LINE, 1));
        let first = lines.recv().await.unwrap();
        assert_eq!(first, Line { pod: "web-1".into(), stream: Stream::Err, text: "line 0".into() });
    }

    #[tokio::test]
    async fn a_pod_is_not_stopped_by_nobody_listening() {
        let (sink, lines) = mpsc::channel(1);
        drop(lines);
        Output::new("web-1".into(), sink).read(Stream::Out, "a\nb\nc\n".as_bytes()).await;
    }
}
