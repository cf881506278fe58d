//! The two rules by which cached values are kept correct.

/// The rule by which an entry is kept correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidationMode {
    /// By the database's change log: an entry is valid while its generation is, until it is invalidated.
    Cdc,
    /// By age only.
    Ttl,
}
