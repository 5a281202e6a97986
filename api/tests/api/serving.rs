//! Serving over a socket, and stopping.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{TestApi, USER};
use api::auth::Role;

struct Serving {
    api: TestApi,
    port: u16,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), api::ApiError>>,
}

impl Serving {
    async fn start(config: api::ApiConfig) -> Self {
        let api = TestApi::start_with(config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(api::run(listener, api.state.clone(), shutdown.clone()));
        Self { api, port, shutdown, served }
    }

    /// Sends a request and leaves its answer to be read.
    async fn send(&self, path: &str) -> TcpStream {
        let token = self.api.token(USER, &[Role::User], &[]);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

async fn read_status(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[9..12]).into_owned()
}

#[tokio::test]
async fn what_was_accepted_before_a_shutdown_is_answered() {
    let serving = Serving::start(Default::default()).await;
    let mut idle = serving.send("/livez").await;
    assert_eq!(read_status(&mut idle).await, "200");

    let mut waiting = serving.send("/v1/orders?waitFor=1000&timeoutMs=500").await;
    // The request is under way once the server has read it: an answer on a later connection shows that it had its turn.
    assert_eq!(read_status(&mut serving.send("/livez").await).await, "200");
    serving.shutdown.cancel();

    assert_eq!(read_status(&mut waiting).await, "503", "its own answer: not_yet_visible");
    serving.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", serving.port)).await.is_err());
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_hold_up_a_shutdown() {
    let serving = Serving::start(api::ApiConfig { shutdown_grace_ms: 200, ..Default::default() }).await;
    let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).await.unwrap();
    stream.write_all(b"POST /v1/orders HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n").await.unwrap();
    assert_eq!(read_status(&mut serving.send("/livez").await).await, "200");
    serving.shutdown.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(5), serving.served).await;
    stopped.unwrap().unwrap().unwrap();
}
