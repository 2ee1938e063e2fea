//! A vip may be a range of ports, or all of an address, and a backend gets each connection on the port
//! that the client asked for.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
};

use lb_tests::lab::{Divvy, EchoServer, Lab, Manner, TIMEOUT, VIP4, VIP6};

/// First, middle and last of a range, and the ports beside it: the backend listens on all of these.
const INSIDE: [u16; 3] = [8_000, 8_050, 8_100];
const OUTSIDE: [u16; 4] = [22, 7_999, 8_101, 65_535];

/// A lab of one backend that holds the vips, and its servers.
fn lab(title: &'static str) -> (Lab, Vec<EchoServer>) {
    let lab = Lab::routed(title).backends(1).start();
    let host = lab.backend("web-1").host();
    let ports = INSIDE.iter().chain(&OUTSIDE);
    let servers = (ports.map(|port| EchoServer::start(host, *port, Manner::Echo))).collect();
    lab.backends()[0].hold_vips();
    (lab, servers)
}

/// A configuration in which the vips have these ports and the backend none.
fn yaml(lab: &Lab, mode: &str, ports: &str) -> String {
    let backend = lab.backend("web-1");
    let config = lab.config().mode(mode);
    (config.yaml())
        .replace(&format!("{VIP4}:80"), &format!("{VIP4}:{ports}"))
        .replace(&format!("[{VIP6}]:80"), &format!("[{VIP6}]:{ports}"))
        .replace(&backend.v4().to_string(), &backend.host().v4().to_string())
        .replace(&backend.v6().to_string(), &backend.host().v6().to_string())
        .replace("path: /healthz,", "path: /healthz, port: 80,")
}

fn apply(divvy: &Divvy, yaml: &str) {
    divvy.write_config(yaml);
    let output = divvy.reload();
    assert!(output.status.success(), "{output:?}");
    divvy.wait_for_all_up();
}

/// A connection of the client, which the backend echoes.
fn connect(lab: &Lab, vip: IpAddr, port: u16) -> io::Result<TcpStream> {
    lab.client().inside(|| {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(vip, port), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(stream)
    })
}

fn echoes(stream: &mut TcpStream) -> io::Result<()> {
    let mut back = [0; 4];
    stream.write_all(b"ping")?;
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"ping");
    Ok(())
}

fn port_of(address: &serde_json::Value) -> u16 {
    let address: SocketAddr = (address.as_str().unwrap_or_default().parse())
        .unwrap_or_else(|error| panic!("{address}: {error}"));
    address.port()
}

/// The vips take connections on these ports, and none on those.
#[track_caller]
fn takes(lab: &Lab, ports: &[u16], not: &[u16]) {
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        for port in ports {
            let mut stream = connect(lab, vip, *port)
                .unwrap_or_else(|error| panic!("{vip} port {port}: {error}"));
            echoes(&mut stream).unwrap_or_else(|error| panic!("{vip} port {port}: {error}"));
        }
        for port in not {
            assert!(connect(lab, vip, *port).is_err(), "{vip} port {port}");
        }
    }
}

fn in_mode(lab: &Lab, mode: &str) {
    let divvy = lab.divvy_not_running(&yaml(lab, mode, "8000-8100"));
    divvy.start_again();
    divvy.wait_for_all_up();
    takes(lab, &INSIDE, &OUTSIDE);

    let service = &divvy.status()["services"][0];
    assert_eq!(service["vips"][0], "203.0.113.10:8000-8100");
    assert_eq!(service["backends"][0]["address"], "10.0.1.2");
    let flow = &divvy.flows()["flows"][0];
    assert_eq!(
        port_of(&flow["backend_address"]),
        port_of(&flow["vip"]),
        "{flow}"
    );

    apply(&divvy, &yaml(lab, mode, "*"));
    takes(lab, &INSIDE, &[]);
    takes(lab, &OUTSIDE, &[]);
    assert_eq!(
        divvy.status()["services"][1]["vips"][0],
        "[2001:db8:ffff::10]:*"
    );

    // A connection outlives its vip, and what a daemon that was killed left is known to the next.
    let mut stream = connect(lab, VIP4.into(), 8_101).expect("the vip accepts");
    echoes(&mut stream).expect("it is open");
    divvy.kill9();
    divvy.start_again();
    divvy.wait_for_all_up();
    apply(&divvy, &yaml(lab, mode, "8000-8050"));
    takes(lab, &INSIDE[..2], &INSIDE[2..]);
    takes(lab, &[], &OUTSIDE);
    echoes(&mut stream).expect("it is still open");
    assert_eq!(divvy.terminate().code(), Some(0));
    divvy.must(&["detach"]);
}

#[test]
fn in_mode_nat() {
    let (lab, _servers) = lab("ports_nat");
    in_mode(&lab, "nat");
}

#[test]
fn in_mode_route() {
    let (lab, _servers) = lab("ports_route");
    in_mode(&lab, "route");
}

#[test]
fn in_mode_dsr() {
    let (lab, _servers) = lab("ports_dsr");
    in_mode(&lab, "dsr");
}

/// A backend with a port gets everything there.
#[test]
fn all_ports_may_lead_to_one() {
    let lab = Lab::routed("ports_one").backends(2).start();
    let yaml = (lab.config().yaml()).replace(&format!("{VIP4}:80"), &format!("{VIP4}:*"));
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    for port in [1, 80, 443, 40_000, 65_535] {
        let url = format!("http://{VIP4}:{port}/");
        let answer = lab
            .client()
            .get(&url)
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(answer.status, 200, "{url}");
    }
    let url = format!("http://{VIP4}:8000/");
    let curl = ["curl", "-s", "-m", "2", &url];
    assert!(lab.client().must_run(&curl).starts_with("web-"));
}
