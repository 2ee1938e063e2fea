//! A backend: a host with a real nginx on it.

use std::{
    fs::{self, File},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    host::Host,
    process::{self, Process},
    wait::wait_until,
};

/// A host with an nginx that answers `/` with the host's name, `/healthz` with 200 (or 503, see
/// [`Backend::set_healthy`]) and `/10mb` with [`super::ten_megabytes`], over IPv4 and IPv6; `/100mb`
/// too, once [`super::Lab::offer_hundred_megabytes`] made it. It keeps what is put below `/uploads/`
/// ([`Backend::uploaded`]). Every answer names the host in the
/// header `X-Backend`, and the client as it sees it in `X-Client`.
pub struct Backend {
    host: Host,
    port: u16,
    folder: PathBuf,
    nginx: Mutex<Option<Process>>,
}

impl Backend {
    /// Starts nginx on `host`.
    pub(super) fn new(host: Host, port: u16, lab_folder: &Path) -> Self {
        let folder = lab_folder.join(host.name());
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        write(
            &folder.join("nginx.conf"),
            &nginx_conf(host.name(), port, &folder, lab_folder),
        );
        let backend = Self {
            host,
            port,
            folder,
            nginx: Mutex::new(None),
        };
        backend.set_healthy(true);
        backend.start();
        backend
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.host.name()
    }

    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where nginx listens.
    #[must_use]
    pub fn v4(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host.v4(), self.port)
    }

    /// See [`Self::v4`].
    #[must_use]
    pub fn v6(&self) -> SocketAddrV6 {
        SocketAddrV6::new(self.host.v6(), self.port, 0, 0)
    }

    /// Starts nginx and waits until it accepts connections. Nothing happens when it runs.
    pub fn start(&self) {
        let mut nginx = self.nginx();
        if nginx.is_some() {
            return;
        }
        let log = self.folder.join("nginx.log");
        let log_file = File::create(&log)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", log.display()));
        let conf = self.folder.join("nginx.conf");
        let mut command = process::command(&[&program(), "-e", "stderr", "-c"]);
        command.arg(conf).stderr(log_file);
        let mut process = self.host.spawn(command);

        let addresses = [SocketAddr::from(self.v4()), SocketAddr::from(self.v6())];
        wait_until(
            &format!("nginx on {} accepts connections", self.name()),
            Duration::from_secs(10),
            || {
                assert!(
                    process.ended().is_none(),
                    "nginx on {} ended: {}",
                    self.name(),
                    fs::read_to_string(&log).unwrap_or_default()
                );
                self.host.inside(|| {
                    addresses
                        .iter()
                        .all(|address| TcpStream::connect(address).is_ok())
                })
            },
        );
        *nginx = Some(process);
    }

    /// Kills nginx and its workers. The kernel closes their connections, as when a server crashes.
    pub fn kill(&self) {
        if let Some(mut process) = self.nginx().take() {
            process.kill();
        }
    }

    /// Takes the host's link down: it falls silent, as when its power fails.
    pub fn unplug(&self) {
        self.host.must_run(&["ip", "link", "set", "eth0", "down"]);
    }

    /// What `/healthz` answers from now on: 200 or 503.
    pub fn set_healthy(&self, healthy: bool) {
        let file = self.folder.join("healthz");
        if healthy {
            write(&file, "healthy\n");
        } else {
            fs::remove_file(&file)
                .unwrap_or_else(|error| panic!("cannot remove {}: {error}", file.display()));
        }
    }

    /// What was put as `/uploads/NAME`. Panics when nothing was.
    #[must_use]
    pub fn uploaded(&self, name: &str) -> Vec<u8> {
        let file = self.folder.join("uploads").join(name);
        fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
    }

    /// Gives the host's interface another MAC address, as when a machine is replaced.
    pub fn set_mac(&self, mac: &str) {
        self.host
            .must_run(&["ip", "link", "set", "eth0", "address", mac]);
    }

    fn nginx(&self) -> MutexGuard<'_, Option<Process>> {
        self.nginx.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host's nginx, or the one that `cargo xtask` unpacks where the host has none.
pub(super) fn program() -> String {
    let unpacked = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.tools/nginx/usr/sbin/nginx"
    );
    let program = if Path::new(unpacked).is_file() {
        unpacked
    } else {
        "nginx"
    };
    program.to_owned()
}

fn nginx_conf(name: &str, port: u16, folder: &Path, lab_folder: &Path) -> String {
    let (folder, lab_folder) = (folder.display(), lab_folder.display());
    format!(
        "daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 600s;
    keepalive_requests 10000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 0.0.0.0:{port} backlog=8192;
        listen [::]:{port} backlog=8192 ipv6only=on;
        add_header X-Backend {name} always;
        add_header X-Client $remote_addr always;
        location = / {{ return 200 \"{name}\\n\"; }}
        location = /healthz {{ root {folder}; try_files /healthz =503; }}
        location = /10mb {{ root {lab_folder}; }}
        location = /100mb {{ root {lab_folder}; }}
        location /uploads/ {{
            root {folder};
            dav_methods PUT;
            create_full_put_path on;
            client_max_body_size 200m;
        }}
    }}
}}
"
    )
}

fn write(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
