//! Arbitrary configurations, written out, are read back as they were; arbitrary and damaged texts
//! are refused without a panic.

mod checks;
mod written;

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    ops::RangeInclusive,
    time::Duration,
};

use proptest::{collection::vec, option, prelude::*, sample::select};

use self::checks::health_check;
pub(super) use self::written::written;
use super::{
    super::{
        Affinity, Announce, Backend, Config, GueVariant, Limits, Mode, OnDown, OnExit, PortRange,
        Prefix, Probe, Protocol, Scheduler, Service, Snat, Sources, Timeouts, Tunnel, Vip, XdpMode,
        address::network, parse,
    },
    FULL, GOOD,
};

fn ip(v6: bool) -> BoxedStrategy<IpAddr> {
    let v4 = any::<[u8; 4]>()
        .prop_filter("unicast", |o| (1..224).contains(&o[0]) && o[0] != 127)
        .prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    let global = any::<u128>().prop_map(|bits| {
        let global_unicast = 0b001 << 125 | bits >> 3;
        IpAddr::from(Ipv6Addr::from(global_unicast))
    });
    if v6 { global.boxed() } else { v4.boxed() }
}

fn socket(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (ip(v6), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn vip(v6: bool) -> impl Strategy<Value = Vip> {
    let ports = prop_oneof![
        (1..=u16::MAX).prop_map(PortRange::one),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| PortRange {
            first: a.min(b),
            last: a.max(b),
        }),
        Just(PortRange::ALL),
    ];
    (ip(v6), ports).prop_map(|(address, ports)| Vip { address, ports })
}

/// Of a backend, which may have no port of its own.
fn backend_address(v6: bool) -> impl Strategy<Value = SocketAddr> {
    prop_oneof![socket(v6), ip(v6).prop_map(|ip| SocketAddr::new(ip, 0)),]
}

fn name() -> impl Strategy<Value = String> {
    // The letter keeps YAML from taking it for a number; the writer adds no quotes.
    "[A-Za-z0-9._-]{0,30}x[A-Za-z0-9._-]{0,32}".prop_filter("plain", |name| {
        !name.starts_with(['-', '.']) && !name.starts_with("0x")
    })
}

fn millis(range: RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let week = 7 * 24 * 3_600_000;
    [(); 5]
        .map(|()| millis(100..=week))
        .prop_map(|[half_open, established, fin, reset, udp]| Timeouts {
            half_open,
            established,
            fin,
            reset,
            udp,
        })
}

/// Whose source, if it has one, is of this family.
fn tunnel(v6: bool) -> impl Strategy<Value = Tunnel> {
    let prefix = (ip(v6), 0..=if v6 { 128_u8 } else { 32 }).prop_map(|(ip, length)| Prefix {
        address: network(ip, length),
        length,
    });
    let variant = select(&[GueVariant::Header, GueVariant::Bare][..]);
    (vec(prefix, 0..2), 1..=u16::MAX, variant).prop_map(|(sources, port, variant)| Tunnel {
        sources,
        port,
        variant,
    })
}

/// Of each family, addresses may be refused.
fn sources() -> impl Strategy<Value = Sources> {
    let prefix = any::<bool>().prop_flat_map(|v6| {
        (ip(v6), 0..=if v6 { 128_u8 } else { 32 }).prop_map(|(ip, length)| Prefix {
            address: network(ip, length),
            length,
        })
    });
    vec(prefix, 0..4).prop_map(|mut denied| {
        denied.sort();
        denied.dedup();
        Sources::of(&[], &denied)
    })
}

fn affinity() -> impl Strategy<Value = Affinity> {
    (1..=32_u8, 1..=128_u8, millis(1_000..=7 * 24 * 3_600_000)).prop_map(
        |(prefix4, prefix6, timeout)| Affinity {
            prefix4,
            prefix6,
            timeout,
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    any::<bool>().prop_flat_map(|v6| {
        let max_flows = any::<u32>().prop_map(NonZeroU32::new);
        let backend = (
            name(),
            backend_address(v6),
            0..=1000_u16,
            any::<bool>(),
            max_flows,
        )
            .prop_map(|(name, address, weight, backup, max_flows)| Backend {
                name,
                address,
                weight,
                backup,
                max_flows,
            });
        (
            name(),
            vec(vip(v6), 1..4),
            select(OnDown::ALL),
            (
                timeouts(),
                millis(0..=604_800_000),
                millis(0..=3_600_000),
                0..=100_u32,
            ),
            health_check(),
            vec(backend, 0..6),
            (select(Mode::ALL), select(Scheduler::ALL), any::<bool>()),
            (
                tunnel(v6),
                select(Protocol::ALL),
                sources(),
                option::of(affinity()),
            ),
        )
            .prop_map(
                |(name, listen, on_down, times, mut health_check, mut backends, how, more)| {
                    let (timeouts, drain_timeout, slow_start, panic_threshold_percent) = times;
                    let (mode, scheduler, through) = how;
                    let (tunnel, protocol, sources, affinity) = more;
                    health_check.through =
                        through && mode.is_one_way() && health_check.probe != Probe::None;
                    for (n, backend) in backends.iter_mut().enumerate() {
                        if mode.is_one_way() && backend.address.port() != 0 {
                            backend
                                .address
                                .set_port(listen[n % listen.len()].ports.last);
                        }
                        if backend.address.port() == 0 {
                            health_check.port.get_or_insert(80);
                        }
                    }
                    Service {
                        name,
                        listen,
                        protocol,
                        mode,
                        tunnel: if mode.has_tunnel() {
                            tunnel
                        } else {
                            Tunnel::default()
                        },
                        scheduler,
                        affinity,
                        on_down,
                        drain_timeout,
                        slow_start,
                        panic_threshold_percent,
                        timeouts,
                        health_check,
                        sources,
                        backends,
                    }
                },
            )
    })
}

pub(super) fn config() -> impl Strategy<Value = Config> {
    let ports = (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| PortRange {
        first: a.min(b),
        last: a.max(b),
    });
    let announce =
        (any::<bool>(), option::of("[a-z]{1,10}")).prop_map(|(addresses, interface)| Announce {
            addresses,
            interface,
        });
    let limits = [64..=16_777_216_u32, 64..=16_777_216_u32];
    (
        vec("[a-z]{1,10}[0-9]{1,5}", 1..4),
        select(XdpMode::ALL),
        (vec(any::<bool>().prop_flat_map(ip), 0..4), ports),
        limits,
        option::of(any::<bool>().prop_flat_map(socket)),
        (select(OnExit::ALL), any::<bool>(), announce),
        vec(service(), 1..5),
    )
        .prop_map(
            |(
                interfaces,
                xdp,
                (addresses, ports),
                [flows, half_open],
                metrics,
                (on_exit, watch, announce),
                services,
            )| {
                Config {
                    interfaces,
                    xdp,
                    snat: Snat { addresses, ports },
                    limits: Limits { flows, half_open },
                    metrics,
                    on_exit,
                    watch,
                    announce,
                    services,
                }
            },
        )
        .prop_filter("nothing twice", nothing_twice)
}

fn nothing_twice(config: &Config) -> bool {
    fn distinct<T: Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> bool {
        let mut seen = HashSet::new();
        items.into_iter().all(|item| seen.insert(item))
    }
    let services = || config.services.iter();
    distinct(config.interfaces.iter())
        && distinct(config.snat.addresses.iter())
        && distinct(services().map(|service| &service.name))
        && distinct(services().flat_map(|service| &service.listen))
        && services().all(|service| {
            distinct(service.backends.iter().map(|backend| &backend.name))
                && distinct(service.backends.iter().map(|backend| backend.address))
        })
}

/// What YAML and its readers stumble over.
const BITS: &[&str] = &[
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "!!int ",
    "- ",
    "? ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    "> ",
    "%",
    "---\n",
    "...\n",
    "\t",
    "\0",
    "~",
    "null",
    "0x1f",
    "1e999",
    "-",
    "99999999999999999999",
    "💣",
    "\u{feff}",
    "\u{2028}",
    "#",
    ",",
    "\n\n",
    "name: ",
    "70000",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_written_configuration_is_read_back(config in config()) {
        let yaml = written(&config);
        match parse(&yaml, "f.yaml") {
            Ok(read) => prop_assert_eq!(read, config),
            Err(error) => prop_assert!(false, "{error}\n{yaml}"),
        }
    }

    #[test]
    fn a_damaged_file_never_panics(
        full in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), 0..12_usize, select(BITS)), 1..6),
    ) {
        let mut text: Vec<char> = if full { FULL } else { GOOD }.chars().collect();
        for (place, cut, bit) in damage {
            let place = place.index(text.len() + 1);
            let end = text.len().min(place + cut);
            text.splice(place..end, bit.chars());
        }
        let yaml: String = text.into_iter().collect();
        if let Err(error) = parse(&yaml, "f.yaml") {
            for line in error.to_string().lines() {
                prop_assert!(line.starts_with("f.yaml:"), "{line:?}");
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}|[\\[\\]{}:,&*!|>'\"%@#?\n a-c<~-]{0,60}") {
        let _ = parse(&text, "f.yaml");
    }
}
