//! A terminal in which a program runs: what it shows, the keys that are typed, and what it leaves behind.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

use super::{host::Host, wait::wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with one program in it, which is killed when this is dropped.
pub struct Terminal {
    program: Child,
    keys: File,
    /// The program's end, kept open so that what it left there can be looked at.
    line: OwnedFd,
    shown: Arc<Mutex<Shown>>,
}

struct Shown {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a program on this host, in a session whose terminal this is, of so many columns and rows.
    pub(super) fn start(host: &Host, words: &[&str], columns: u16, rows: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).expect("this host has pseudo-terminals");
        let end = || {
            let copy = pty.slave.try_clone();
            Stdio::from(copy.expect("a descriptor can be copied"))
        };
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(end()).stdout(end()).stderr(end());
        let program = host
            .inside(|| command.spawn())
            .unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().expect("a descriptor can be copied");
        let shown = Arc::new(Mutex::new(Shown {
            screen: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
        }));
        let to = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with an error once nobody has the other end any more.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let mut shown = to.lock().unwrap_or_else(PoisonError::into_inner);
                shown.screen.process(&buffer[..length]);
                shown.bytes.extend_from_slice(&buffer[..length]);
            }
        });
        Self {
            program,
            keys,
            line: pty.slave,
            shown,
        }
    }

    /// Types these keys.
    pub fn type_keys(&mut self, keys: &str) {
        (self.keys.write_all(keys.as_bytes())).expect("the terminal takes keys");
    }

    /// What the screen shows, line by line.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown().screen.screen().contents()
    }

    /// All that was written to the terminal.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.shown().bytes.clone()
    }

    /// The first line that shows this.
    #[must_use]
    pub fn line_with(&self, words: &str) -> Option<String> {
        let text = self.text();
        text.lines()
            .find(|line| line.contains(words))
            .map(str::to_owned)
    }

    /// Waits until the screen shows this, and returns the whole of it.
    #[track_caller]
    pub fn wait_for(&self, words: &str) -> String {
        self.wait_until(&format!("the screen shows {words:?}"), |text| {
            text.contains(words)
        })
    }

    /// Waits until this holds for what the screen shows.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if holds(&text) {
                return text;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain until {what}:\n{text}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The foreground colour of the first place where this is shown, as a number of the 256; `None` for the
    /// usual one.
    #[must_use]
    pub fn colour_of(&self, words: &str) -> Option<u8> {
        let shown = self.shown();
        let screen = shown.screen.screen();
        let (_, columns) = screen.size();
        let (row, line) = screen
            .rows(0, columns)
            .enumerate()
            .find(|(_, line)| line.contains(words))?;
        let before = line[..line.find(words)?].chars().count();
        let (row, column) = (u16::try_from(row).ok()?, u16::try_from(before).ok()?);
        match screen.cell(row, column)?.fgcolor() {
            vt100::Color::Idx(number) => Some(number),
            _ => None,
        }
    }

    /// Whether the program took the terminal over: another screen, no cursor, each key at once.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let modes = tcgetattr(&self.line)
            .expect("a terminal has modes")
            .local_flags;
        let raw = !modes.contains(LocalFlags::ICANON | LocalFlags::ECHO);
        let shown = self.shown();
        let screen = shown.screen.screen();
        raw || screen.alternate_screen() || screen.hide_cursor()
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.program.id()).expect("process ids are below 2^22");
        kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("no {signal}: {error}"));
    }

    /// How the program ended, once it has.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the program on the terminal ends", PATIENCE, || {
            ended = self
                .program
                .try_wait()
                .expect("the program is ours to wait for");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
