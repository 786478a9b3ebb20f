//! Whose request it is. A client is an address (the connection's, or the one that a trusted proxy
//! names), or a key.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How clients are told apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clients {
    /// The proxies that are believed when they name the client's address.
    pub proxies: Vec<IpNet>,
    /// Whether each key is a client. This needs several keys: one key that all share tells nobody
    /// apart.
    pub by_key: bool,
}

/// A network, or a single address.
///
/// # Errors
/// When the text is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| {
        format!("--trusted-proxy is `{text}`; it must be an address or a network, as 10.0.0.0/8")
    })
}

impl Clients {
    /// The number under which a request waits.
    pub fn number(&self, address: IpAddr, key: Option<&str>) -> u64 {
        let mut hasher = DefaultHasher::new();
        match key.filter(|_| self.by_key) {
            Some(key) => key.hash(&mut hasher),
            None => site(address).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// The address of the client. It is the connection's address unless that is a trusted proxy.
    /// Each proxy appends the address that it sees, so the client's address is the rightmost one in
    /// the header that is not a trusted proxy. The client may have made up the addresses to the
    /// left of it.
    ///
    /// A client can also send the header that the proxy does not write. Where `X-Forwarded-For` and
    /// `Forwarded` disagree, one of them is made up, and neither is believed.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let lines = |name: &str| {
            let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"));
            lines.flat_map(|line| line.split(',')).collect::<Vec<_>>()
        };
        let named = self.rightmost(lines("x-forwarded-for").into_iter().map(address_of));
        let standard =
            self.rightmost(lines(header::FORWARDED.as_str()).into_iter().map(forwarded_for));
        match (named, standard) {
            (Some(a), Some(b)) if a != b => peer,
            (named, standard) => named.or(standard).unwrap_or(peer),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// The rightmost address that is not a proxy; the leftmost address where all are proxies. The
    /// list ends at the first entry that is no address.
    fn rightmost(
        &self,
        addresses: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        let mut last = None;
        for address in addresses.rev() {
            last = Some(address?).or(last);
            if last.is_some_and(|address| !self.trusts(address)) {
                break;
            }
        }
        last
    }
}

/// An address, perhaps with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

/// The `for` of an element of `Forwarded` (RFC 7239): `for=192.0.2.43;proto=https`,
/// `for="[2001:db8::1]:4711"`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let (_, value) = element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address_of(value.trim().trim_matches('"'))
}

/// The address itself, or the first 64 bits of an IPv6 address: its owner has all that begin so.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let proxies = ["10.0.0.0/8", "::1", "192.0.2.1"].map(|n| network(n).unwrap()).to_vec();
        let clients = Clients { proxies, by_key: false };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        clients.address(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let xff = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("203.0.113.9", vec![(xff, "1.2.3.4")], "203.0.113.9"),
            ("10.1.1.1", vec![], "10.1.1.1"),
            ("10.1.1.1", vec![(xff, "1.2.3.4")], "1.2.3.4"),
            ("::ffff:10.1.1.1", vec![(xff, "1.2.3.4")], "1.2.3.4"),
            ("::1", vec![(xff, "2001:db8::7")], "2001:db8::7"),
            // The client wrote the first; the proxies the others.
            ("10.1.1.1", vec![(xff, "6.6.6.6, 1.2.3.4, 10.2.2.2")], "1.2.3.4"),
            ("10.1.1.1", vec![(xff, "6.6.6.6"), (xff, "1.2.3.4,10.2.2.2")], "1.2.3.4"),
            ("10.1.1.1", vec![(xff, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
            ("10.1.1.1", vec![(xff, "1.2.3.4:5678")], "1.2.3.4"),
            ("10.1.1.1", vec![(xff, "[2001:db8::7]:80")], "2001:db8::7"),
            ("10.1.1.1", vec![(xff, "unknown")], "10.1.1.1"),
            ("10.1.1.1", vec![(xff, "1.2.3.4, unknown")], "10.1.1.1"),
            ("10.1.1.1", vec![(xff, "")], "10.1.1.1"),
            ("10.1.1.1", vec![("forwarded", "for=1.2.3.4;proto=https")], "1.2.3.4"),
            (
                "10.1.1.1",
                vec![("forwarded", "for=6.6.6.6, proto=http; For=\"[2001:db8::7]:47\"")],
                "2001:db8::7",
            ),
            ("10.1.1.1", vec![("forwarded", "for=_hidden")], "10.1.1.1"),
            ("10.1.1.1", vec![("forwarded", "for=1.2.3.4"), (xff, "1.2.3.4")], "1.2.3.4"),
            // One of them is made up.
            ("10.1.1.1", vec![("forwarded", "for=6.6.6.6"), (xff, "1.2.3.4")], "10.1.1.1"),
        ] {
            assert_eq!(seen(peer, &headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn clients_are_addresses_or_keys() {
        let number = |by_key, address: &str, key| {
            Clients { proxies: Vec::new(), by_key }.number(address.parse().unwrap(), key)
        };
        assert_ne!(number(false, "1.2.3.4", None), number(false, "1.2.3.5", None));
        assert_ne!(number(false, "1.2.3.4", Some("k")), number(false, "1.2.3.5", Some("k")));
        assert_eq!(number(true, "1.2.3.4", Some("k")), number(true, "1.2.3.5", Some("k")));
        assert_ne!(number(true, "1.2.3.4", Some("k")), number(true, "1.2.3.4", Some("l")));
        assert_eq!(number(false, "2001:db8::1", None), number(false, "2001:db8::2", None));
        assert_ne!(number(false, "2001:db8::1", None), number(false, "2001:db8:0:1::1", None));
    }

    #[test]
    fn networks_are_read() {
        assert!(network("10.0.0.0/8").is_ok() && network("::1").is_ok());
        assert!(network("proxy").unwrap_err().contains("--trusted-proxy"));
        assert!(network("10.0.0.0/64").is_err());
    }
}
