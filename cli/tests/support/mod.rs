//! `ebb` as its user runs it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Whatever has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `ebb`, whose output is read all the time. It is killed if the test fails.
pub(crate) struct Ebb {
    child: Child,
    lines: Receiver<String>,
}

/// How an `ebb` ended, and what it said on standard error.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) errors: String,
}

impl Ebb {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command(arguments).envs(environment.iter().copied()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        // Ends with the pipe.
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line that `wanted` finds something in.
    pub(crate) fn line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let mut said = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else { panic!("no {what} in {said:#?}") };
            if let Some(found) = wanted(&line) {
                return found;
            }
            said.push(line);
        }
    }

    /// The address that is printed for `service`.
    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        let begin = format!("{service}: http://");
        self.line(&begin, |line| line.split_once(&begin)?.1.split_once(' ')?.0.parse().ok())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let ended = || self.child.try_wait().unwrap();
        let status = until("ebb has ended", ended);
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        Ended { status, errors }
    }
}

impl Drop for Ebb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs an `ebb` that is expected to end by itself.
pub(crate) fn ends(arguments: &[&str]) -> Ended {
    Ebb::start(arguments).end()
}

/// What an `ebb` says that is expected to end well by itself.
pub(crate) fn ends_well(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Polls for what the kernel tells nobody of.
#[expect(clippy::disallowed_methods, reason = "a test that has no runtime has no other clock")]
pub(crate) fn until<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(reached) = reached() {
            return reached;
        }
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ports that were free just now.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A GET request, and the whole answer as it came.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    get_from(address, "test", path)
}

/// The same from `host`.
pub(crate) fn get_from(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
pub(crate) fn assert_ok(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Processes with `name=value` in their environment: those of a pod and what these started inherit it.
pub(crate) fn with_environment(name: &str, value: &str) -> Vec<i32> {
    let marker = format!("{name}={value}");
    processes(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == marker.as_bytes())
    })
}

/// Children of `parent`.
pub(crate) fn children(parent: i32) -> Vec<i32> {
    processes(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // State and parent follow the name, which is in parentheses and may hold anything.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent.to_string())
    })
}

/// Whether a process is there. A zombie is not: its parent, who was killed, cannot wait for it.
pub(crate) fn is_alive(id: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn processes(wanted: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|&id| is_alive(id) && wanted(id)).collect()
}
