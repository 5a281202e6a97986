//! Ports: HTTP's is the configured one, the others are free ones.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// A port that is free now. Another process may take it before it is used; the one who listens then says so.
pub fn free() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?.local_addr()?.port())
}

pub fn check_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address)
        .map(drop)
        .with_context(|| format!("cannot listen on {address}: set LEDGER__HTTP__LISTEN to a free address"))
}
