//! `divvy diff` tells what a reload would change, changes nothing, and a reload then does just that.

use std::sync::Arc;

use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use lb_common::{RING_CHUNK, RING_CHUNKS, RING_SLOTS, RingChunk, names, service::Service};
use lb_tests::lab::{Config, Divvy, IdleConnections, Lab, URL4};
use serde_json::Value;

fn diff(divvy: &Divvy, lab: &Lab, config: &Config) -> (Value, String) {
    let file = lab.folder().join("next.yaml");
    std::fs::write(&file, config.yaml()).expect("written");
    let file = file.to_string_lossy().into_owned();
    let json = divvy.must(&["diff", &file, "-o", "json"]);
    let json = serde_json::from_str(&json).expect("JSON");
    (json, divvy.must(&["diff", &file]))
}

/// The slots of each service's ring in force, as the kernel has them.
fn rings(divvy: &Divvy) -> Vec<Arc<[u32]>> {
    let map = |name: &str| {
        let data = MapData::from_pin(divvy.pins().join(name)).expect("it is pinned");
        Map::from_map_data(data).expect("a map")
    };
    let services = Array::<_, Service>::try_from(map(names::SERVICES)).expect("services");
    let rings =
        ArrayOfMaps::<_, Array<MapData, RingChunk>>::try_from(map(names::RINGS)).expect("rings");
    (0..2)
        .map(|idx| {
            let service = services.get(&idx, 0).expect("a service");
            let ring = rings.get(&idx, 0).expect("its ring");
            let first = u32::from(service.ring_half) * RING_CHUNKS;
            let slots =
                (first..first + RING_CHUNKS).flat_map(|n| ring.get(&n, 0).expect("a chunk"));
            let slots: Vec<u32> = slots.take(RING_SLOTS as usize).collect();
            assert!(slots.len() > RING_CHUNK as usize);
            slots.into()
        })
        .collect()
}

/// How many slots of service `web` moved.
fn moved(before: &[Arc<[u32]>], after: &[Arc<[u32]>]) -> usize {
    (before[0].iter().zip(after[0].iter()))
        .filter(|(old, new)| old != new)
        .count()
}

fn web(said: &Value) -> &Value {
    let services = said["services"].as_array().expect("services");
    services
        .iter()
        .find(|service| service["name"] == "web")
        .expect("it changes")
}

#[test]
fn when_a_backend_goes_and_another_weighs_more() {
    let lab = Lab::routed("diff").backends(4).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 60);
    divvy.must(&["drain", "web/web-1"]);
    let before = rings(&divvy);
    let next = lab
        .config()
        .without("web-1")
        .without("web-2")
        .weight("web-3", 3);
    let (said, table) = diff(&divvy, &lab, &next);
    assert_eq!(rings(&divvy), before, "nothing is changed by asking");
    assert_eq!(idle.broken(), Vec::<String>::new());

    let lost = idle.to_backend("web-1") + idle.to_backend("web-2");
    assert_eq!(said["flows_reset"], lost, "{said:#}");
    for line in [
        "- backend web-1 10.0.1.2:80",
        "its override is lost",
        "~ weight: 1 -> 3",
        "would be reset",
    ] {
        assert!(table.contains(line), "{line} is missing in\n{table}");
    }
    println!("{table}");
    divvy.apply(&next);
    let count = web(&said)["rings"][0]["moved"].as_u64().expect("a count");
    assert_eq!(moved(&before, &rings(&divvy)) as u64, count, "{said:#}");
    assert!(count > 0);
    assert_eq!(idle.broken().len(), lost);
    let (said, table) = diff(&divvy, &lab, &next);
    assert_eq!(
        (said["services"].as_array().map(Vec::len), table.trim()),
        (Some(0), "nothing would change")
    );
}

#[test]
fn when_a_backend_comes() {
    let mut lab = Lab::routed("diff_add").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let before = rings(&divvy);
    lab.add_backend();
    let next = lab.config();
    let (said, table) = diff(&divvy, &lab, &next);
    let ring = &web(&said)["rings"][0];
    assert_eq!(
        (&ring["moved"], &said["flows_reset"]),
        (&0.into(), &0.into()),
        "{said:#}"
    );
    assert!(
        table.contains("+ backend web-3") && table.contains("once new backends are up"),
        "{table}"
    );
    assert!(table.contains("flows: none would be reset"), "{table}");
    divvy.apply(&next);
    divvy.wait_for_all_up();
    let count = ring["moved_when_up"].as_u64().expect("a count");
    assert_eq!(moved(&before, &rings(&divvy)) as u64, count);
    // A third, and what Maglev moves beside it.
    let third = u64::from(RING_SLOTS) / 3;
    assert!((third..third + third / 20).contains(&count), "{count}");
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn and_with_on_down_keep_flows_run_on() {
    let lab = Lab::routed("diff_keep").backends(2).start();
    let config = lab.config().with_default("on_down: keep");
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let next = config.without("web-1");
    let (said, _) = diff(&divvy, &lab, &next);
    assert_eq!(said["flows_reset"], 0);
    assert_eq!(said["flows_drained"], idle.to_backend("web-1"));
    divvy.apply(&next);
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn and_what_it_cannot_tell_has_an_exit_code() {
    let lab = Lab::routed("diff_codes").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    let code = |words: &[&str], says: &[&str]| {
        let output = divvy.cli(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in says {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
        output.status.code()
    };
    let (_, table) = diff(&divvy, &lab, &lab.config().with("limits: { flows: 1024 }"));
    assert!(
        table.contains("~ limits.flows: 262144 -> 1024 (takes effect after `divvy detach`"),
        "{table}"
    );
    assert_eq!(code(&["diff"], &[]), Some(0), "the file in force");
    assert_eq!(
        code(
            &["diff", "/nowhere.yaml"],
            &["/nowhere.yaml: cannot be read"]
        ),
        Some(3)
    );
    let bad = lab.folder().join("bad.yaml");
    std::fs::write(&bad, "interfaces: []\nservices: []\nfoo: 1\n").expect("written");
    let bad = bad.to_string_lossy();
    assert_eq!(
        code(
            &["diff", &bad],
            &["bad.yaml:1: interfaces", "bad.yaml:3: foo"]
        ),
        Some(3)
    );
    let nowhere = lab
        .config()
        .yaml()
        .replace("interfaces: [client", "interfaces: [wan7");
    let other = lab.folder().join("other.yaml");
    std::fs::write(&other, nowhere).expect("written");
    let said = ["other.yaml: interfaces[0]: interface wan7 does not exist"];
    assert_eq!(code(&["diff", &other.to_string_lossy()], &said), Some(3));
    assert!(divvy.terminate().success());
    assert_eq!(code(&["diff"], &["no daemon answers"]), Some(4));
}
