//! Ports that a node finds free when it is started again.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A free TCP port of the loopback interface that stays free for who asks for it by number. A port that nobody holds
/// while its node is down may be given to any outgoing connection of this machine meanwhile.
///
/// It is held by a socket that does not listen: so a node can still listen there (all of std, tokio and libp2p set
/// `SO_REUSEADDR`), and Linux gives it to nobody that asks for any port.
#[derive(Debug)]
pub struct ReservedPort(TcpSocket);

impl ReservedPort {
    /// Reserves one. Fails when the machine has no port or no descriptor left.
    pub fn new() -> Result<ReservedPort> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(ReservedPort(socket))
    }

    /// Its number.
    pub fn number(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_asks_for_the_port_gets_it_again_and_again() {
        let port = ReservedPort::new().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number().unwrap()));
        for _ in 0..3 {
            // Nobody listens, and yet it is taken: as it is for whoever asks for any port.
            assert!(TcpSocket::new_v4().unwrap().bind(address).is_err());
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            // The side that ends first waits for what may still come: a killed node's side.
            drop((listener, server));
            drop(client);
        }
    }
}
