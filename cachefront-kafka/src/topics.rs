//! Which topics a source reads.

use cachefront_core::event::TableName;
use cachefront_core::source::TableFilter;
use cachefront_core::{Error, ErrorKind, Result};
use regex_lite::Regex;

/// The topics of a source: a list, or a pattern. Topics that are created later are read too.
#[derive(Clone, Debug)]
pub(crate) enum Topics {
    Listed(Vec<String>),
    Pattern(Regex),
}

impl Topics {
    /// # Errors
    /// `Config` if the pattern is not a regular expression.
    pub(crate) fn pattern(pattern: &str) -> Result<Self> {
        match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(regex) => Ok(Self::Pattern(regex)),
            Err(cause) => {
                Err(Error::with_source(ErrorKind::Config, "`topic_pattern` is not a regular expression", cause))
            }
        }
    }

    /// Returns the topics that a connector with this prefix writes for the tables, and the ones of schema changes and
    /// transactions.
    pub(crate) fn of_tables(prefix: &str, transactions: &str, filter: &TableFilter) -> Self {
        let tables = filter.iter().map(|(table, _)| topic_of(prefix, table));
        Self::Listed(tables.chain([prefix.to_owned(), transactions.to_owned()]).collect())
    }

    /// True if no topics were chosen, so the ones of the mapped tables are read.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self, Self::Listed(topics) if topics.is_empty())
    }

    /// True if this topic is read, should it exist.
    pub(crate) fn has(&self, topic: &str) -> bool {
        match self {
            Self::Listed(topics) => topics.iter().any(|listed| listed == topic),
            Self::Pattern(regex) => regex.is_match(topic),
        }
    }
}

/// Returns the [topic of a table]: characters that Kafka does not allow in a name become underscores.
///
/// [topic of a table]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-topic-names
pub(crate) fn topic_of(prefix: &str, table: &TableName) -> String {
    let sanitised = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{prefix}.{}", table.as_str()).chars().map(sanitised).collect()
}

/// Returns the default topic of the begin and end of transactions.
pub(crate) fn transaction_topic(prefix: &str) -> String {
    format!("{prefix}.transaction")
}

#[cfg(test)]
mod tests {
    use cachefront_core::source::Columns;

    use super::*;

    #[test]
    fn topics_are_named_as_the_connector_names_them() {
        let mut filter = TableFilter::new();
        filter.add("app.we-ird.tbl$".into(), &Columns::All);
        let Topics::Listed(topics) = Topics::of_tables("shop", "shop.tx", &filter) else { panic!("a list") };
        assert_eq!(topics, ["shop.app.we-ird.tbl_", "shop", "shop.tx"]);
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        let Topics::Pattern(regex) = Topics::pattern("shop|shop\\.app\\..*").expect("a pattern") else { panic!() };
        assert!(regex.is_match("shop.app.users") && regex.is_match("shop"));
        assert!(!regex.is_match("my-shop") && !regex.is_match("shop-2"));
        assert!(Topics::pattern("(").is_err());
    }
}
