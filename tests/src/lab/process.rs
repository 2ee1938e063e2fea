//! Programs that the lab starts: in a process group of their own, and never outliving their handle.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// Runs a command of the host to its end. Panics, with what it said, unless it succeeds.
pub(super) fn must_run(words: &[&str]) -> String {
    let output = command(words)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", words[0]));
    succeeded(words, &output)
}

/// What a command printed. Panics, with what it said, unless it succeeded.
pub(super) fn succeeded(words: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "`{}` failed ({}): {}{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A command from its words, without standard input.
pub(super) fn command(words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

/// A running program and all its children. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    killed: bool,
}

impl Process {
    /// Starts the command in a process group of its own, so that a Ctrl-C in the terminal reaches
    /// the lab alone, and so that a kill reaches its children too.
    pub(super) fn start(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            child,
            name,
            killed: false,
        }
    }

    /// Process id; also that of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal} to {}: {error}", self.name));
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("the child is ours to wait for, and nobody else waits for it")
    }

    /// Waits for its end, at most `limit`.
    ///
    /// # Errors
    /// When it is still running then.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let give_up = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > give_up {
                let text = format!("{} still runs after {limit:?}", self.name);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end and returns its output, where that was piped.
    #[must_use]
    pub fn output(mut self) -> Output {
        // Both pipes at once: a program that fills the one nobody reads would never end.
        let stderr = self.child.stderr.take();
        let errors = thread::spawn(move || read_all(stderr));
        let stdout = read_all(self.child.stdout.take());
        let stderr = errors.join().unwrap_or_default();
        let status = self
            .child
            .wait()
            .expect("the child is ours to wait for, and nobody else waits for it");
        Output {
            status,
            stdout,
            stderr,
        }
    }

    /// SIGKILL to the whole group, and waits until the program is gone.
    pub fn kill(&mut self) {
        if self.killed {
            return;
        }
        self.killed = true;
        // A group that has ended already cannot be killed: that is what was wanted.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids are below 2^22"))
    }
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
