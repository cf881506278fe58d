//! The two databases: SQLite in a file of this program's own, and MySQL.

pub(crate) mod mysql;
pub(crate) mod sqlite;
