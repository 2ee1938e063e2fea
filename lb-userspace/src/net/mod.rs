use std::net::IpAddr;
use std::process::Command;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    pub ifindex: u32,
    pub local_mac: [u8; 6],
    pub peer_mac: Option<[u8; 6]>,
    pub source: IpAddr,
    pub gateway: Option<IpAddr>,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct NetError;
#[derive(Debug)]
pub enum Event {
    NextHop {
        address: IpAddr,
        next_hop: Result<NextHop, String>,
    },
    LinkGone {
        name: String,
        ifindex: u32,
    },
    LinkCame {
        name: String,
        ifindex: u32,
    },
}
pub struct Watcher(
    tokio::sync::mpsc::Sender<Event>,
    std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
);
fn js(args: &[&str]) -> serde_json::Value {
    let o = Command::new("ip").arg("-j").args(args).output().unwrap();
    serde_json::from_slice(&o.stdout).unwrap_or_default()
}
fn mac(s: &str) -> [u8; 6] {
    let v: Vec<u8> = s
        .split(':')
        .map(|x| u8::from_str_radix(x, 16).unwrap())
        .collect();
    v.try_into().unwrap()
}
fn hop(a: IpAddr) -> Option<NextHop> {
    let r = js(&["route", "get", &a.to_string()]);
    let r = r.get(0)?.clone();
    let dev = r["dev"].as_str()?.to_owned();
    let gw: Option<IpAddr> = r["gateway"].as_str().and_then(|g| g.parse().ok());
    let l = js(&["link", "show", "dev", &dev]);
    let n = js(&["neigh", "show", &gw.unwrap_or(a).to_string(), "dev", &dev]);
    if n[0]["lladdr"].as_str().is_none() {
        let _ = Command::new("ping")
            .args(["-c1", "-W1", &a.to_string()])
            .output();
    }
    let n = js(&["neigh", "show", &gw.unwrap_or(a).to_string(), "dev", &dev]);
    Some(NextHop {
        ifindex: l[0]["ifindex"].as_u64()? as u32,
        local_mac: mac(l[0]["address"].as_str()?),
        peer_mac: n[0]["lladdr"].as_str().map(mac),
        source: r["prefsrc"].as_str()?.parse().ok()?,
        gateway: gw,
    })
}
impl Watcher {
    pub async fn spawn(tx: tokio::sync::mpsc::Sender<Event>) -> Result<Self, NetError> {
        Ok(Self(tx, Default::default()))
    }
    pub fn track(&self, a: Vec<IpAddr>) {
        let tx = self.0.clone();
        let t = tokio::spawn(async move {
            let mut last = std::collections::HashMap::new();
            loop {
                for x in &a {
                    let h = hop(*x);
                    if last.get(x) != Some(&h) {
                        last.insert(*x, h.clone());
                        let _ = tx
                            .send(Event::NextHop {
                                address: *x,
                                next_hop: h.ok_or_else(|| "no route".to_owned()),
                            })
                            .await;
                    }
                }
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        });
        if let Some(o) = self.1.lock().unwrap().replace(t) {
            o.abort();
        }
    }
    pub fn refresh(&self, _a: IpAddr) {}
}
pub mod links {
    #[derive(Clone, Debug)]
    pub struct Link {
        pub name: String,
        pub ifindex: u32,
        pub xdp: Option<bool>,
    }
    pub async fn links() -> Result<Vec<Link>, super::NetError> {
        Ok(super::js(&["-d", "link", "show"])
            .as_array()
            .unwrap()
            .iter()
            .map(|l| Link {
                name: l["ifname"].as_str().unwrap().to_owned(),
                ifindex: l["ifindex"].as_u64().unwrap() as u32,
                xdp: l["xdp"]["mode"].as_u64().map(|m| m == 1),
            })
            .collect())
    }
}
pub mod sysctl {
    pub fn forwarding_enabled(_v6: bool) -> std::io::Result<bool> {
        Ok(true)
    }
    pub fn accept_local(_i: &str) -> std::io::Result<bool> {
        Ok(true)
    }
    pub fn set_accept_local(_i: &str, _v: bool) -> std::io::Result<()> {
        Ok(())
    }
}
