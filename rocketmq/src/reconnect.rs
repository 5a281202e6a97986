//! A client that is replaced by a new one when it failed, one attempt at a time and not too often.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::failure::Failure;

pub(crate) struct Reconnecting<C> {
    slot: Mutex<Slot<C>>,
    pause: Duration,
}

struct Slot<C> {
    current: Option<Rc<C>>,
    last_attempt: Option<Instant>,
}

impl<C> Reconnecting<C> {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { slot: Mutex::new(Slot { current: None, last_attempt: None }), pause }
    }

    /// The client, built now when there is none. Callers that come while it is built wait for it; failed attempts are at
    /// least the pause apart.
    pub(crate) async fn get<F>(&self, build: impl FnOnce() -> F) -> Result<Rc<C>, Failure>
    where
        F: Future<Output = Result<C, Failure>>,
    {
        let mut slot = self.slot.lock().await;
        if let Some(current) = &slot.current {
            return Ok(current.clone());
        }
        if let Some(last) = slot.last_attempt {
            tokio::time::sleep_until(last + self.pause).await;
        }
        slot.last_attempt = Some(Instant::now());
        let built = Rc::new(build().await?);
        slot.current = Some(built.clone());
        Ok(built)
    }

    /// Takes the client out if it still is the given one, so that the first of many who saw it fail ends it.
    pub(crate) async fn discard(&self, failed: &Rc<C>) -> Option<Rc<C>> {
        let mut slot = self.slot.lock().await;
        match &slot.current {
            Some(current) if Rc::ptr_eq(current, failed) => slot.current.take(),
            _ => None,
        }
    }

    /// Takes the client out, whichever it is.
    pub(crate) async fn take(&self) -> Option<Rc<C>> {
        self.slot.lock().await.current.take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const PAUSE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn one_client_is_shared_until_it_is_discarded() {
        let client = Reconnecting::new(PAUSE);
        let first = client.get(|| async { Ok(1) }).await.unwrap();

        assert_eq!(*client.get(|| async { Ok(2) }).await.unwrap(), 1);
        assert!(client.discard(&first).await.is_some());
        assert!(client.discard(&first).await.is_none(), "the second to see it fail has nothing to end");
        assert_eq!(*client.get(|| async { Ok(3) }).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn attempts_are_a_pause_apart() {
        let client: Reconnecting<()> = Reconnecting::new(PAUSE);
        let start = Instant::now();

        for _ in 0..3 {
            let failed = client.get(|| async { Err(Failure::unavailable("down")) }).await;
            assert!(failed.is_err());
        }

        assert!(start.elapsed() >= PAUSE * 2, "{:?}", start.elapsed());
    }
}
