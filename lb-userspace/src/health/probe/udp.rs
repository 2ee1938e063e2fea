//! Asking a server over UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::{Failure, Target};

/// Longest datagram that is looked at, in bytes.
const ANSWER_MAX: usize = 65_536;

/// A question, and what is in a good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub send: Vec<u8>,
    /// `None`: any answer is good.
    pub expect: Option<Vec<u8>>,
}

impl Datagram {
    /// Judges an answer.
    pub(in crate::health) fn judge(&self, answer: &[u8]) -> Result<(), Failure> {
        match &self.expect {
            Some(expected) if !contains(answer, expected) => Err(Failure::Answer {
                answer: answer.to_vec(),
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Asks once, and waits for one answer as long as it is let.
pub(super) async fn ask(target: &Target, datagram: &Datagram) -> Result<(), Failure> {
    let address = target.address;
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = (UdpSocket::bind((any, 0)).await).map_err(Failure::from_io)?;
    let failed = |error| Failure::from_connect(error, target.timeout);
    socket.connect(address).await.map_err(failed)?;
    socket.send(&datagram.send).await.map_err(failed)?;
    let mut answer = vec![0; ANSWER_MAX];
    let length = socket.recv(&mut answer).await.map_err(failed)?;
    datagram.judge(&answer[..length])
}

fn contains(answer: &[u8], expected: &[u8]) -> bool {
    (answer.windows(expected.len())).any(|window| window == expected)
}
