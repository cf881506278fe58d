//! Keys of several parts: tuples, and through [`cache_key!`](crate::cache_key) structs.
//!
//! The parts are joined by a separator, which is escaped inside of each part. So the text can be split again at the
//! separators that are not escaped, and no two different tuples of one type have the same text.

use std::fmt::{self, Write};

use crate::key::cache_key::CacheKey;

/// Separates the parts of a key. It is also what people write by hand, as in `7:de`.
const SEPARATOR: char = ':';

/// Precedes a separator, and itself, inside of a part.
const ESCAPE: char = '\\';

/// Writes the parts of a key.
fn encode_parts(parts: &[&dyn CacheKey], out: &mut dyn Write) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_char(SEPARATOR)?;
        }
        part.encode(&mut Escaped(out))?;
    }
    Ok(())
}

/// Passes text on, with an [`ESCAPE`] before each separator and each escape.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some(at) = text.find([SEPARATOR, ESCAPE]) {
            let (plain, special) = text.split_at(at);
            self.0.write_str(plain)?;
            self.0.write_char(ESCAPE)?;
            // Both characters have one byte.
            let (special, rest) = special.split_at(1);
            self.0.write_str(special)?;
            text = rest;
        }
        self.0.write_str(text)
    }
}

/// A tuple of one is encoded as its only element, so a newtype has the keys of what it wraps.
impl<A: CacheKey> CacheKey for (A,) {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        self.0.encode(out)
    }
}

macro_rules! tuple_keys {
    ($(($($part:ident)+);)*) => {$(
        impl<$($part: CacheKey),+> CacheKey for ($($part,)+) {
            fn encode(&self, out: &mut dyn Write) -> fmt::Result {
                #[expect(non_snake_case, reason = "the elements are named like their types")]
                let ($($part,)+) = self;
                encode_parts(&[$($part),+], out)
            }
        }
    )*};
}

tuple_keys! {
    (A B);
    (A B C);
    (A B C D);
    (A B C D E);
    (A B C D E F);
    (A B C D E F G);
    (A B C D E F G H);
    (A B C D E F G H I);
    (A B C D E F G H I J);
    (A B C D E F G H I J K);
    (A B C D E F G H I J K L);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Debug;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn text(key: &impl CacheKey) -> String {
        let mut text = String::new();
        key.encode(&mut text).expect("a string takes everything");
        text
    }

    /// Fails if two of the keys have the same text.
    fn all_differ<K: CacheKey + Debug>(keys: impl IntoIterator<Item = K>) {
        let mut seen = HashMap::new();
        for key in keys {
            let text = text(&key);
            let shown = format!("{key:?}");
            if let Some(other) = seen.insert(text.clone(), shown.clone()) {
                panic!("{other} and {shown} are both `{text}`");
            }
        }
    }

    /// Every text of up to three characters that matter: a plain one, the separator, the escape, and the mark of `Some`.
    fn short_texts() -> Vec<String> {
        let mut all = vec![String::new()];
        for _ in 0..3 {
            let longer: Vec<String> =
                all.iter().flat_map(|text| ["a", ":", "\\", "="].map(|last| format!("{text}{last}"))).collect();
            all.extend(longer);
            all.sort();
            all.dedup();
        }
        all
    }

    #[test]
    fn no_two_short_tuples_have_the_same_text() {
        let texts = short_texts();
        assert_eq!(texts.len(), 1 + 4 + 16 + 64);
        let pairs = || texts.iter().flat_map(|one| texts.iter().map(move |other| (one.clone(), other.clone())));
        all_differ(pairs());
        let few: Vec<String> = texts.iter().filter(|text| text.len() <= 1).cloned().collect();
        let few_pairs = || few.iter().flat_map(|one| few.iter().map(move |other| (one.clone(), other.clone())));
        all_differ(pairs().flat_map(|pair| few.iter().map(move |third| (pair.clone(), third.clone()))));
        all_differ(few_pairs().flat_map(|pair| few_pairs().map(move |other| (pair.clone(), other))));
        all_differ(few_pairs().flat_map(|pair| few.iter().map(move |third| ((pair.clone(), third.clone()), 7_u8))));
        all_differ(pairs().map(|(one, other)| (one.into_bytes(), Bytes::from(other))));
        let options = || few.iter().cloned().map(Some).chain([None]);
        all_differ(options().flat_map(|one| options().map(move |other| (one.clone(), Some(other)))));
    }

    /// Splits the text of a key at the separators that are not escaped, and removes one level of escapes.
    fn split(text: &str) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let part = parts.last_mut().expect("there is a part");
            match character {
                SEPARATOR => parts.push(String::new()),
                ESCAPE => part.push(characters.next().expect("an escape is followed by what it escapes")),
                plain => part.push(plain),
            }
        }
        parts
    }

    proptest! {
        #[test]
        fn a_tuple_is_read_back_from_its_text(
            one in any::<String>(),
            two in prop::collection::vec(any::<u8>(), 0..80),
            three in any::<(i64, String)>(),
            four in prop::option::of(any::<String>()),
        ) {
            let parts = split(&text(&(one.as_str(), two.clone(), three.clone(), four.clone())));
            prop_assert_eq!(parts.len(), 4);
            prop_assert_eq!(&parts[0], &one);
            let bytes: Vec<u8> = (0..parts[1].len() / 2)
                .map(|at| u8::from_str_radix(&parts[1][2 * at..2 * at + 2], 16).expect("two digits"))
                .collect();
            prop_assert_eq!(bytes, two);
            prop_assert_eq!(split(&parts[2]), [three.0.to_string(), three.1]);
            prop_assert_eq!(parts[3].strip_prefix('=').map(str::to_owned), four);
        }

        #[test]
        fn two_tuples_have_one_text_only_if_they_are_equal(
            one in prop::collection::vec("[a:\\\\=]{0,4}", 6),
            other in prop::collection::vec("[a:\\\\=]{0,4}", 6),
        ) {
            let tuple = |parts: &[String]| text(&(&parts[0], &parts[1], (&parts[2], &parts[3]), &parts[4], &parts[5]));
            prop_assert_eq!(tuple(&one) == tuple(&other), one == other);
        }
    }

    #[test]
    fn the_texts_are_pinned() {
        // Other processes and later releases read the same store.
        assert_eq!(text(&(7_u64, -3_i8, true)), "7:-3:true");
        assert_eq!(text(&("a:b", "c\\")), r"a\:b:c\\");
        assert_eq!(text(&((1, "x:y"), 2)), r"1\:x\\\:y:2");
        assert_eq!(text(&("", "")), ":");
        assert_eq!(text(&(Some(5), None::<u8>)), "=5:");
        assert_eq!(text(&vec![0_u8, 9, 10, 255]), "00090aff");
        assert_eq!(text(&[0xab_u8; 33]), "ab".repeat(33));
        assert_eq!(text(&Bytes::from_static(b"\xff:")), "ff3a");
        assert_eq!(
            text(&(std::borrow::Cow::Borrowed("x"), Box::<str>::from("y"), std::sync::Arc::<str>::from("z"))),
            "x:y:z"
        );
        assert_eq!(text(&()), "");
        assert_eq!(text(&(("only",),)), "only");
        assert_eq!(text(&(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)), "1:2:3:4:5:6:7:8:9:10:11:12");
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_a_key() {
        assert_eq!(text(&(uuid::Uuid::from_u128(1), 2)), "00000000-0000-0000-0000-000000000001:2");
    }
}
