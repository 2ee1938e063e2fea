//! Runs the machine, shows what it prints, and ends it when it hangs.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::guest::{BEGIN, END, OVER};
use crate::setup::Machine;

/// What the kernel says goes there.
const CONSOLE: &str = "console";

/// A program of tests that ended.
pub(super) struct Ended {
    pub(super) title: String,
    pub(super) code: i32,
    results: Vec<String>,
    took: Duration,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.results.join("; ");
        write!(
            f,
            "{:>16} {:>5} s  {result}",
            self.title,
            self.took.as_secs()
        )?;
        if self.code != 0 {
            write!(f, " (exit code {})", self.code)?;
        }
        Ok(())
    }
}

/// The emulator with all its words. Emulated by software: what is tested is the kernel, on any host.
pub(super) fn command(parts: &Machine, initramfs: &Path, folder: &Path, cpus: u8) -> Command {
    let mut command = parts.emulator();
    command.args(["-machine", "pc,accel=tcg", "-cpu", "max,la57=off"]);
    command.args(["-smp", &cpus.to_string(), "-m", "3G"]);
    // The machine's time goes by its instructions, one a nanosecond, and not by how slowly the host carries
    // them out: so no test takes the machine for a slow one. It waits in real time.
    command.args(["-icount", "shift=0,sleep=on"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.arg("-no-reboot");
    command.arg("-kernel").arg(&parts.kernel);
    command.arg("-initrd").arg(initramfs);
    command.args([
        "-append",
        "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable rdinit=/init",
    ]);
    let console = folder.join(CONSOLE);
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    command.args(["-serial", "stdio"]);
    command.args([
        "-fsdev",
        "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device",
        "virtio-9p-pci,fsdev=host,mount_tag=host",
    ]);
    command
}

/// Runs it to its end. Ends it, and says so, after so long without a line, or so long altogether.
pub(super) fn run(
    command: &mut Command,
    folder: &Path,
    [silence, altogether]: [Duration; 2],
) -> Result<Vec<Ended>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the emulator")?;
    let lines = lines(&mut child);
    let heard = listen(&lines, silence, altogether);
    // Also where it powers itself off: it has nothing more to say.
    let _ = child.kill();
    let _ = child.wait();
    heard.with_context(|| {
        let console = fs::read(folder.join(CONSOLE)).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let last = lines[lines.len().saturating_sub(30)..].join("\n");
        format!("the machine did not get to its end; its kernel said last:\n{last}")
    })
}

/// Lines of its output and errors, as they come.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let stdout = child
        .stdout
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let stderr = child
        .stderr
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    for pipe in stdout.into_iter().chain(stderr) {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

fn listen(
    lines: &mpsc::Receiver<String>,
    silence: Duration,
    altogether: Duration,
) -> Result<Vec<Ended>> {
    let start = Instant::now();
    let mut began = start;
    let mut title = String::from("start");
    let mut results = Vec::new();
    let mut ended = Vec::new();
    loop {
        let left = altogether.saturating_sub(start.elapsed());
        let line = match lines.recv_timeout(silence.min(left)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => bail!("it stopped during `{title}`"),
            Err(RecvTimeoutError::Timeout) if left <= silence => {
                bail!("it was not done after {altogether:?}, during `{title}`")
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("it said nothing for {silence:?}, during `{title}`")
            }
        };
        if line == OVER {
            return Ok(ended);
        } else if let Some(next) = line.strip_prefix(BEGIN) {
            println!("\n{next}, after {} s", start.elapsed().as_secs());
            next.clone_into(&mut title);
            began = Instant::now();
        } else if let Some(code) = line.strip_prefix(END) {
            ended.push(Ended {
                title: title.clone(),
                code: code.parse().unwrap_or(-1),
                results: std::mem::take(&mut results),
                took: began.elapsed(),
            });
        } else {
            if line.starts_with("test result: ") {
                results.push(line.clone());
            }
            println!("{line}");
        }
    }
}
