//! The trait of key types, and its implementations for simple types.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;

use bytes::Bytes;

/// A type that identifies a cached value.
///
/// The encoding must be injective (different keys have different encodings) and stable over releases, because other
/// processes and later versions read the same store. The cache's name is added in front.
///
/// | type | encoding |
/// |---|---|
/// | integers, `bool`, `char` | as displayed |
/// | `str`, `String`, `Cow<str>` | the text itself |
/// | bytes: `[u8; N]`, `[u8]`, `Vec<u8>`, [`Bytes`] | lower-case hexadecimal digits, so the limit for a key is 512 bytes |
/// | `uuid::Uuid` (feature `uuid`) | lower case, with hyphens |
/// | `()` | empty: a cache of one value |
/// | `Option<T>` | empty if `None`; `=` and the encoding of `T` if `Some` |
/// | tuples of up to 12 elements | the encodings of the elements, joined by `:`; a `:` or `\` in an element gets a `\` in front |
/// | `&T`, `Box<T>`, `Arc<T>` | as `T` |
///
/// For a struct, [`cache_key!`](crate::cache_key) implements the trait: its fields are encoded as a tuple. An enum, or a type
/// that needs another text, implements it by hand, best on top of a tuple:
///
/// ```
/// use std::fmt;
/// use cachefront::{CacheKey, StoreKey};
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash)]
/// enum Lookup { ById(u64), ByEmail(String) }
///
/// impl CacheKey for Lookup {
///     fn encode(&self, out: &mut dyn fmt::Write) -> fmt::Result {
///         match self {
///             Self::ById(id) => ("id", id).encode(out),
///             Self::ByEmail(email) => ("email", email).encode(out),
///         }
///     }
/// }
///
/// assert_eq!(StoreKey::encode("user", &Lookup::ById(7))?.as_str(), "user:id:7");
/// assert_eq!(StoreKey::encode("user", &Lookup::ByEmail("a:b@x".into()))?.as_str(), r"user:email:a\:b@x");
/// assert_eq!(StoreKey::encode("line", &(7_u64, "de", [0_u8, 255]))?.as_str(), "line:7:de:00ff");
/// # Ok::<(), cachefront::Error>(())
/// ```
pub trait CacheKey {
    /// Writes the key in its text form.
    ///
    /// # Errors
    /// Only the errors of `out`.
    fn encode(&self, out: &mut dyn Write) -> fmt::Result;
}

macro_rules! display_keys {
    ($($type:ty),*) => {$(
        impl CacheKey for $type {
            fn encode(&self, out: &mut dyn Write) -> fmt::Result {
                write!(out, "{self}")
            }
        }
    )*};
}

display_keys!(u128, i128, bool, char);

/// Implements the trait for integers by their sign and magnitude.
macro_rules! integer_keys {
    ($($type:ty)*, $value:ident => $sign_and_magnitude:expr) => {$(
        impl CacheKey for $type {
            fn encode(&self, out: &mut dyn Write) -> fmt::Result {
                let $value = *self;
                let (is_negative, magnitude) = $sign_and_magnitude;
                write_decimal(is_negative, magnitude, out)
            }
        }
    )*};
}

integer_keys!(u8 u16 u32, value => (false, u64::from(value)));
integer_keys!(u64, value => (false, value));
integer_keys!(usize, value => (false, value as u64));
integer_keys!(i8 i16 i32, value => (value < 0, u64::from(value.unsigned_abs())));
integer_keys!(i64, value => (value < 0, value.unsigned_abs()));
integer_keys!(isize, value => (value < 0, value.unsigned_abs() as u64));

/// Writes a number as displayed. The text is made in place: the formatter of the standard library costs more than the rest of a
/// key.
fn write_decimal(is_negative: bool, mut magnitude: u64, out: &mut dyn Write) -> fmt::Result {
    // A sign and the 20 digits of the greatest number.
    let mut text = [b'-'; 21];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    at -= usize::from(is_negative);
    out.write_str(std::str::from_utf8(&text[at..]).map_err(|_| fmt::Error)?)
}

#[cfg(feature = "uuid")]
display_keys!(uuid::Uuid);

impl CacheKey for str {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(self)
    }
}

impl CacheKey for String {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(self)
    }
}

impl CacheKey for [u8] {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        // Pieces, so that a short key is one write.
        for piece in self.chunks(32) {
            let mut digits = [0; 64];
            for (byte, pair) in piece.iter().zip(digits.chunks_exact_mut(2)) {
                let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
                pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            out.write_str(std::str::from_utf8(&digits[..piece.len() * 2]).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

macro_rules! byte_keys {
    ($($type:ty $(, $size:ident)?;)*) => {$(
        impl$(<const $size: usize>)? CacheKey for $type {
            fn encode(&self, out: &mut dyn Write) -> fmt::Result {
                <[u8] as CacheKey>::encode(self, out)
            }
        }
    )*};
}

byte_keys! {
    [u8; N], N;
    Vec<u8>;
    Bytes;
}

impl CacheKey for () {
    fn encode(&self, _: &mut dyn Write) -> fmt::Result {
        Ok(())
    }
}

impl<T: CacheKey> CacheKey for Option<T> {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        let Some(key) = self else { return Ok(()) };
        out.write_char('=')?;
        key.encode(out)
    }
}

impl<T: CacheKey + ToOwned + ?Sized> CacheKey for Cow<'_, T> {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        (**self).encode(out)
    }
}

impl<T: CacheKey + ?Sized> CacheKey for &T {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        (**self).encode(out)
    }
}

impl<T: CacheKey + ?Sized> CacheKey for Arc<T> {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        (**self).encode(out)
    }
}

impl<T: CacheKey + ?Sized> CacheKey for Box<T> {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        (**self).encode(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &dyn CacheKey) -> String {
        let mut text = String::new();
        key.encode(&mut text).expect("a string takes everything");
        text
    }

    #[test]
    fn integers_have_the_text_that_they_are_displayed_with() {
        macro_rules! check {
            ($($type:ident)*) => {$(
                for value in [$type::MIN, $type::MIN + 1, 0, 1, 9, 10, 99, 100, $type::MAX - 1, $type::MAX] {
                    assert_eq!(text(&value), value.to_string());
                    assert_eq!(text(&value.wrapping_neg()), value.wrapping_neg().to_string());
                }
            )*};
        }
        check!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
    }
}
