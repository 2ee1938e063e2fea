//! The archive that a kernel unpacks as its first file system: cpio, "new ASCII format"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

/// An archive being written.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// Kinds of entries, with their permissions: st_mode of stat(2).
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

impl Archive {
    /// With the console, without which the first program has no output.
    pub(super) fn new() -> Self {
        let mut archive = Self {
            bytes: Vec::new(),
            entries: 0,
        };
        archive.folder("dev");
        archive.entry("dev/console", CONSOLE, (5, 1), &[]);
        archive
    }

    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, (0, 0), &[]);
    }

    pub(super) fn program(&mut self, path: &str, bytes: &[u8]) {
        self.entry(path, PROGRAM, (0, 0), bytes);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), bytes: &[u8]) {
        self.entries += 1;
        let length = |length: usize| u32::try_from(length).expect("an entry is below 4 GB");
        let fields = [
            self.entries, // number of the file
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            length(bytes.len()),
            0, // device that holds it
            0,
            major,
            minor,
            length(path.len() + 1),
            0, // checksum, of another format
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    /// Headers and contents begin at multiples of 4.
    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}
