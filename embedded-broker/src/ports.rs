//! The ports a broker takes: the name server's, its own, and two beside its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::{EmbeddedBrokerConfig, EmbeddedBrokerError};

/// Below the range the kernel takes outgoing ports from: a port in that range may be gone at the restart.
const FREE_PORT_RANGE: Range<u16> = 15_000..30_000;
const FREE_PORT_ATTEMPTS: u32 = 200;

/// A name server's and a broker's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub name_server: u16,
    pub broker: u16,
}

/// Ports that were free on the loopback address a moment ago, the broker's neighbours included.
pub fn free_ports() -> io::Result<Ports> {
    let mut seed = seed();
    for _ in 0..FREE_PORT_ATTEMPTS {
        // A step of a small generator: spreads processes that start together, which is all that is needed.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = u64::from(FREE_PORT_RANGE.end - FREE_PORT_RANGE.start);
        let offset = u16::try_from((seed >> 33) % span).unwrap_or_default();
        let broker = FREE_PORT_RANGE.start + offset;
        let ports = Ports { name_server: broker - 1, broker };
        let all_free = [broker - 2, broker - 1, broker, broker + 1]
            .into_iter()
            .all(|port| probe(IpAddr::V4(Ipv4Addr::LOCALHOST), port).is_ok());
        if all_free {
            return Ok(ports);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "found no four free ports in a row"))
}

/// The ports the broker takes beside the configured one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbours {
    fast: u16,
    pub(crate) replication: u16,
}

impl Neighbours {
    pub(crate) fn of(broker_port: u16) -> Result<Self, EmbeddedBrokerError> {
        let fast = broker_port.checked_sub(2).filter(|port| *port > 0);
        let replication = broker_port.checked_add(1);
        match (fast, replication) {
            (Some(fast), Some(replication)) => Ok(Self { fast, replication }),
            _ => Err(EmbeddedBrokerError::PortOutOfRange(broker_port)),
        }
    }
}

/// Tells a taken port apart before anything starts: the broker's own error for it is not one line.
pub(crate) fn check(config: &EmbeddedBrokerConfig) -> Result<(), EmbeddedBrokerError> {
    let neighbours = Neighbours::of(config.broker_port)?;
    let wanted = [
        ("name server", config.name_server_port),
        ("broker", config.broker_port),
        ("broker's fast", neighbours.fast),
        ("broker's replication", neighbours.replication),
    ];
    for (role, port) in wanted {
        probe(config.listen, port).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => EmbeddedBrokerError::PortTaken { role, port, listen: config.listen },
            _ => EmbeddedBrokerError::PortUnusable { role, port, listen: config.listen, reason: error.to_string() },
        })?;
    }
    Ok(())
}

fn probe(listen: IpAddr, port: u16) -> io::Result<()> {
    TcpListener::bind((listen, port)).map(drop)
}

fn seed() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // The nanoseconds' low bits are the random ones.
    (since_epoch.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn free_ports_pass_the_check() {
        let ports = free_ports().unwrap();

        check(&EmbeddedBrokerConfig::new("unused", ports)).unwrap();
    }

    #[test]
    fn a_taken_port_is_named_in_one_line() {
        let ports = free_ports().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.broker - 2)).unwrap();

        let error = check(&EmbeddedBrokerConfig::new("unused", ports)).unwrap_err().to_string();

        assert!(error.contains(&(ports.broker - 2).to_string()), "{error}");
        assert!(error.contains("is taken") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_broker_port_without_neighbours_is_refused() {
        for port in [0, 1, 2, u16::MAX] {
            let refused = Neighbours::of(port).unwrap_err();
            assert!(matches!(refused, EmbeddedBrokerError::PortOutOfRange(_)), "{refused}");
        }
    }
}
