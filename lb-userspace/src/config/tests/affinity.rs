//! The key `affinity`, as a word and as a section.

use super::*;

#[test]
fn a_word_or_a_section_inherits_key_by_key() {
    let config = good(
        r#"
interfaces: [eth0]
defaults:
  affinity: { prefix4: 24, timeout: 1h }
services:
  - { name: a, listen: ["203.0.113.10:80"], backends: [] }
  - { name: b, listen: ["203.0.113.10:81"], backends: [], affinity: client_ip }
  - name: c
    listen: ["203.0.113.10:82"]
    backends: []
    affinity: { type: client_ip, prefix6: 64, timeout: 5m }
"#,
    );
    let affinity = |prefix6, seconds| {
        Some(Affinity {
            prefix4: 24,
            prefix6,
            timeout: Duration::from_secs(seconds),
        })
    };
    let of: Vec<_> = config.services.iter().map(|s| s.affinity).collect();
    assert_eq!(of, [None, affinity(128, 3_600), affinity(64, 300)]);
}

#[test]
fn a_service_may_do_without_what_the_defaults_have() {
    let yaml = GOOD
        .replace("services:", "defaults: { affinity: client_ip }\nservices:")
        .replace("    listen", "    affinity: none\n    listen");
    assert_eq!(good(&yaml).services[0].affinity, None);
    let yaml = yaml.replace("    affinity: none\n", "");
    let expected = Affinity {
        prefix4: 32,
        prefix6: 128,
        timeout: Duration::from_secs(600),
    };
    assert_eq!(good(&yaml).services[0].affinity, Some(expected));
}
