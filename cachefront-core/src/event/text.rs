//! Texts and bytes that are stored in place if they are short: most values of a log are, and an allocation for each would cost
//! more than decoding it.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Bytes of the longest text that is stored in place. A TIMESTAMP(6) has 26, a UUID without hyphens 32. A [`Text`] has 32 bytes
/// then, and so has a [`Value`](crate::event::Value).
const TEXT_BYTES: usize = 30;

/// Number of the most bytes that are stored in place: a BINARY(16), a hash of 20 bytes. [`Blob`] leaves room next to it for what
/// tells the variants of a [`Value`](crate::event::Value) apart.
const BLOB_BYTES: usize = 22;

/// The text of a column. Up to 30 bytes are stored in place, without an allocation.
///
/// It is read as a `&str`:
///
/// ```
/// use cachefront::event::Text;
///
/// let text = Text::from("ann@example.org");
/// assert!(text.ends_with("example.org"));
/// assert_eq!(text, "ann@example.org");
/// assert_eq!(String::from(text).len(), 15);
/// ```
#[derive(Clone)]
pub struct Text(TextRepr);

#[derive(Clone)]
enum TextRepr {
    Inline(heapless::String<TEXT_BYTES, u8>),
    Heap(String),
}

/// The bytes of a column. Up to 22 are stored in place, without an allocation.
///
/// They are read as a `&[u8]`:
///
/// ```
/// use cachefront::event::Blob;
///
/// let id = Blob::from([7; 16]);
/// assert_eq!(id.first(), Some(&7));
/// assert_eq!(id, [7; 16].as_slice());
/// ```
#[derive(Clone)]
pub struct Blob(BlobRepr);

#[derive(Clone)]
enum BlobRepr {
    Inline(heapless::Vec<u8, BLOB_BYTES, u8>),
    Heap(Box<[u8]>),
}

impl Text {
    /// Makes an empty text.
    pub const fn new() -> Self {
        Self(TextRepr::Inline(heapless::String::new()))
    }

    /// Returns it as a slice.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            TextRepr::Inline(text) => text,
            TextRepr::Heap(text) => text,
        }
    }

    /// Appends a text.
    pub fn push_str(&mut self, more: &str) {
        match &mut self.0 {
            TextRepr::Inline(text) => {
                if text.push_str(more).is_err() {
                    let whole = [text.as_str(), more].concat();
                    self.0 = TextRepr::Heap(whole);
                }
            }
            TextRepr::Heap(text) => text.push_str(more),
        }
    }

    /// Appends a character.
    pub fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        Self(match heapless::String::try_from(text) {
            Ok(short) => TextRepr::Inline(short),
            Err(_) => TextRepr::Heap(text.to_owned()),
        })
    }
}

impl From<String> for Text {
    fn from(mut text: String) -> Self {
        Self(match heapless::String::try_from(text.as_str()) {
            Ok(short) => TextRepr::Inline(short),
            Err(_) => {
                // What was made room for while it was built is of no use any more.
                text.shrink_to_fit();
                TextRepr::Heap(text)
            }
        })
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        Self::from(String::from(text))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text.0 {
            TextRepr::Inline(text) => Self::from(text.as_str()),
            TextRepr::Heap(text) => text,
        }
    }
}

impl FromIterator<char> for Text {
    fn from_iter<I: IntoIterator<Item = char>>(characters: I) -> Self {
        let mut text = Self::new();
        characters.into_iter().for_each(|character| text.push(character));
        text
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Deref for Blob {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            BlobRepr::Inline(bytes) => bytes,
            BlobRepr::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(match heapless::Vec::try_from(bytes) {
            Ok(short) => BlobRepr::Inline(short),
            Err(_) => BlobRepr::Heap(bytes.into()),
        })
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(match heapless::Vec::try_from(bytes.as_slice()) {
            Ok(short) => BlobRepr::Inline(short),
            Err(_) => BlobRepr::Heap(bytes.into()),
        })
    }
}

impl From<Box<[u8]>> for Blob {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::from(Vec::from(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Blob {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<Blob> for Vec<u8> {
    fn from(bytes: Blob) -> Self {
        match bytes.0 {
            BlobRepr::Inline(bytes) => bytes.as_slice().to_vec(),
            BlobRepr::Heap(bytes) => bytes.into(),
        }
    }
}

impl PartialEq<[u8]> for Blob {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Blob {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

/// How a type is compared, hashed and printed: as the slice that it is read as, wherever that is stored.
macro_rules! as_slice {
    ($type:ty, $slice:ty) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                **self == **other
            }
        }

        impl Eq for $type {}

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                (**self).cmp(&**other)
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                (**self).hash(state);
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl AsRef<$slice> for $type {
            fn as_ref(&self) -> &$slice {
                self
            }
        }

        impl Borrow<$slice> for $type {
            fn borrow(&self) -> &$slice {
                self
            }
        }
    };
}

as_slice!(Text, str);
as_slice!(Blob, [u8]);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

    use super::*;
    use crate::event::{Column, Value};

    #[test]
    fn a_value_has_the_size_of_a_text() {
        assert_eq!((size_of::<Text>(), size_of::<Blob>()), (32, 24));
        assert_eq!((size_of::<Value>(), size_of::<Column>()), (32, 32));
    }

    #[test]
    fn a_text_is_the_same_wherever_it_is_stored() {
        let long = "ä".repeat(40);
        for end in (0..=long.len()).step_by(2) {
            let part = &long[..end];
            let texts =
                [Text::from(part), part.to_owned().into(), Box::<str>::from(part).into(), part.chars().collect()];
            for text in &texts {
                assert_eq!((text.as_str(), text.to_string()), (part, part.to_owned()));
                assert_eq!(matches!(text.0, TextRepr::Inline(_)), end <= TEXT_BYTES, "{end} bytes");
                assert_eq!((text == part, format!("{text:?}")), (true, format!("{part:?}")));
            }
            assert_eq!(HashSet::from(texts.clone()).get(part).map(Text::as_str), Some(part));
            assert!(texts[0] < Text::from("z".repeat(end + 1)) || end > 0);
            assert_eq!(String::from(texts[0].clone()), part);
        }
    }

    #[test]
    fn a_text_grows_out_of_its_place() {
        let mut text = Text::default();
        for number in 0..20 {
            write!(text, "{number:02}").expect("a text takes everything");
            assert_eq!(text.len(), 2 * (number + 1));
        }
        text.push('ä');
        assert_eq!(text, "0001020304050607080910111213141516171819ä");
    }

    #[test]
    fn bytes_are_the_same_wherever_they_are_stored() {
        for count in 0..64 {
            let bytes = vec![7; count];
            let blobs = [Blob::from(bytes.as_slice()), bytes.clone().into(), bytes.clone().into_boxed_slice().into()];
            for blob in &blobs {
                assert_eq!((&**blob, format!("{blob:?}")), (bytes.as_slice(), format!("{bytes:?}")));
                assert_eq!(matches!(blob.0, BlobRepr::Inline(_)), count <= BLOB_BYTES, "{count} bytes");
            }
            assert_eq!(HashSet::from(blobs.clone()).len(), 1);
            assert_eq!(Vec::from(blobs[0].clone()), bytes);
        }
        assert_eq!(Blob::from([1, 2]), [1, 2].as_slice());
    }
}
