//! Serves until it is told to stop, and answers what it has accepted.

use std::future::IntoFuture;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::router::router;
use crate::state::{ApiError, ApiState};

/// Serves the interface on `listener` until `shutdown`; see [`serve`].
pub async fn run(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> Result<(), ApiError> {
    let grace = Duration::from_millis(state.config.shutdown_grace_ms);
    serve(listener, router(state), grace, shutdown).await
}

/// Serves these routes until `shutdown`. Then no connection is accepted any more, the requests under way are answered,
/// and it returns; a client that never finishes its request holds it up no longer than `grace`.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    grace: Duration,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let stop = shutdown.clone();
    // An answer must not wait for the acknowledgement of the one before; without the option it is only slower.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await });
    let grace_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        served = serving.into_future() => Ok(served?),
        () = grace_over => {
            tracing::warn!(grace_ms = grace.as_millis(), "stopped with requests unanswered");
            Ok(())
        }
    }
}
