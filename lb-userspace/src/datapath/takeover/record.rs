//! The bytes of a key or value, read by the names of their fields.

use super::description::Fields;

/// A key or value of another layout.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a Fields,
}

impl<'a> Record<'a> {
    /// A number of the host's byte order; 0 where the other layout does not have it, or not in the bytes
    /// at hand.
    pub(super) fn number(&self, name: &str) -> u64 {
        let mut number = [0; 8];
        if let Some(bytes) = self.field(name).filter(|bytes| bytes.len() <= 8) {
            number[..bytes.len()].copy_from_slice(bytes);
        }
        u64::from_le_bytes(number)
    }

    /// The same where the number is known to be of 32, 16 or 8 bits; a greater one is not ours to judge, and
    /// becomes the greatest.
    pub(super) fn narrow<N: TryFrom<u64> + Bound>(&self, name: &str) -> N {
        N::try_from(self.number(name)).unwrap_or(N::MOST)
    }

    /// Bytes as they stand there: zeros where the other layout has not as many of this name.
    pub(super) fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
        (self.field(name))
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; N])
    }

    /// Words as they stand there, such as an address.
    pub(super) fn words<const N: usize>(&self, name: &str) -> [u32; N] {
        let field = self.field(name).unwrap_or_default();
        std::array::from_fn(|at| {
            let word = field.get(4 * at..4 * at + 4).unwrap_or(&[0; 4]);
            u32::from_ne_bytes(word.try_into().expect("four bytes"))
        })
    }

    /// A field's bytes; `None` where the other layout does not have it, or not in the bytes at hand.
    pub(super) fn field(&self, name: &str) -> Option<&'a [u8]> {
        let (from, length) = *self.fields.get(name)?;
        self.bytes.get(from as usize..)?.get(..length as usize)
    }
}

/// The greatest number of a type.
pub(super) trait Bound {
    const MOST: Self;
}

impl Bound for u32 {
    const MOST: Self = Self::MAX;
}

impl Bound for u16 {
    const MOST: Self = Self::MAX;
}

impl Bound for u8 {
    const MOST: Self = Self::MAX;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_missing_or_beyond_the_end_is_zero() {
        let fields = BTreeMap::from([
            ("low".to_owned(), (0, 2)),
            ("far".to_owned(), (6, 4)),
            ("wide".to_owned(), (0, 8)),
        ]);
        let record = Record {
            bytes: &[0x34, 0x12, 1, 2, 3, 4, 5, 6],
            fields: &fields,
        };
        assert_eq!(record.number("low"), 0x1234);
        assert_eq!(record.narrow::<u8>("low"), u8::MAX);
        assert_eq!(record.number("far"), 0);
        assert_eq!(record.number("none"), 0);
        assert_eq!(record.bytes::<2>("low"), [0x34, 0x12]);
        assert_eq!(record.bytes::<6>("low"), [0; 6]);
        assert_eq!(record.words::<1>("far"), [0]);
    }
}
