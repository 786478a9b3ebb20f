//! The program, and a client that sends exactly what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

pub use gradus_testing::{gpu, shared};
pub use gradus_tiny_model::{Head, TEXTS, write_model};
use serde_json::Value;

/// A running server, which is killed when the test ends.
pub struct Server {
    child: Child,
    pub address: String,
    /// The line with the address.
    pub announced: String,
    out: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a free port and waits until it listens.
    pub fn start(args: &[&str]) -> Server {
        Server::spawn(command(args))
    }

    /// Runs a command that starts it, and waits until it listens.
    pub fn spawn(mut command: Command) -> Server {
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().to_string();
        assert!(line.starts_with("listening at http"), "{line}");
        Server { child, address, announced: line, out }
    }

    /// Starts it with tiny models that have these heads.
    pub fn tiny(heads: &[(&str, Head)], args: &[&str]) -> (Server, tempfile::TempDir) {
        Server::tiny_by(command, heads, args)
    }

    /// The same, started by another command.
    pub fn tiny_by(
        command: fn(&[&str]) -> Command,
        heads: &[(&str, Head)],
        args: &[&str],
    ) -> (Server, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut all: Vec<String> = Vec::new();
        for (name, head) in heads {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            write_model(&folder, *head);
            all.extend(["--model".into(), format!("{name}={}", folder.display())]);
        }
        let all: Vec<&str> = all.iter().map(String::as_str).chain(args.iter().copied()).collect();
        (Server::spawn(command(&all)), dir)
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: impl ToString) -> Reply {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        // The server may answer and close before it has read a body that it refuses.
        let _ = stream.write_all(body);
        read(stream)
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let args = [format!("-{name}"), self.child.id().to_string()];
        assert!(Command::new("kill").args(args).status().unwrap().success());
    }

    /// Waits for its end; returns its exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Ends it; returns its standard error.
    pub fn stop(mut self) -> String {
        self.terminate();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a server on a free port.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    command.args(args).args(["--port", "0", "--threads", "1"]);
    piped(&mut command);
    command
}

/// The same in a process that does not ignore SIGHUP, even when the tests run under `nohup`.
pub fn without_nohup(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_serve")]);
    command.args(args).args(["--port", "0", "--threads", "1"]);
    piped(&mut command);
    command
}

/// The same in a process that ignores SIGHUP, as under `nohup`.
pub fn nohup(args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_serve")]);
    command.args(args).args(["--port", "0", "--threads", "1"]);
    piped(&mut command);
    command
}

fn piped(command: &mut Command) {
    command
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("GRADUS_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub code: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.code, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// Reads one answer to its end.
pub fn read(stream: TcpStream) -> Reply {
    try_read(stream).unwrap_or_else(|| panic!("no answer"))
}

/// Reads one answer to its end; `None` if the connection ends without one.
pub fn try_read(stream: TcpStream) -> Option<Reply> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.unwrap_or_else(|| panic!("no status: {line:?}"));
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_string())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    Some(Reply { code, headers, body })
}

/// The numbers in a list.
pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
pub fn close(found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= within, "they differ by {worst}");
}
