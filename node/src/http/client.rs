//! Who asks: the address of the socket. What a request says of itself counts only where a proxy is trusted.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket(pub(super) IpAddr);

/// The client's address: the socket's, or if that is a trusted proxy's, what the proxy says, read from the right up to
/// the first address that is no trusted proxy. None without a socket.
pub(super) fn address(request: &Request, proxies: &[IpAddr]) -> Option<IpAddr> {
    let Socket(socket) = request.extensions().get::<Socket>()?;
    Some(behind(socket.to_canonical(), request.headers(), proxies))
}

fn behind(socket: IpAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> IpAddr {
    let mut client = socket;
    // Hop by hop: whoever is further left may have written anything, so it must not hide what is further right.
    let said: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes()).collect();
    for hop in said.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b',')) {
        if !proxies.contains(&client) {
            break;
        }
        let Some(hop) = std::str::from_utf8(hop).ok().and_then(read_hop) else { break };
        client = hop.to_canonical();
    }
    client
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn read_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    alone().or_else(with_port).or_else(in_brackets)
}

/// The network that clients are told apart by: who has one address of IPv6 has the 2^64 beside it.
pub(super) fn network(address: IpAddr) -> (bool, u64) {
    let network = match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => u64::try_from(u128::from(address) >> 64).unwrap_or_default(),
    };
    (address.is_ipv6(), network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_counts_only_behind_trusted_proxies() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let said = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            headers
        };
        let (socket, proxy, client) = (ip("10.0.0.1"), ip("10.0.0.2"), ip("203.0.113.9"));
        let forged = said(&["1.1.1.1, 203.0.113.9"]);
        assert_eq!(behind(socket, &forged, &[]), socket);
        assert_eq!(behind(socket, &forged, &[proxy]), socket);
        assert_eq!(behind(socket, &forged, &[socket]), client, "the last hop is what the proxy itself saw");
        let two = said(&["1.1.1.1", "203.0.113.9, 10.0.0.2"]);
        assert_eq!(behind(socket, &two, &[socket, proxy]), client);
        assert_eq!(behind(socket, &said(&["nonsense"]), &[socket]), socket);
        for hop in ["203.0.113.9:4711", " [2001:db8::1]:80 ", "[2001:db8::1]", "2001:db8::1"] {
            let expected = if hop.contains("db8") { ip("2001:db8::1") } else { client };
            assert_eq!(behind(socket, &said(&[hop]), &[socket]), expected, "{hop}");
        }
        let mut odd = HeaderMap::new();
        odd.append(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap());
        assert_eq!(behind(socket, &odd, &[socket]), client, "bytes of the client's own do not hide it");
        assert_eq!(behind(socket, &said(&[]), &[socket]), socket);
    }
}
