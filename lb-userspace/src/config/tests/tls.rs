//! Certificates and keys that a file names.

use std::{fs, path::Path};

use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use tempfile::TempDir;

use super::{errors, good};
use crate::config::{Config, Probe, Tls};

/// A folder with a certificate, its key, and what is neither.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["web.example".to_owned()]).expect("a certificate");
    put("cert.pem", &cert.pem());
    put("key.pem", &signing_key.serialize_pem());
    let other = KeyPair::generate().expect("a key");
    put("other.pem", &other.serialize_pem());
    let second = CertificateParams::default().self_signed(&other);
    put(
        "two.pem",
        &(cert.pem() + &second.expect("a certificate").pem()),
    );
    put("text.pem", "just text\n");
    put(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    );
    folder
}

/// A file whose only service has this health check, `DIR` standing for the folder.
fn with(folder: &Path, check: &str) -> String {
    let check = check.replace("DIR", &folder.display().to_string());
    format!(
        "interfaces: [eth0]\nservices:\n  - name: web\n    listen: [\"203.0.113.10:443\"]\n    \
         health_check: {check}\n    backends: []\n"
    )
}

fn tls(config: &Config) -> &Tls {
    match &config.services[0].health_check.probe {
        Probe::Https(_, tls) => tls,
        other => panic!("not https: {other:?}"),
    }
}

#[test]
fn files_are_read_with_the_configuration() {
    let folder = folder();
    let yaml = with(
        folder.path(),
        "{ type: https, ca: DIR/two.pem, client_cert: DIR/cert.pem, client_key: DIR/key.pem }",
    );
    let before = good(&yaml);
    assert_eq!(
        tls(&before).authorities.as_ref().map(|known| known.len()),
        Some(2)
    );
    assert_eq!(tls(&before).server_name, None);
    assert!(tls(&before).client.is_some());
    assert_eq!(before, good(&yaml));

    // The same file holds another certificate: another configuration.
    let path = folder.path();
    fs::copy(path.join("cert.pem"), path.join("two.pem")).expect("copied");
    assert_ne!(before, good(&yaml));
}

#[test]
fn the_name_is_that_of_the_host_unless_another_is_given() {
    let name = |check: &str| {
        let config = good(&with(Path::new("/"), check));
        let name = tls(&config).server_name.as_ref();
        name.map(|name| name.to_str().into_owned())
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(name("{ type: https, verify: false }"), None);
    for (host, expected) in [
        ("web.example", "web.example"),
        ("web.example:8443", "web.example"),
        ("10.0.0.1:8443", "10.0.0.1"),
        ("\"[2001:db8::1]:443\"", "2001:db8::1"),
        ("\"2001:db8::1\"", "2001:db8::1"),
    ] {
        let check = format!("{{ type: https, verify: false, host: {host} }}");
        assert_eq!(name(&check), named(expected));
    }
    let check = "{ type: https, verify: false, host: a~b, server_name: web.example }";
    assert_eq!(name(check), named("web.example"));
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = folder();
    let dir = folder.path().display().to_string();
    for (check, expected) in [
        (
            "{ type: https, ca: DIR/none.pem }",
            "health_check.ca: cannot read DIR/none.pem: No such file or directory (os error 2)",
        ),
        (
            "{ type: https, ca: ca.pem }",
            "health_check.ca: `ca.pem` is no whole path; write it from / on, for example \
             /etc/divvy/ca.pem",
        ),
        (
            "{ type: https, ca: DIR/text.pem }",
            "health_check.ca: DIR/text.pem holds no certificate in PEM form \
             (`-----BEGIN CERTIFICATE-----`)",
        ),
        (
            "{ type: https, ca: DIR/broken.pem }",
            "health_check.ca: DIR/broken.pem holds a certificate that cannot be read as an \
             authority's: invalid peer certificate: BadEncoding",
        ),
        (
            "{ type: https, ca: /dev/zero }",
            "health_check.ca: /dev/zero is longer than 4 MiB: not a file of certificates",
        ),
        (
            "{ type: https, verify: false, client_cert: DIR/cert.pem, client_key: DIR/text.pem }",
            "health_check.client_key: DIR/text.pem holds no private key in PEM form \
             (`-----BEGIN PRIVATE KEY-----`), or one with a passphrase; remove the passphrase",
        ),
        (
            "{ type: https, verify: false, client_cert: DIR/cert.pem, client_key: DIR/other.pem }",
            "health_check: client_key is not the key of the first certificate in client_cert; \
             give the two that belong together",
        ),
        (
            "{ type: https, verify: false, client_cert: DIR/cert.pem }",
            "health_check: has client_cert without client_key; add it",
        ),
        (
            "{ type: https, verify: false, client_key: DIR/key.pem }",
            "health_check: has client_key without client_cert; add it",
        ),
        (
            "{ type: https, verify: false, ca: DIR/cert.pem }",
            "health_check: has both `ca` and verify: false, which accepts any certificate; \
             remove one of the two",
        ),
        (
            "{ type: https, verify: false, host: a~b }",
            "health_check: host `a~b` is no name or address that a certificate can be for; write \
             for example www.example.com, as `server_name`",
        ),
    ] {
        // Temporary folders have long names, which messages cut.
        let said = errors(&with(folder.path(), check)).replace(&dir, "DIR");
        let line = format!("f.yaml:5: services[0].{expected}");
        assert!(said.contains(&line), "{said}\nshould be\n{line}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
