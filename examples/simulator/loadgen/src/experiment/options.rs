//! The options that the API's caches are built with, in words.

use crate::load::report::frame::span;
use crate::load::{BuiltWith, lifetime};

/// Names the options that the caches are built with, after the TTL.
pub(crate) fn options(caches: &BuiltWith) -> String {
    let age = format!("the last value if a load fails or is slow, up to {}", span(caches.stale_if_error_ms as f64));
    let options = [
        (caches.fenced, "fenced loads"),
        (caches.refresh_in_place, "values of rows in place"),
        (caches.stale_if_error_ms > 0, &*age),
    ];
    let on: Vec<&str> = options.into_iter().filter_map(|(is_on, words)| is_on.then_some(words)).collect();
    let on = if on.is_empty() { "no further options".to_owned() } else { on.join(", ") };
    match caches.ttl_ms {
        Some(ttl_ms) => format!("TTL {}, {on}", lifetime(ttl_ms)),
        None => on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_caches_are_named() {
        let none = BuiltWith { ttl_ms: None, fenced: false, refresh_in_place: false, stale_if_error_ms: 0 };
        assert_eq!(options(&none), "no further options");
        assert_eq!(options(&BuiltWith { ttl_ms: Some(2_000), ..none }), "TTL 2 s, no further options");
        let some = BuiltWith { refresh_in_place: true, stale_if_error_ms: 60_000, ..none };
        assert!(options(&some).starts_with("values of rows in place, the last value"), "{}", options(&some));
    }
}
