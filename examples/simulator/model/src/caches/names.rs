//! How caches are named that clients choose.

/// How the names of the caches begin that go by age alone; the lifetime follows.
pub(crate) const AGED: &str = "users_ttl_";
