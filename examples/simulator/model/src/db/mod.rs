//! The two databases: SQLite in a file of this program's own, and MySQL.

pub mod mysql;
pub mod sqlite;
