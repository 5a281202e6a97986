use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;

use super::{Call, TestApi};

/// Longer than any event takes; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that reads server-sent events.
pub struct EventStream {
    body: BodyDataStream,
    read: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    pub id: i64,
    pub event: String,
    pub data: Value,
}

impl EventStream {
    pub async fn open(api: &TestApi, call: Call) -> Self {
        let response = api.respond(call).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), read: String::new() }
    }

    /// The next block of lines; `None` when the stream has ended.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let block = block.to_owned();
                self.read = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("nothing came in time")?;
            self.read.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event; comments are passed over.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.map(str::to_owned)
            };
            if let (Some(id), Some(event), Some(data)) = (field("id"), field("event"), field("data")) {
                return Some(ServerEvent {
                    id: id.parse().unwrap(),
                    event,
                    data: serde_json::from_str(&data).unwrap(),
                });
            }
        }
    }
}
