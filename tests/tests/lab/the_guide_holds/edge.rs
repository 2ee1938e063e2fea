//! The edge host: the lab's balancer with a disk of its own, on which commands may install and write where
//! they would on a real one. It is an overlay over this machine's disk, which nothing changes.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::Duration,
};

use lb_tests::lab::{Host, Lab, Process, Version, wait_until};

use crate::packed;

const READY: Duration = Duration::from_secs(10);

pub struct Edge {
    host: Host,
    /// Holds the mounts, for as long as it runs.
    holder: Process,
    /// What was started in the background; it ends with this.
    running: Vec<Process>,
    /// Where what is installed lies, and logs are written.
    folder: PathBuf,
}

impl Edge {
    pub fn new(lab: &Lab) -> Self {
        let folder = lab.folder().join("edge");
        let path = folder.display().to_string();
        for name in ["upper", "work", "root", "install"] {
            fs::create_dir_all(folder.join(name)).expect("made");
        }
        fs::copy(Version::This.binary(), folder.join("install/divvy"))
            .expect("the binary is built");
        let package = packed::named(packed::this(), ".deb");
        let name = package.file_name().expect("a file has a name");
        fs::copy(package, folder.join("install").join(name)).expect("copied");
        let script = format!(
            "set -e; cd '{path}'
             mount -t overlay overlay -o 'lowerdir=/,upperdir={path}/upper,workdir={path}/work' root
             for tree in proc sys dev; do mount --rbind /$tree root/$tree; done
             mount -t tmpfs tmpfs root/run
             touch ready
             exec chroot root sleep infinity"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut holder = lab.balancer().spawn(command);
        wait_until("the edge host has its disk", READY, || {
            assert!(holder.ended().is_none(), "it could not be mounted");
            folder.join("ready").exists()
        });
        Self {
            host: lab.balancer().clone(),
            holder,
            running: Vec::new(),
            folder,
        }
    }

    /// The words that run a script on this host's disk.
    fn words(&self, script: &str) -> Vec<String> {
        let holder = self.holder.id().to_string();
        [
            "nsenter", "--target", &holder, "--mount", "--root", "--wd", "sh", "-e", "-c", script,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Whether it succeeded, and what it printed.
    pub fn run(&self, script: &str) -> (bool, String) {
        let words = self.words(script);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        said(self.host.run(&words))
    }

    #[track_caller]
    pub fn must(&self, script: &str) -> String {
        let (succeeded, said) = self.run(script);
        assert!(succeeded, "{script}: {said}");
        said
    }

    /// Starts a script that goes on.
    pub fn start(&mut self, script: &str) {
        let script = format!("exec {}", script.trim());
        let words = self.words(&script);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stderr(log);
        let process = self.host.spawn(command);
        self.running.push(process);
    }

    /// Ends what goes on, as a killed daemon does.
    pub fn stop(&mut self) {
        self.running.clear();
    }

    /// What the background has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn write(&self, file: &str, text: &str) {
        self.must(&format!(
            "mkdir -p $(dirname {file}); cat > {file} <<'END'\n{text}END"
        ));
    }

    /// Replaces the lines of the file that begin with `-` here by those that begin with `+`.
    pub fn edit(&self, file: &str, diff: &str) {
        let words = self.words(&format!("cat {file}"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = self.host.must_run(&words);
        let of = |mark: char| {
            let lines = diff.lines().filter_map(move |line| line.strip_prefix(mark));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let old = of('-');
        assert_eq!(text.matches(&old).count(), 1, "{old}is not in {text}");
        self.write(file, &text.replace(&old, &of('+')));
    }

    /// Runs a script where the package and the binary lie.
    pub fn install(&self, script: &str) {
        let here = self.folder.join("install");
        self.must(&format!("cd '{}'\n{script}", here.display()));
    }
}

/// Whether it succeeded, and what it printed.
pub fn said(output: Output) -> (bool, String) {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// A server that greets whoever connects. It lives as long as its thread's listener: to the test's end.
pub fn greet(host: &Host, port: u16, words: &'static str) -> thread::JoinHandle<()> {
    let listener = host.inside(|| TcpListener::bind(("0.0.0.0", port)).expect("the port is free"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(words.as_bytes());
        }
    })
}
