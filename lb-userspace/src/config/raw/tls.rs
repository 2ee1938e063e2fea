//! The keys of health checks of type `https` that are about certificates.

use std::{cell::OnceCell, sync::Arc};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::{
    check::{ClientCertificate, Tls},
    field::Field,
    files,
    section::Section,
    units,
};

type Certificates = Arc<Vec<CertificateDer<'static>>>;

/// The host's own authorities, looked up at most once for a file.
pub(super) type Authorities = OnceCell<Result<Certificates, String>>;

#[derive(Clone)]
pub(super) struct TlsOptions {
    authorities: Option<Certificates>,
    verify: bool,
    server_name: Option<ServerName<'static>>,
    chain: Option<Certificates>,
    key: Option<Arc<PrivateKeyDer<'static>>>,
    /// Some file could not be used, which was reported.
    broken: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            authorities: None,
            verify: true,
            server_name: None,
            chain: None,
            key: None,
            broken: false,
        }
    }
}

/// The options of a section, each key of which is told to `given`; what it does not give is as in
/// `base`.
pub(super) fn onto<'a>(
    base: &TlsOptions,
    keys: &mut Section<'a>,
    mut given: impl FnMut(&Field<'a>),
) -> TlsOptions {
    let mut broken = base.broken;
    let authorities = keys.inherited("ca", &base.authorities, |field| {
        given(&field);
        let found = field.text(files::authorities);
        broken |= found.is_none();
        Some(Some(Arc::new(found?)))
    });
    let verify = keys.inherited("verify", &base.verify, |field| {
        given(&field);
        field.switch()
    });
    let server_name = keys.inherited("server_name", &base.server_name, |field| {
        given(&field);
        field.text(units::server_name).map(Some)
    });
    let chain = keys.inherited("client_cert", &base.chain, |field| {
        given(&field);
        let found = field.text(files::certificates);
        broken |= found.is_none();
        Some(Some(Arc::new(found?)))
    });
    let key = keys.inherited("client_key", &base.key, |field| {
        given(&field);
        let found = field.text(files::private_key);
        broken |= found.is_none();
        Some(Some(Arc::new(found?)))
    });
    TlsOptions {
        authorities,
        verify,
        server_name,
        chain,
        key,
        broken,
    }
}

impl TlsOptions {
    /// What they come to for a check that asks for this host; `None` where a problem was reported, at
    /// `field` if it was found here.
    pub(super) fn settled(
        &self,
        host: Option<&str>,
        field: &Field<'_>,
        known: &Authorities,
    ) -> Option<Tls> {
        if self.broken {
            return None;
        }
        let authorities = match (&self.authorities, self.verify) {
            (Some(_), false) => {
                return field.refuse(
                    "has both `ca` and verify: false, which accepts any certificate; remove one \
                     of the two",
                );
            }
            (None, false) => None,
            (Some(own), true) => Some(Arc::clone(own)),
            (None, true) => match known.get_or_init(|| files::system_authorities().map(Arc::new)) {
                Ok(known) => Some(Arc::clone(known)),
                Err(message) => return field.refuse(message.clone()),
            },
        };
        let server_name = match (&self.server_name, host) {
            (Some(name), _) => Some(name.clone()),
            (None, None) => None,
            (None, Some(host)) => match units::server_name(units::without_port(host)) {
                Ok(name) => Some(name),
                Err(message) => return field.refuse(format!("host {message}, as `server_name`")),
            },
        };
        let client = match (&self.chain, &self.key) {
            (None, None) => None,
            (Some(chain), Some(key)) => {
                if let Err(message) = files::check_pair(chain, key) {
                    return field.refuse(message);
                }
                Some(ClientCertificate {
                    chain: Arc::clone(chain),
                    key: Arc::clone(key),
                })
            }
            (Some(_), None) => return field.refuse("has client_cert without client_key; add it"),
            (None, Some(_)) => return field.refuse("has client_key without client_cert; add it"),
        };
        Some(Tls {
            authorities,
            server_name,
            client,
        })
    }
}
