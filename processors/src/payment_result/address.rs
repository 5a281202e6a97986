//! Where results may go. An address comes from a user, so it names no host but those of the configuration, and no name
//! leads inside: not to this machine, not to its network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const HTTPS_PORT: u16 = 443;
const MAX_URL_BYTES: usize = 2_048;

/// The hosts that may be told: `shop.example`, or `shop.example:8443` for another port than that of HTTPS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<(String, u16)>);

/// Something that is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host: give a name, or name:port")]
pub struct BadHost(String);

/// Why an address is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address is an https URL of at most {MAX_URL_BYTES} bytes, without credentials or fragment")]
    NotHttps,
    #[error("the address's host is not one of the configuration's")]
    UnknownHost,
}

impl AllowedHosts {
    /// Reads the hosts of the configuration.
    pub fn parse(hosts: &[impl AsRef<str>]) -> Result<Self, BadHost> {
        let host = |text: &str| {
            let text = text.strip_suffix(":443").unwrap_or(text);
            let url = Url::parse(&format!("https://{text}")).ok()?;
            let is_only_host = format!("https://{text}/").eq_ignore_ascii_case(url.as_str()) && !text.contains('@');
            let host = (url.domain()?.to_owned(), url.port_or_known_default()?);
            is_only_host.then_some(host)
        };
        let read = hosts.iter().map(AsRef::as_ref).map(|text| host(text).ok_or_else(|| BadHost(text.to_owned())));
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// The address as it will be called, if it may be.
    pub fn check(&self, address: &str) -> Result<Url, AddressError> {
        let url = Some(address).filter(|address| address.len() <= MAX_URL_BYTES);
        let url = url.and_then(|address| Url::parse(address).ok()).ok_or(AddressError::NotHttps)?;
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if url.scheme() != "https" || has_credentials || url.fragment().is_some() {
            return Err(AddressError::NotHttps);
        }
        // An address of numbers has no domain.
        let host = url.domain().ok_or(AddressError::UnknownHost)?;
        let port = url.port().unwrap_or(HTTPS_PORT);
        if !self.0.iter().any(|(known, known_port)| known == host && *known_port == port) {
            return Err(AddressError::UnknownHost);
        }
        Ok(url)
    }
}

/// The system's names, as far as they lead outside. A connection is made to exactly the addresses that were looked at, so
/// a name that changes its mind in between gains nothing.
#[derive(Debug, Clone, Copy)]
pub struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One that leads inside makes the others suspect.
            if found.is_empty() || !found.iter().all(|address| is_public(address.ip())) {
                return Err(io::Error::other("the name does not lead to a public address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!((a, b, c), (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _));
    // From 224 on: multicast, reserved, broadcast.
    !is_special && a < 224
}

/// Global unicast is 2000::/3. What is left out of it embeds other addresses or is for documents.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_special = matches!((a, b), (0x2001, 0..=0x01ff) | (0x2001, 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff));
    a & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_public_addresses_are_called() {
        for public in ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::5"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused() {
        let refused = PublicNames.resolve("localhost".parse().unwrap()).await;
        assert_eq!(refused.err().unwrap().to_string(), "the name does not lead to a public address");
    }

    #[test]
    fn only_https_on_a_listed_host_is_allowed() {
        let hosts = AllowedHosts::parse(&["shop.example:443", "Other.example:8443"]).unwrap();
        for good in ["https://shop.example/hook?order=1", "https://SHOP.example:443/hook", "https://other.example:8443"]
        {
            assert!(hosts.check(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://shop.example/hook", AddressError::NotHttps),
            ("ftp://shop.example/hook", AddressError::NotHttps),
            ("//shop.example/hook", AddressError::NotHttps),
            ("shop.example", AddressError::NotHttps),
            ("", AddressError::NotHttps),
            ("https://user@shop.example/", AddressError::NotHttps),
            ("https://:secret@shop.example/", AddressError::NotHttps),
            ("https://shop.example/#part", AddressError::NotHttps),
            ("https://shop.example:8443/", AddressError::UnknownHost),
            ("https://other.example/", AddressError::UnknownHost),
            ("https://evil.example/?https://shop.example", AddressError::UnknownHost),
            ("https://shop.example.evil.example/", AddressError::UnknownHost),
            ("https://sub.shop.example/", AddressError::UnknownHost),
            ("https://shop.example./", AddressError::UnknownHost),
            ("https://93.184.216.34/", AddressError::UnknownHost),
            ("https://[::1]/", AddressError::UnknownHost),
            ("https://2130706433/", AddressError::UnknownHost),
        ] {
            assert_eq!(hosts.check(bad).unwrap_err(), why, "{bad}");
        }
        let long = format!("https://shop.example/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(hosts.check(&long).unwrap_err(), AddressError::NotHttps);
        assert_eq!(AllowedHosts::default().check("https://shop.example/").unwrap_err(), AddressError::UnknownHost);
    }

    #[test]
    fn the_configuration_names_hosts_and_nothing_else() {
        for bad in ["", "https://shop.example", "shop.example/hook", "127.0.0.1", "[::1]", "user@shop.example", "a b"] {
            assert!(AllowedHosts::parse(&[bad]).is_err(), "{bad}");
        }
    }
}
