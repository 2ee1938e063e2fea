//! What the files hold that a configuration names: certificates and keys. An error is the message:
//! what is wrong with the file and what to do about it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio_rustls::rustls::{
    self, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::path::shown;

/// Longest file of certificates: ten times what systems have that know every authority.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

type Certificates = Vec<CertificateDer<'static>>;

/// Opens a file for reading. A named pipe that nobody writes to would hold the daemon for ever;
/// opened so it is read as empty, and one that has a writer is waited for as always.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = (OpenOptions::new().read(true))
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

/// The authorities whose certificates are in this file: at least one.
pub(super) fn authorities(path: &str) -> Result<Certificates, String> {
    let certificates = certificates(path)?;
    for certificate in &certificates {
        let taken = RootCertStore::empty().add(certificate.clone());
        taken.map_err(|error| {
            format!(
                "{} holds a certificate that cannot be read as an authority's: {error}",
                shown(path)
            )
        })?;
    }
    Ok(certificates)
}

/// The certificates in a file, in its order: at least one.
pub(super) fn certificates(path: &str) -> Result<Certificates, String> {
    let pem = read(path)?;
    let found: Result<Certificates, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!(
            "{} holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)",
            shown(path)
        )),
    }
}

/// The private key in a file.
pub(super) fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
        format!(
            "{} holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`), or one with a \
             passphrase; remove the passphrase",
            shown(path)
        )
    })
}

/// Says why a key does not go with a certificate.
pub(super) fn check_pair(chain: &Certificates, key: &PrivateKeyDer<'static>) -> Result<(), String> {
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(
            "client_key is not the key of the first certificate in client_cert; give the two that \
             belong together"
                .to_owned(),
        ),
        Err(error) => Err(format!(
            "client_cert and client_key cannot be used: {error}"
        )),
    }
}

/// The authorities that this host knows.
pub(super) fn system_authorities() -> Result<Certificates, String> {
    let mut known = rustls_native_certs::load_native_certs().certs;
    // Some that systems have are too odd to be used.
    known.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    if known.is_empty() {
        return Err(
            "this host knows no authorities that sign certificates; install ca-certificates, give \
             a file of certificates with `ca`, or set verify: false"
                .to_owned(),
        );
    }
    Ok(known)
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let shown = shown(path);
    if !path.starts_with('/') {
        return Err(format!(
            "`{shown}` is no whole path; write it from / on, for example /etc/divvy/ca.pem"
        ));
    }
    let mut bytes = Vec::new();
    open(Path::new(path))
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "{shown} is longer than 4 MiB: not a file of certificates"
        ));
    }
    Ok(bytes)
}
