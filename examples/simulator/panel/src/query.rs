//! What one tab shows. It is part of the page's URL, so that a reload shows the same.

use serde::{Deserialize, Deserializer};
use simulator_model::domain::User;

use super::rows::{State, UserRow};

/// The query parameters of a page. A number that cannot be parsed counts as absent, so that a mistyped URL shows the
/// first page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct QueryParameters {
    /// Search text: an id, or part of a name or e-mail address; in the cache browser also part of a key.
    #[serde(default)]
    pub(super) q: String,
    /// `stale`: only stale entries.
    #[serde(default)]
    pub(super) only: String,
    /// Only ids above this one.
    #[serde(default, deserialize_with = "number")]
    pub(super) after: u64,
    /// Only ids below this one; no bound if it is zero.
    #[serde(default, deserialize_with = "number")]
    pub(super) before: u64,
    /// The page of the cache browser, from zero.
    #[serde(default, deserialize_with = "number")]
    pub(super) page: u64,
    /// The user that is read through each app server; the first one if it is zero.
    #[serde(default, deserialize_with = "number")]
    pub(super) user: u64,
}

fn number<'de, D: Deserializer<'de>>(text: D) -> Result<u64, D::Error> {
    Ok(String::deserialize(text)?.trim().parse().unwrap_or_default())
}

impl QueryParameters {
    pub(super) fn only_stale(&self) -> bool {
        self.only == "stale"
    }

    /// Returns true if this is not the first page.
    pub(super) fn is_further(&self) -> bool {
        self.after > 0 || self.before > 0
    }

    /// Returns true if an id is on the requested page or beyond it.
    pub(super) fn lies(&self, id: u64) -> bool {
        if self.before > 0 { id < self.before } else { id > self.after }
    }

    /// Returns true if a row matches the filter and the search text, whichever page it is on.
    pub(super) fn wants(&self, row: &UserRow) -> bool {
        (!self.only_stale() || row.state == State::Stale) && self.finds(row)
    }

    pub(super) fn finds(&self, row: &UserRow) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let holds = |user: &User| [&user.name, &user.email].iter().any(|text| text.to_lowercase().contains(&wanted));
        let other = row.other.as_ref().and_then(|found| found.entry.cached.as_ref());
        wanted.is_empty()
            || wanted.parse() == Ok(row.id)
            || [row.database.as_ref(), row.cached.as_ref(), other].into_iter().flatten().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn of(address: &str) -> QueryParameters {
        let address = address.parse().expect("an address");
        Query::<QueryParameters>::try_from_uri(&address).expect("anything can be wanted").0
    }

    #[test]
    fn an_address_says_what_is_wanted_and_nonsense_says_nothing() {
        let wanted = of("/live?tab=live&q=Ada+K&only=stale&after=20");
        assert_eq!((wanted.q.as_str(), wanted.only_stale(), wanted.after), ("Ada K", true, 20));
        assert!(wanted.is_further() && wanted.lies(21) && !wanted.lies(20));
        assert!(of("/?before=7").lies(6) && !of("/?before=7").lies(7));
        assert_eq!(of("/?after=-1&before=x&page="), QueryParameters::default());
    }
}
