//! The bodies of the large files that backends send, and how to tell them from changed ones.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::OnceLock,
};

const TEN_MEGABYTES: usize = 10_000_000;
const HUNDRED_MEGABYTES: usize = 100_000_000;

/// The body of `/10mb`: 10,000,000 bytes that look random and are always the same.
#[must_use]
pub fn ten_megabytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| words(TEN_MEGABYTES).flatten().collect())
}

/// Writes the body of `/100mb`, which begins with [`ten_megabytes`] and goes on like it.
pub(super) fn write_hundred_megabytes(path: &Path) -> io::Result<Digest> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut digest = Digest::default();
    for word in words(HUNDRED_MEGABYTES) {
        digest.add(&word);
        file.write_all(&word)?;
    }
    file.flush()?;
    Ok(digest)
}

/// That many bytes, in eights: splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
/// Generators", 2014).
fn words(bytes: usize) -> impl Iterator<Item = [u8; 8]> {
    let mut state = 0_u64;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.take(bytes / 8)
}

/// Length and checksum of a body that nobody wants to hold: 64-bit FNV-1a (RFC 9923), which a bit
/// changed, a byte lost and two swapped all change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    length: u64,
    hash: u64,
}

impl Digest {
    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes in.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Default for Digest {
    /// Of no bytes.
    fn default() -> Self {
        Self {
            length: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn a_digest_is_that_of_the_rfc() {
        let mut digest = Digest::default();
        digest.add(b"foo");
        digest.add(b"bar");
        // RFC 9923 gives this value for "foobar".
        assert_eq!((digest.length(), digest.hash), (6, 0x8594_4171_f739_67e8));
    }
}
