//! A real SMTP server for tests: `mailin`'s protocol on sockets that a test can take away and bring back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mailin::{Action, AuthMechanism, Handler, Response, Session, SessionBuilder, response};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A recipient whose mailbox does not exist.
pub const NOBODY: &str = "nobody@example.com";
/// A recipient whose mailbox is full for now.
pub const FULL: &str = "full@example.com";
pub const PASSWORD: &str = "open-sesame";

/// How connections are secured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    StartTls,
    Tls,
}

pub struct SmtpServer {
    address: SocketAddr,
    /// The certificate to trust, where there is TLS.
    pub certificate_pem: Vec<u8>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    security: Security,
    tls: Arc<ServerConfig>,
    wants_login: bool,
    stopping: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    mails: Mutex<Vec<Mail>>,
}

/// A mail as it came in.
#[derive(Clone, Debug)]
pub struct Mail {
    pub to: Vec<String>,
    pub text: String,
}

impl SmtpServer {
    pub fn start() -> Self {
        Self::start_with(Security::Plain, false)
    }

    pub fn start_with(security: Security, wants_login: bool) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let shared = Shared {
            security,
            tls: Arc::new(tls),
            wants_login,
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            mails: Mutex::default(),
        };
        let mut server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            certificate_pem: certified.cert.pem().into_bytes(),
            shared: Arc::new(shared),
            accepting: None,
        };
        server.open();
        server
    }

    /// Takes connections, at the same port as before.
    pub fn open(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        self.shared.stopping.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        self.accepting = Some(std::thread::spawn(move || shared.accept(&listener)));
    }

    /// Cuts every connection and takes none, as a server that died.
    pub fn close(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        accepting.join().unwrap();
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub fn url(&self) -> String {
        let login = if self.shared.wants_login { format!("ledger:{PASSWORD}@") } else { String::new() };
        let port = self.address.port();
        match self.shared.security {
            Security::Plain => format!("smtp://{login}localhost:{port}"),
            Security::StartTls => format!("smtp://{login}localhost:{port}?tls=required"),
            Security::Tls => format!("smtps://{login}localhost:{port}"),
        }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let connection = connection.unwrap();
            self.connections.lock().unwrap().push(connection.try_clone().unwrap());
            let shared = self.clone();
            // A client that goes away ends its thread with an error, which concerns nobody.
            std::thread::spawn(move || shared.converse(connection));
        }
    }

    fn converse(self: &Arc<Self>, connection: TcpStream) -> io::Result<()> {
        let mut sessions = SessionBuilder::new("localhost");
        if self.security == Security::StartTls {
            sessions.enable_start_tls();
        }
        if self.wants_login {
            sessions.enable_auth(AuthMechanism::Plain).insecure_enable_plaintext_auth();
        }
        let handler = Mailbox { shared: self.clone(), to: Vec::new(), text: Vec::new() };
        let mut session = sessions.build(Ipv4Addr::LOCALHOST.into(), handler);
        if self.security == Security::Tls {
            let mut secured = BufReader::new(self.secure(connection)?);
            secured.get_mut().write_all(&session.greeting().buffer()?)?;
            return talk(&mut session, &mut secured).map(drop);
        }
        let mut plain = BufReader::new(connection);
        plain.get_mut().write_all(&session.greeting().buffer()?)?;
        if talk(&mut session, &mut plain)? == Action::UpgradeTls {
            let mut secured = BufReader::new(self.secure(plain.into_inner())?);
            session.tls_active();
            talk(&mut session, &mut secured)?;
        }
        Ok(())
    }

    fn secure(&self, connection: TcpStream) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let tls = ServerConnection::new(self.tls.clone()).map_err(io::Error::other)?;
        Ok(StreamOwned::new(tls, connection))
    }
}

/// Answers line by line until the connection is over or to be secured.
fn talk<S: Read + Write>(session: &mut Session<Mailbox>, stream: &mut BufReader<S>) -> io::Result<Action> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(Action::Close);
        }
        let answer = session.process(&line);
        stream.get_mut().write_all(&answer.buffer()?)?;
        stream.get_mut().flush()?;
        if matches!(answer.action, Action::Close | Action::UpgradeTls) {
            return Ok(answer.action);
        }
    }
}

struct Mailbox {
    shared: Arc<Shared>,
    to: Vec<String>,
    text: Vec<u8>,
}

impl Handler for Mailbox {
    fn rcpt(&mut self, to: &str) -> Response {
        match to {
            NOBODY => Response::custom(550, format!("5.1.1 <{to}>: user unknown")),
            FULL => Response::custom(452, format!("4.2.2 <{to}>: mailbox full")),
            _ => response::OK,
        }
    }

    fn data_start(&mut self, _domain: &str, _from: &str, _is8bit: bool, to: &[String]) -> Response {
        self.to = to.to_vec();
        self.text.clear();
        response::OK
    }

    fn data(&mut self, buffer: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(buffer);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let text = String::from_utf8(self.text.clone()).unwrap();
        let mail = Mail { to: self.to.clone(), text };
        self.shared.mails.lock().unwrap().push(mail);
        response::OK
    }

    fn auth_plain(&mut self, _authorization_id: &str, _authentication_id: &str, password: &str) -> Response {
        if password == PASSWORD { response::AUTH_OK } else { response::INVALID_CREDENTIALS }
    }
}
