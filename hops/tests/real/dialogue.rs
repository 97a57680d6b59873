//! A program that reads and writes lines.

use std::process::Stdio;

use ebb_hops::soon;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Dialogue {
    _program: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Dialogue {
    /// Starts it.
    pub(crate) fn begin(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut program = piped.spawn().expect("the program starts");
        let input = program.stdin.take().expect("an input");
        let output = BufReader::new(program.stdout.take().expect("an output")).lines();
        Self { _program: program, input, output }
    }

    /// Sends it a line.
    pub(crate) async fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("the program reads");
    }

    /// Returns the next line; empty at the end of its output.
    pub(crate) async fn hear(&mut self) -> String {
        let line = soon("a word of the program", self.output.next_line()).await;
        line.expect("text").unwrap_or_default()
    }

    /// Closes its input, and returns the rest of its output.
    pub(crate) async fn end(self) -> String {
        let Self { _program, input, mut output } = self;
        drop(input);
        soon("the last word of the program", output.next_line()).await.expect("text").unwrap_or_default()
    }
}
