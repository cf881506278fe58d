//! The macro that makes a key of a struct.

/// Implements [`CacheKey`](crate::CacheKey) for a struct: its fields are encoded as a tuple of them is, and a struct of one
/// field as that field is.
///
/// All fields must be named, each once, in any order; a field that is left out does not compile, because two different keys
/// would then have the same text. The order is part of the stored form: keep it over releases. Up to 12 fields.
///
/// ```
/// use cachefront::{StoreKey, cache_key};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// struct UserId(u64);
/// cache_key!(UserId(id));
///
/// #[derive(Clone, Debug, PartialEq, Eq, Hash)]
/// struct OrderLine { user: UserId, order: u64, sku: String }
/// cache_key!(OrderLine { user, order, sku });
///
/// assert_eq!(StoreKey::encode("users", &UserId(7))?.as_str(), "users:7");
/// let line = OrderLine { user: UserId(7), order: 3, sku: "a:b".into() };
/// assert_eq!(StoreKey::encode("lines", &line)?.as_str(), r"lines:7:3:a\:b");
/// # Ok::<(), cachefront::Error>(())
/// ```
///
/// A forgotten field:
///
/// ```compile_fail,E0027
/// # use cachefront::cache_key;
/// struct OrderLine { order: u64, line: u32 }
/// cache_key!(OrderLine { order });
/// ```
#[macro_export]
macro_rules! cache_key {
    ($type:ident ( $($field:ident),+ $(,)? )) => {
        $crate::cache_key!(@ $type, $($field)+, Self($($field),+));
    };
    ($type:ident { $($field:ident),+ $(,)? }) => {
        $crate::cache_key!(@ $type, $($field)+, Self { $($field),+ });
    };
    (@ $type:ident, $($field:ident)+, $pattern:pat) => {
        impl $crate::CacheKey for $type {
            fn encode(&self, out: &mut dyn ::std::fmt::Write) -> ::std::fmt::Result {
                let $pattern = self;
                $crate::CacheKey::encode(&($($field,)+), out)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::key::StoreKey;

    #[derive(Clone, Copy)]
    struct UserId(u64);
    cache_key!(UserId(id));

    struct Range(i64, i64);
    cache_key!(Range(from, to));

    struct Page {
        owner: UserId,
        range: Range,
        title: &'static str,
    }
    cache_key!(Page { title, owner, range });

    #[test]
    fn a_struct_is_encoded_as_the_tuple_of_its_fields() {
        let page = Page { owner: UserId(7), range: Range(-1, 5), title: "a:b" };
        let same = ("a:b", 7_u64, (-1_i64, 5_i64));
        let encode = |key: &dyn crate::CacheKey| StoreKey::encode("pages", key).expect("a key").to_string();
        assert_eq!(encode(&page), encode(&same));
        assert_eq!(encode(&page), r"pages:a\:b:7:-1\:5");
        assert_eq!(encode(&UserId(7)), "pages:7", "a newtype has the keys of what it wraps");
    }
}
