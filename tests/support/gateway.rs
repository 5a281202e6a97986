//! The gateway of `ops/gateway` in a real nginx, and stand-ins for the instances behind it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::{eventually, free_port};

const RENDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/gateway/render.sh");
const SWITCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/gateway/switch.sh");
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// nginx on a free port, with `127.0.0.1` as the operators' network. Dropped: stopped.
pub struct Gateway {
    nginx: Child,
    program: PathBuf,
    directory: TempDir,
    pub base: String,
}

impl Gateway {
    /// `settings` are those of render.sh. None, and said so, where there is no nginx.
    pub fn start_if_available(settings: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = find_nginx() else {
            eprintln!("skipped: nginx is needed to run the gateway (Debian: nginx-light)");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("order-ledger-gateway-").tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let rendered = Command::new(RENDER)
            .arg(directory.path())
            .envs([("GATEWAY_LISTEN", listen.as_str()), ("GATEWAY_OPERATORS", "127.0.0.1"), ("GATEWAY_RATE", "5000")])
            .envs(settings.iter().copied())
            .status();
        assert!(rendered.unwrap().success());
        let mut nginx = Command::new(&program);
        nginx.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-g", "daemon off;"]).stdin(Stdio::null());
        // SAFETY: prctl is async-signal-safe.
        unsafe {
            nginx.pre_exec(|| {
                // It ends with the test, however that ends.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let gateway = Self { nginx: nginx.spawn().unwrap(), program, directory, base: format!("http://{listen}") };
        eventually("nginx to listen", START_TIMEOUT, || TcpStream::connect(&listen).ok());
        eventually("nginx to write its pid", START_TIMEOUT, || {
            std::fs::read_to_string(gateway.path().join("nginx.pid")).ok().filter(|pid| !pid.trim().is_empty())
        });
        Some(gateway)
    }

    /// `switch.sh` while it runs; says whether it was accepted.
    pub fn switch(&self, arguments: &[&str]) -> bool {
        let output = Command::new(SWITCH)
            .args(arguments)
            .env("GATEWAY_DIR", self.path())
            .env("NGINX", &self.program)
            .output()
            .unwrap();
        output.status.success()
    }

    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.path().join("access.log")).unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        super::signal(self.nginx.id(), libc::SIGTERM);
        let _ = self.nginx.wait();
    }
}

fn find_nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.push("/usr/sbin".into());
    directories.into_iter().map(|directory| directory.join("nginx")).find(|program| program.is_file())
}

/// What a stand-in does with a request it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Answer,
    /// As an instance that is killed after it executed the request and before it could say so.
    Vanish,
    /// One event, and no end.
    Stream,
}

/// A server that answers with its name and remembers what it was sent.
pub struct StandIn {
    pub address: String,
    received: Arc<Mutex<Vec<Received>>>,
}

#[derive(Debug, Clone)]
pub struct Received {
    pub request_line: String,
    headers: Vec<(String, String)>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl StandIn {
    pub fn start(name: &'static str, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let seen = received.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(connection, name, behaviour, &seen));
            }
        });
        Self { address, received }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(connection: TcpStream, name: &str, behaviour: Behaviour, seen: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let Some(request) = read_request(&mut reader) else { return };
    seen.lock().unwrap().push(request);
    let answer = match behaviour {
        Behaviour::Answer => format!("Content-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len()),
        Behaviour::Stream => "Content-Type: text/event-stream\r\n\r\nid: 4\ndata: {}\n\n".to_owned(),
        Behaviour::Vanish => return,
    };
    let _ = (&connection).write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
    if behaviour == Behaviour::Stream {
        // Until the caller has seen enough.
        let _ = reader.read(&mut [0]);
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let request_line = lines.next()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let request = Received { request_line, headers };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(request)
}
