//! What a statement changes besides the tables that it names, where the log does not have its rows.
//!
//! | cause | example |
//! |---|---|
//! | the target is a view | `INSERT INTO recent_users` changes `users` |
//! | a trigger of the target | `INSERT INTO audit` updates `users` |
//! | a foreign key that refers to the target | `DELETE FROM countries` deletes rows of `users` by cascade |
//! | a view that it reads, which calls a function | `INSERT INTO log SELECT * FROM touched_users` |
//!
//! All of these are objects of the server, so they are looked up when the log is opened. Once a statement needed them they are
//! looked up again after each definition that may change them; a log of rows alone has no such statement. A statement that has
//! the name of a view anywhere counts as one that reads it; those of the database `sys` call only functions that read. A lookup
//! is valid for later transactions only. It is complete only if the user may see every trigger, view and foreign key, for which
//! it needs the rights TRIGGER and SELECT on all tables.
//!
//! Tables of the database `mysql` have no triggers, because the server refuses them, and are no views or parents of foreign
//! keys unless a user with full rights makes them so. Servers of cloud providers write there by themselves, as statements, so
//! these tables need no lookup.

use std::collections::HashSet;
use std::time::Duration;

use cachefront_core::event::TableName;
use cachefront_core::{ErrorKind, Gtid, Position, Result};
use mysql_async::Conn;
use tokio::time::Instant;

use crate::charset::UNKNOWN;
use crate::conn::Server;
use crate::position::{logged, wait_executed};
use crate::rows_of::RowsOf;

/// Maximum number of tables that are kept. On a server with more, each statement may change any table.
const TABLES_MAX: usize = 100_000;

/// How long a lookup waits until a definition is visible. A server that waits for a replica's acknowledgement may need longer;
/// until then every statement may change any table.
const VISIBLE_WITHIN: Duration = Duration::from_millis(100);

/// How long a lookup is not repeated that has taken too long: nothing is read from the log meanwhile.
const TOO_SLOW_FOR: Duration = Duration::from_secs(60);

/// The words of definitions that may change triggers, views, foreign keys and the names of tables.
const DEFINING: [&[u8]; 4] = [b"TRIGGER", b"VIEW", b"REFERENCES", b"RENAME"];

/// The database of the server's own tables.
const SYSTEM: &str = "mysql";

/// The database of the server's own views.
const VIEWS_OF_SERVER: &str = "sys";

/// The tables whose change may change others, by folded name.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    known: Option<Known>,
    /// The definitions that may have changed them since the lookup. A lookup that does not see all of them is void: the log
    /// has a definition before other sessions see it.
    defined: Position,
    /// When a lookup has taken too long. A definition after [`TOO_SLOW_FOR`] asks for another one.
    too_slow_at: Option<Instant>,
    /// A statement needed them.
    are_needed: bool,
}

/// The names of views, without their databases.
#[derive(Debug, Default)]
struct Views {
    /// Those that are one word of ASCII characters, in upper case.
    words: HashSet<Vec<u8>>,
    /// Other ones of ASCII characters: a statement has them in quotes, as they are.
    quoted: Vec<Vec<u8>>,
    /// There is one with a character outside of ASCII: every statement with such a character may read it.
    has_foreign: bool,
    /// There is one with a quote: every statement may read it.
    has_quotes: bool,
}

impl Views {
    fn add(&mut self, name: &str) {
        let bytes = name.as_bytes();
        match bytes {
            [] => {}
            _ if bytes.iter().all(|&byte| is_word(byte)) => {
                self.words.insert(bytes.to_ascii_uppercase());
            }
            _ if !name.is_ascii() => self.has_foreign = true,
            _ if name.contains(['`', '"']) => self.has_quotes = true,
            _ => self.quoted.push(bytes.to_vec()),
        }
    }

    /// Returns true if a statement has the name of one.
    fn are_in(&self, text: &[u8]) -> bool {
        let is_name = |word: &[u8]| !word.is_empty() && self.words.contains(&word.to_ascii_uppercase());
        self.has_quotes
            || self.has_foreign && !text.is_ascii()
            || self.quoted.iter().any(|name| has_part(text, name))
            || !self.words.is_empty() && text.split(|&byte| !is_word(byte)).any(is_name)
    }
}

/// Returns true for the ASCII characters of unquoted names.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// It is replaced as a whole by the next lookup.
#[derive(Debug)]
struct Known {
    tables: HashSet<TableName>,
    views: Views,
    /// The position executed after the lookup: it is valid for later transactions.
    read_at: Position,
}

impl Effects {
    /// Returns true if a statement of this transaction that names `table` may have changed another table too.
    pub(crate) fn may_follow(&mut self, table: &TableName, gtid: &Gtid) -> bool {
        if table.database().contains(UNKNOWN) || table.name().contains(UNKNOWN) {
            return true;
        }
        // Compared exactly: where names are not folded, `MySQL` is another database.
        if table.database() == SYSTEM {
            return false;
        }
        self.are_needed = true;
        match &self.known {
            Some(known) if !self.is_outdated() => {
                known.read_at.contains(gtid) || known.tables.contains(&table.folded())
            }
            _ => true,
        }
    }

    /// Returns true if a statement of this transaction may read a view, and a view may call a function that changes rows.
    pub(crate) fn may_read_view(&mut self, text: &[u8], gtid: &Gtid) -> bool {
        let may_read = has_part(text, b"SELECT") || has_part(text, b"TABLE");
        self.are_needed |= may_read;
        match &self.known {
            Some(known) if !self.is_outdated() && !known.read_at.contains(gtid) => known.views.are_in(text),
            _ => may_read,
        }
    }

    /// Returns true if they have been looked up.
    pub(crate) fn are_known(&self) -> bool {
        self.known.is_some()
    }

    /// Notes a definition: those of triggers, views, foreign keys and names change the effects.
    pub(crate) fn note(&mut self, text: &[u8], gtid: &Gtid) {
        let is_again = self.too_slow_at.is_some_and(|at| at.elapsed() >= TOO_SLOW_FOR);
        if (self.known.is_some() || is_again) && may_define(text) {
            self.defined.insert(gtid);
        }
    }

    /// Returns true if a definition may have changed them since the lookup.
    pub(crate) fn is_outdated(&self) -> bool {
        !self.defined.is_empty()
    }

    /// Returns true if they should be looked up again.
    pub(crate) fn needs_lookup(&self) -> bool {
        self.are_needed && self.is_outdated()
    }

    /// Looks them up, over a connection of their own. Without the rights to see them all, or if the server takes too long, they are
    /// unknown; while a definition is not visible they stay outdated.
    ///
    /// # Errors
    /// That of the server, if it cannot be reached or refuses.
    pub(crate) async fn look_up(&mut self, server: &Server) -> Result<()> {
        let mut conn = server.connect().await?;
        match self.read(&mut conn, server).await {
            Ok(()) => server.disconnect(conn).await,
            // The connection is in the middle of a reply.
            Err(error) if error.kind() == ErrorKind::Timeout => {
                drop(conn);
                *self = Self { too_slow_at: Some(Instant::now()), are_needed: self.are_needed, ..Self::default() };
                tracing::warn!(error = %error.chain(), "triggers, views and foreign keys are unknown: each statement that changes rows flushes everything, until a definition in a minute or more, or the next session");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads them.
    async fn read(&mut self, conn: &mut Conn, server: &Server) -> Result<()> {
        let visible = async { Ok(wait_executed(conn, &self.defined, VISIBLE_WITHIN).await) };
        let limit = VISIBLE_WITHIN + server.query_timeout();
        if !server.within("waiting for a definition to be visible", limit, visible).await?? {
            return Ok(());
        }
        *self = Self { are_needed: self.are_needed, ..Self::default() };
        let grants: Vec<String> =
            server.within("reading the user's rights", server.query_timeout(), conn.all_of("SHOW GRANTS")).await?;
        if !sees_all(&grants) {
            return Ok(());
        }
        let sql = format!(
            "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, 0 FROM information_schema.TRIGGERS UNION SELECT TABLE_SCHEMA, \
             TABLE_NAME, 1 FROM information_schema.VIEWS UNION SELECT UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, 0 FROM \
             information_schema.REFERENTIAL_CONSTRAINTS WHERE DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE \
             NOT IN ('RESTRICT', 'NO ACTION') LIMIT {}",
            TABLES_MAX + 1
        );
        let query = conn.all_of::<(String, String, bool), _>(sql);
        let rows = server.within("reading triggers, views and foreign keys", server.query_timeout(), query).await?;
        if rows.len() > TABLES_MAX {
            return Ok(());
        }
        let mut views = Views::default();
        for (_, name, _) in rows.iter().filter(|(database, _, is_view)| *is_view && database != VIEWS_OF_SERVER) {
            views.add(name);
        }
        let tables = rows.into_iter().map(|(database, name, _)| TableName::new(&database, &name).folded()).collect();
        // Read after the tables: what later transactions define is in the log.
        let position = async { Ok(logged(conn).await) };
        let (read_at, _) = server.within("reading the position", server.query_timeout(), position).await??;
        self.known = Some(Known { tables, views, read_at });
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn of(tables: &[&str], views: &[&str], read_at: Position) -> Self {
        let tables = tables.iter().map(|table| TableName::from(*table)).collect();
        let mut known = Known { tables, views: Views::default(), read_at };
        views.iter().for_each(|view| known.views.add(view));
        Self { known: Some(known), ..Self::default() }
    }
}

/// Returns true if a text has this word, in any case, also as a part of a longer one.
fn has_part(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Returns true if a statement may define a trigger, a view or a foreign key, or change the name of a table. Those about rights
/// have the same words and define nothing.
fn may_define(text: &[u8]) -> bool {
    let begins = text.trim_ascii_start().split(|&byte| !is_word(byte)).next().unwrap_or_default();
    if [b"GRANT".as_slice(), b"REVOKE"].iter().any(|verb| begins.eq_ignore_ascii_case(verb)) {
        return false;
    }
    let mut words = text.split(|&byte| !is_word(byte));
    words.any(|word| {
        // The version of a comment that is executed may be right before the word.
        let start = word.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or_default();
        let word = word.get(start..).unwrap_or_default();
        DEFINING.iter().any(|defining| word.eq_ignore_ascii_case(defining))
    })
}

/// Returns true if the grants include TRIGGER and SELECT on all tables, without exceptions.
pub(crate) fn sees_all(grants: &[String]) -> bool {
    let global = |right: &str| {
        grants.iter().any(|grant| {
            let rights =
                grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON *.* TO ")).map(|(list, _)| list);
            rights.is_some_and(|list| list.split(", ").any(|own| own == right || own == "ALL PRIVILEGES"))
        })
    };
    let excepted = grants.iter().any(|grant| grant.starts_with("REVOKE "));
    global("TRIGGER") && global("SELECT") && !excepted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BinlogSettings;
    use crate::conn::Tls;
    use crate::scripted::Scripted;

    #[test]
    fn a_statement_has_effects_unless_the_lookup_excludes_them() {
        let (old, new) = (Gtid { origin: "a".into(), number: 10 }, Gtid { origin: "a".into(), number: 11 });
        let mut effects = Effects::of(&["shop.audit"], &[], "a:1-10".parse().expect("a position"));
        assert!(!effects.needs_lookup());
        for (table, gtid, expected) in [
            ("shop.log", &new, false),
            ("shop.log", &old, true),
            ("Shop.Audit", &new, true),
            ("mysql.rds_heartbeat2", &old, false),
            ("MySQL.rds_heartbeat2", &old, true),
        ] {
            assert_eq!(effects.may_follow(&table.into(), gtid), expected, "{table} {gtid}");
        }
        effects.note(b"CREATE TABLE x (id INT)", &new);
        assert!(!effects.may_follow(&"shop.log".into(), &new));
        effects.note(b"create trigger t before insert on log for each row set @a = 1", &new);
        assert!(effects.needs_lookup() && effects.may_follow(&"shop.log".into(), &new));
        let mut unknown = Effects::default();
        unknown.note(b"CREATE VIEW v AS SELECT 1", &new);
        assert!(!unknown.is_outdated() && unknown.may_follow(&"shop.log".into(), &new));
    }

    #[tokio::test]
    async fn a_lookup_that_takes_too_long_is_no_error_and_is_repeated() {
        let scripted = Scripted::without_reply_to("SHOW GRANTS").await;
        let settings = BinlogSettings::default().with_query_timeout(Duration::from_millis(20));
        let server = Server::new(&scripted.url, &Tls::default(), &settings).expect("a server");
        let new = Gtid { origin: "a".into(), number: 11 };
        let mut effects = Effects::of(&["shop.audit"], &[], "a:1-10".parse().expect("a position"));
        effects.look_up(&server).await.expect("no error");
        assert!(!effects.are_known() && effects.may_follow(&"shop.log".into(), &new), "unknown: anything may follow");
        assert!(!effects.needs_lookup(), "no event asks again");
        effects.note(b"CREATE VIEW v AS SELECT 1", &new);
        assert!(!effects.needs_lookup(), "it would be as slow");
        effects.too_slow_at = Instant::now().checked_sub(TOO_SLOW_FOR);
        assert!(effects.too_slow_at.is_some());
        effects.note(b"CREATE TABLE x (id INT)", &new);
        assert!(!effects.needs_lookup());
        effects.note(b"CREATE VIEW v AS SELECT 1", &new);
        assert!(effects.needs_lookup());
    }

    #[test]
    fn only_definitions_that_a_statement_needs_ask_for_a_lookup() {
        let new = Gtid { origin: "a".into(), number: 11 };
        for (text, asks) in [
            ("create view v as select 1", true),
            ("CREATE /*!50017 DEFINER=`a`@`%`*/ /*!50003TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a = 1*/", true),
            ("ALTER TABLE x ADD FOREIGN KEY (a) REFERENCES y (id)", true),
            ("/* GRANT */ RENAME TABLE a TO b", true),
            ("TRUNCATE TABLE reviews", false),
            ("CREATE TABLE preview_cache (review TEXT, view_count INT)", false),
            ("DROP TEMPORARY TABLE tmp_review", false),
            (" GRANT SHOW VIEW, TRIGGER, REFERENCES ON *.* TO `a`@`%`", false),
            ("REVOKE TRIGGER ON *.* FROM a", false),
        ] {
            let mut effects = Effects::of(&[], &[], "a:1-10".parse().expect("a position"));
            effects.note(text.as_bytes(), &new);
            assert!(!effects.needs_lookup(), "no statement without its rows needs it");
            effects.may_follow(&"mysql.rds_heartbeat2".into(), &new);
            assert!(!effects.needs_lookup(), "nor does one on the server's own tables");
            assert_eq!(effects.may_follow(&"shop.log".into(), &new), asks, "{text}");
            assert_eq!(effects.needs_lookup(), asks, "{text}");
        }
    }

    #[test]
    fn a_statement_may_read_the_views_that_it_has_the_names_of() {
        let (old, new) = (Gtid { origin: "a".into(), number: 10 }, Gtid { origin: "a".into(), number: 11 });
        let of = |views: &[&str]| Effects::of(&[], views, "a:1-10".parse().expect("a position"));
        let mut effects = of(&["touched", "v"]);
        for (text, expected) in [
            ("INSERT INTO log SELECT * FROM Touched", true),
            ("INSERT INTO log SELECT * FROM `shop`.`v`", true),
            ("INSERT INTO log (value) SELECT COUNT(*) FROM untouched", false),
            ("INSERT INTO log VALUES (1)", false),
        ] {
            assert_eq!(effects.may_read_view(text.as_bytes(), &new), expected, "{text}");
        }
        assert!(effects.may_read_view(b"REPLACE INTO log SELECT 1", &old));
        assert!(Effects::default().may_read_view(b"INSERT INTO log TABLE x", &new));
        assert!(!Effects::default().may_read_view(b"INSERT INTO log VALUES (1)", &new));
        let plain = b"INSERT INTO log VALUES (1)";
        for (view, text, is_plain) in [
            ("my view", &b"INSERT INTO log SELECT 1 FROM `My view`"[..], false),
            ("\u{e9}t\u{e9}", b"INSERT INTO log SELECT 1 FROM \xe9t\xe9", false),
            ("a`b", b"INSERT INTO log SELECT 1 FROM `a``b`", true),
        ] {
            assert!(of(&[view]).may_read_view(text, &new), "{view}");
            assert_eq!(of(&[view]).may_read_view(plain, &new), is_plain, "{view}");
        }
    }

    #[test]
    fn a_name_with_an_unknown_character_may_have_effects() {
        let mut effects = Effects::of(&[], &[], "a:1-10".parse().expect("a position"));
        let gtid = Gtid { origin: "a".into(), number: 11 };
        assert!(effects.may_follow(&TableName::new("shop", "\u{fffd}"), &gtid));
        assert!(effects.may_follow(&TableName::new("\u{fffd}ysql", "t"), &gtid));
    }

    #[test]
    fn only_a_user_with_all_rights_sees_all_triggers_and_views() {
        let sees = |grants: &[&str]| sees_all(&grants.iter().map(|grant| (*grant).to_owned()).collect::<Vec<_>>());
        assert!(sees(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]));
        assert!(sees(&["GRANT SELECT, TRIGGER, REPLICATION SLAVE ON *.* TO `repl`@`%`"]));
        assert!(sees(&["GRANT SELECT ON *.* TO `r`@`%`", "GRANT TRIGGER ON *.* TO `r`@`%`"]));
        assert!(!sees(&["GRANT SELECT, REPLICATION SLAVE ON *.* TO `repl`@`%`"]));
        assert!(!sees(&["GRANT SELECT, TRIGGER ON `shop`.* TO `repl`@`%`"]));
        assert!(!sees(&["GRANT SELECT, TRIGGER ON *.* TO `r`@`%`", "REVOKE SELECT ON `hr`.* FROM `r`@`%`"]));
    }
}
