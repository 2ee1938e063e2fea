//! TLS around a probe: whose certificates are accepted, and what was wrong with one, in words.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Failure;

/// How a server is known, and who we are to it. Clones share what is large.
#[derive(Clone, Debug)]
pub struct Tls {
    authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    client: Option<ClientCertificate>,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// What a server that asks for it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Our own first, then those of the authorities between.
    pub chain: Arc<Vec<CertificateDer<'static>>>,
    /// Of the first certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl PartialEq for Tls {
    /// By what it was made of.
    fn eq(&self, other: &Self) -> bool {
        self.server_name == other.server_name
            && (Arc::ptr_eq(&self.config, &other.config)
                || (self.authorities == other.authorities && self.client == other.client))
    }
}

impl Eq for Tls {}

impl Tls {
    /// Accepts certificates for `server_name` of these authorities, or any for `None`.
    ///
    /// # Errors
    /// When key and certificate cannot be used.
    pub fn new(
        server_name: ServerName<'static>,
        authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
        client: Option<ClientCertificate>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if let Some(known) = &authorities {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(known.iter().cloned());
            builder.with_root_certificates(roots)
        } else {
            let any = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(any)
        };
        let mut config = match &client {
            Some(ClientCertificate { chain, key }) => {
                builder.with_client_auth_cert(chain.to_vec(), key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        // A session that is resumed shows no certificate: one that expired would go unseen.
        config.resumption = Resumption::disabled();
        Ok(Self {
            authorities,
            client,
            server_name,
            config: Arc::new(config),
        })
    }

    /// The same toward a server of another name.
    #[must_use]
    pub fn named(&self, server_name: ServerName<'static>) -> Self {
        Self {
            server_name,
            ..self.clone()
        }
    }

    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        TlsConnector::from(Arc::clone(&self.config))
            .connect(self.server_name.clone(), stream)
            .await
            .map_err(Failure::from_handshake)
    }
}

/// Accepts a certificate of anybody who has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What went wrong, for an operator.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate_words(error),
        Error::InvalidMessage(_) => "not TLS: it answers with something else".to_owned(),
        Error::AlertReceived(alert) => format!("it ended the TLS handshake: alert {alert:?}"),
        Error::PeerIncompatible(why) => format!("no common TLS version or cipher: {why:?}"),
        other => format!("TLS: {other}"),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("certificate expired on {}", day(*not_after))
        }
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("certificate is not valid before {}", day(*not_before))
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            match names[..] {
                [] => format!("certificate is for no name at all, not {expected}"),
                _ => format!("certificate is for {}, not {expected}", names.join(", ")),
            }
        }
        CertificateError::UnknownIssuer => {
            "certificate is not signed by a known authority".to_owned()
        }
        CertificateError::BadSignature => {
            "certificate is not signed by a known authority: the one of that name has another key"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is an authority's own; a server needs one that the authority signed"
                .to_owned()
        }
        other => format!("certificate: {other}"),
    }
}

/// The name in `DnsName("www.example.com")`, as the verifier writes it.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').map_or(name, |(_, inside)| inside);
    inside.trim_end_matches(')').trim_matches('"')
}

/// In UTC: "2026-01-31".
fn day(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
