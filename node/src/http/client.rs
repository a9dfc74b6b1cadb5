//! Who asks: the address of the socket. What a request says of itself counts only where a proxy is trusted.

use std::net::IpAddr;

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
    let said: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in said.iter().flat_map(|value| value.split(',')).rev() {
        if !proxies.contains(&client) {
            break;
        }
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        client = hop.to_canonical();
    }
    client
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
        assert_eq!(behind(socket, &said(&[]), &[socket]), socket);
    }
}
