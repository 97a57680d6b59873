//! The output of `ebb run`: the pods' lines, each with its pod's name, and its own.

use std::io::{self, IsTerminal, Write};

use ebb_local::{Line, Stream};

/// Colours of pod names, by the number at their end.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];
/// The width of the column of names.
const WIDTH: usize = 12;

/// Standard output and error.
pub(crate) struct Terminal {
    colours: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Prints a pod's line to the same stream. If the output is closed, there is nobody to tell.
    pub(crate) fn pod(&self, line: &Line) {
        let text = format!("{} {}\n", self.name(&line.pod), line.text);
        let _ = match line.stream {
            Stream::Out => io::stdout().write_all(text.as_bytes()),
            Stream::Err => io::stderr().write_all(text.as_bytes()),
        };
    }

    /// Prints a line of our own.
    pub(crate) fn say(&self, text: &str) {
        let name = format!("{:WIDTH$} |", "ebb");
        let name = if self.colours { format!("\x1b[1m{name}\x1b[0m") } else { name };
        let _ = writeln!(io::stdout(), "{name} {text}");
    }

    fn name(&self, pod: &str) -> String {
        let name = format!("{pod:WIDTH$} |");
        if !self.colours {
            return name;
        }
        let number: usize = pod.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let colour = COLOURS[number % COLOURS.len()];
        format!("\x1b[{colour}m{name}\x1b[0m")
    }
}
