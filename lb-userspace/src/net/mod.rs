use std::net::IpAddr;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    pub ifindex: u32,
    pub local_mac: [u8; 6],
    pub peer_mac: Option<[u8; 6]>,
    pub source: IpAddr,
    pub gateway: Option<IpAddr>,
}
