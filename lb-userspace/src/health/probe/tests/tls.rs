//! Probes of type `https` against TLS servers on 127.0.0.1 with certificates made here.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

const NAME: &str = "web.example";

/// Signs certificates.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        Self::called("the authority")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    fn sign(&self, params: &CertificateParams) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientCertificate {
            chain: Arc::new(vec![certificate.der().clone()]),
            key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    }

    fn for_name(&self, name: &str) -> ClientCertificate {
        self.sign(&params(name))
    }

    fn known(&self) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        Some(Arc::new(vec![self.certificate.clone()]))
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn name(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap()
}

/// A server with this certificate, which asks its clients for one of this authority's.
struct Server {
    own: ClientCertificate,
    of_clients: Option<CertificateDer<'static>>,
}

impl Server {
    fn with(own: ClientCertificate) -> Self {
        Self {
            own,
            of_clients: None,
        }
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match self.of_clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let ClientCertificate { chain, key } = self.own;
        let config = builder.with_single_cert(chain.to_vec(), key.clone_key());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    /// Probes it once. Beside the result, the name that the server was asked for.
    async fn probed(self, tls: Tls) -> (Result<Success, Failure>, Option<String>) {
        let (listener, address) = listener().await;
        let acceptor = self.acceptor();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.ok()?;
            let asked = stream.get_ref().1.server_name().map(str::to_owned);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.ok()?;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.ok()?;
            let _ = stream.read(&mut [0]).await;
            asked
        });
        let result = probe(&https(address, tls)).await;
        (result, server.await.unwrap())
    }
}

fn https(address: SocketAddr, tls: Tls) -> Target {
    Target {
        address,
        kind: Kind::Https(healthz(), tls),
        timeout: AMPLE,
    }
}

async fn words(server: Server, tls: Tls) -> String {
    server.probed(tls).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_for_the_name_is_accepted() {
    let authority = Authority::new();
    let tls = Tls::new(name(NAME), authority.known(), None).unwrap();
    let server = Server::with(authority.for_name(NAME));
    let (result, asked) = server.probed(tls).await;
    assert_eq!(result.unwrap().detail, "HTTP 200");
    assert_eq!(asked.as_deref(), Some(NAME), "sent as SNI");
}

#[tokio::test]
async fn an_address_may_be_what_a_certificate_is_for() {
    let authority = Authority::new();
    let tls = Tls::new(name("127.0.0.1"), authority.known(), None).unwrap();
    let server = Server::with(authority.for_name("127.0.0.1"));
    let (result, asked) = server.probed(tls).await;
    assert_eq!(result.unwrap().detail, "HTTP 200");
    assert_eq!(asked, None, "an address is no SNI");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    let tls = Tls::new(name(NAME), authority.known(), None).unwrap();
    let signed = |params| Server::with(authority.sign(&params));
    let mut expired = params(NAME);
    expired.not_after = date_time_ymd(2020, 2, 29);
    assert_eq!(
        words(signed(expired), tls.clone()).await,
        "certificate expired on 2020-02-29"
    );
    let mut early = params(NAME);
    early.not_before = date_time_ymd(2999, 12, 31);
    assert_eq!(
        words(signed(early), tls.clone()).await,
        "certificate is not valid before 2999-12-31"
    );
    assert_eq!(
        words(signed(params("other.example")), tls.clone()).await,
        "certificate is for other.example, not web.example"
    );
    let stranger = Server::with(Authority::called("another").for_name(NAME));
    assert_eq!(
        words(stranger, tls.clone()).await,
        "certificate is not signed by a known authority"
    );
    let impostor = Server::with(Authority::new().for_name(NAME));
    assert_eq!(
        words(impostor, tls.clone()).await,
        "certificate is not signed by a known authority: the one of that name has another key"
    );
    let mut own = params(NAME);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(
        words(signed(own), tls).await,
        "certificate is an authority's own; a server needs one that the authority signed"
    );
}

#[tokio::test]
async fn without_verification_any_certificate_is_accepted() {
    let server = Server::with(Authority::new().for_name("other.example"));
    let tls = Tls::new(name(NAME), None, None).unwrap();
    let (result, asked) = server.probed(tls).await;
    assert_eq!(result.unwrap().detail, "HTTP 200");
    assert_eq!(asked.as_deref(), Some(NAME), "SNI is sent all the same");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let authority = Authority::new();
    let server = || Server {
        own: authority.for_name(NAME),
        of_clients: Some(authority.certificate.clone()),
    };
    let own = authority.for_name("divvy.example");
    let tls = Tls::new(name(NAME), authority.known(), Some(own)).unwrap();
    let (result, _) = server().probed(tls).await;
    assert_eq!(result.unwrap().detail, "HTTP 200");

    let without = Tls::new(name(NAME), authority.known(), None).unwrap();
    assert_eq!(
        words(server(), without).await,
        "it ended the TLS handshake: alert CertificateRequired"
    );
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_named_so() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let tls = Tls::new(name(NAME), None, None).unwrap();
    let failure = probe(&https(address, tls)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "not TLS: it answers with something else"
    );
}

#[tokio::test]
async fn hanging_up_in_the_handshake_is_a_failure() {
    let (listener, address) = listener().await;
    tokio::spawn(async move { listener.accept().await.map(drop) });
    let tls = Tls::new(name(NAME), None, None).unwrap();
    let failure = probe(&https(address, tls)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "closed the connection in the TLS handshake"
    );
}

#[test]
fn settings_are_the_same_when_made_of_the_same() {
    let authority = Authority::new();
    let made = |server, known| Tls::new(name(server), known, None).unwrap();
    let tls = made(NAME, authority.known());
    assert_eq!(tls, made(NAME, authority.known()));
    assert_ne!(tls, made(NAME, None));
    assert_ne!(tls, made(NAME, Authority::new().known()));
    assert_ne!(tls, made("other.example", authority.known()));
    assert_eq!(
        tls,
        made("other.example", authority.known()).named(name(NAME))
    );
}
