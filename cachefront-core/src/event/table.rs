//! The name of a table: its database and its own name.

use std::fmt;
use std::sync::Arc;

/// A table's full name: the name of its database, and its own.
///
/// Two names are equal if both parts are. The text `database.table` is enough for most; a name that has a dot itself is given
/// as a pair, because the text does not show which of its dots separates the parts:
///
/// ```
/// use cachefront::event::TableName;
///
/// let users = TableName::from(("shop.example.org", "users"));
/// assert_eq!((users.database(), users.name()), ("shop.example.org", "users"));
/// assert_ne!(users, TableName::from(("shop", "example.org.users")));
/// assert_eq!(TableName::from("shop.users"), TableName::from(("shop", "users")));
/// // Such a text names no database; a cache that depends on it is not built.
/// assert_eq!(TableName::from("shop.example.org.users").database(), "");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(Arc<Name>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    /// `database.table`.
    text: Box<str>,
    /// Where the database ends in the text. `None` if the text does not show it.
    dot: Option<usize>,
}

impl TableName {
    /// Makes the name of the table `name` in `database`.
    pub fn new(database: &str, name: &str) -> Self {
        let text = format!("{database}.{name}").into();
        Self(Arc::new(Name { text, dot: Some(database.len()) }))
    }

    /// Returns the name in the form `database.table`, for people: names of different tables may have the same text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Returns the database's name; the empty text if the name was made of a text that has no dot, or more than one.
    pub fn database(&self) -> &str {
        self.0.dot.and_then(|dot| self.0.text.get(..dot)).unwrap_or_default()
    }

    /// Returns the name whose parts `change` made of this one's.
    pub(super) fn map_parts(&self, change: impl Fn(&str) -> String) -> Self {
        match self.0.dot {
            Some(_) => Self::new(&change(self.database()), &change(self.name())),
            None => Self(Arc::new(Name { text: change(self.as_str()).into(), dot: None })),
        }
    }

    /// Returns the table's own name; the whole text if it was made of a text that has no dot, or more than one.
    pub fn name(&self) -> &str {
        self.0.dot.and_then(|dot| self.0.text.get(dot + 1..)).unwrap_or(&self.0.text)
    }
}

impl From<&str> for TableName {
    fn from(text: &str) -> Self {
        let dot = text.find('.').filter(|dot| text.rfind('.') == Some(*dot));
        Self(Arc::new(Name { text: text.into(), dot }))
    }
}

impl From<&String> for TableName {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<(&str, &str)> for TableName {
    fn from((database, name): (&str, &str)) -> Self {
        Self::new(database, name)
    }
}

impl From<&Self> for TableName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableName").field(&self.database()).field(&self.name()).finish()
    }
}
