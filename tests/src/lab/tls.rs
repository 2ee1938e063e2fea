//! Certificates of the tests' own authorities, and an nginx that speaks TLS with one.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{
    backend::{Backend, program},
    process::{self, Process},
    wait::wait_until,
};

/// Signs certificates. Its files lie in a folder of the lab.
pub struct Authority {
    folder: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Files in PEM form.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Makes its key and the file [`Self::certificate`].
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        let authority = Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
        };
        put(&authority.certificate(), &own.pem());
        authority
    }

    /// What those need who shall know it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// Signs a certificate for a name.
    #[must_use]
    pub fn sign(&self, name: &str) -> Certificate {
        self.signed(name, "right", |_| {})
    }

    /// The same for one that expired on 2020-02-29.
    #[must_use]
    pub fn sign_expired(&self, name: &str) -> Certificate {
        self.signed(name, "expired", |params| {
            params.not_after = date_time_ymd(2020, 2, 29);
        })
    }

    fn signed(
        &self,
        name: &str,
        kind: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |what: &str| {
            self.folder
                .join(format!("{}-{name}-{kind}-{what}.pem", self.name))
        };
        let files = Certificate {
            certificate: file("cert"),
            key: file("key"),
        };
        put(&files.certificate, &signed.pem());
        put(&files.key, &key.serialize_pem());
        files
    }
}

/// Another nginx on a backend. It stops when dropped.
pub struct TlsServer {
    _nginx: Process,
}

impl TlsServer {
    /// Answers every request with 200, once clients have shown a certificate of `clients` if that is
    /// given.
    ///
    /// # Panics
    /// When nginx does not start.
    #[must_use]
    pub fn start(
        backend: &Backend,
        port: u16,
        own: &Certificate,
        clients: Option<&Authority>,
    ) -> Self {
        let host = backend.host();
        let folder = own.key.with_extension("nginx");
        fs::create_dir_all(&folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let conf = folder.join("nginx.conf");
        put(&conf, &nginx_conf(&folder, port, own, clients));
        let mut command = process::command(&[&program(), "-e", "stderr", "-c"]);
        command.arg(&conf);
        let mut nginx = host.spawn(command);
        let accepts = || {
            assert!(nginx.ended().is_none(), "nginx ended");
            host.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        };
        wait_until(
            "nginx accepts connections",
            Duration::from_secs(10),
            accepts,
        );
        Self { _nginx: nginx }
    }
}

fn nginx_conf(folder: &Path, port: u16, own: &Certificate, clients: Option<&Authority>) -> String {
    let folder = folder.display();
    let (certificate, key) = (own.certificate.display(), own.key.display());
    let clients = clients.map_or_else(String::new, |authority| {
        let known = authority.certificate();
        format!(
            "ssl_client_certificate {}; ssl_verify_client on;",
            known.display()
        )
    });
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {clients}
        location / {{ return 200; }}
    }}
}}
"
    )
}

fn put(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
