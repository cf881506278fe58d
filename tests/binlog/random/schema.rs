//! Random tables, rows and statements. A seed decides everything.

/// A generator of numbers that a seed decides (xorshift).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    pub(super) fn one_of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// True once in `bound` times.
    pub(super) fn once_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A type of column: its SQL, literals of it, and the SQL that prints a value of column `$` as the source's tests do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) sql: &'static str,
    literals: &'static [&'static str],
    print: &'static str,
}

const fn kind(sql: &'static str, literals: &'static [&'static str], print: &'static str) -> Kind {
    Kind { sql, literals, print }
}

/// Types that keys can be made of.
const KEYS: [Kind; 19] = [
    kind("INT", &["0", "-1", "7", "2147483647"], "$"),
    kind("TINYINT UNSIGNED", &["0", "255", "9"], "$"),
    kind("SMALLINT", &["-32768", "5"], "$"),
    kind("MEDIUMINT", &["-8388608", "-1", "8388607"], "$"),
    kind("MEDIUMINT UNSIGNED", &["16777215", "1"], "$"),
    kind("BIGINT UNSIGNED", &["18446744073709551615", "1", "9223372036854775808"], "$"),
    kind("DECIMAL(12,3)", &["-123456789.125", "0.001", "0", "999999999.999"], "$"),
    kind("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", &["'a'", "'é😀 x'", "''", "'it''s'"], "$"),
    kind("VARCHAR(300) CHARACTER SET latin1 COLLATE latin1_bin", &["'é€'", "'z'", "REPEAT('ü', 290)"], "$"),
    kind("CHAR(12) CHARACTER SET cp1251 COLLATE cp1251_bin", &["'Жук'", "'a'"], "$"),
    kind("VARCHAR(20) CHARACTER SET utf16 COLLATE utf16_bin", &["'表é'", "'a'"], "$"),
    kind("VARBINARY(20)", &["x'00ff'", "x'61'", "''"], "LOWER(HEX($))"),
    kind("BINARY(8)", &["x'6100'", "x'0011223344556677'"], "LOWER(HEX($))"),
    kind("DATE", &["'2026-01-02'", "'1999-12-31'"], "$"),
    kind("DATETIME(3)", &["'2026-01-02 03:04:05.678'", "'1970-01-01 00:00:00'"], "$"),
    kind("TIMESTAMP(6) NULL", &["'2026-01-02 03:04:05.678901'", "'2001-09-09 01:46:40'"], "$"),
    kind("TIME(2)", &["'-12:34:56.78'", "'838:59:59'", "'00:00:00.01'"], "$"),
    kind("ENUM('x','é','z')", &["'x'", "'é'", "'z'"], "$"),
    kind("SET('p','q','ü')", &["'p'", "'p,ü'", "''"], "$"),
];

/// Types of columns that no mapping reads.
const OTHERS: [Kind; 7] = [
    kind("TEXT", &["'text'", "REPEAT('x', 3000)"], "$"),
    kind("JSON", &["'{\"a\": [1, 2, {\"b\": null}], \"pad\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}'", "'[]'"], "$"),
    kind("BLOB", &["x'00ff00'", "''"], "$"),
    kind("DOUBLE", &["1.5", "-0.1"], "$"),
    kind("BIT(9)", &["b'101'", "b'111111111'"], "$"),
    kind("YEAR", &["2026", "1999"], "$"),
    kind("INT NOT NULL DEFAULT 5", &["1", "2"], "$"),
];

impl Kind {
    pub(super) fn key(random: &mut Random) -> Self {
        KEYS[random.below(KEYS.len())]
    }

    pub(super) fn other(random: &mut Random) -> Self {
        OTHERS[random.below(OTHERS.len())]
    }

    pub(super) fn literal(self, random: &mut Random) -> &'static str {
        if !self.sql.contains("NOT NULL") && random.once_in(6) { "NULL" } else { random.one_of(self.literals) }
    }

    /// SQL that prints a value of this column.
    pub(super) fn printed(self, column: &str) -> String {
        format!("IFNULL({}, 'NULL')", self.print.replace('$', &quoted(column)))
    }
}

/// A table: `id`, the key column `k`, and others.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
    primary: bool,
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Table {
    pub(super) fn new(name: &str, random: &mut Random) -> Self {
        let mut columns = vec![
            ("id".to_owned(), kind("INT", &["1", "2", "3", "4", "5", "6", "7", "8"], "$")),
            ("k".to_owned(), Kind::key(random)),
        ];
        for number in 0..random.below(4) {
            let at = random.below(columns.len() + 1);
            columns.insert(at, (format!("c{number}"), Kind::other(random)));
        }
        Self { name: name.to_owned(), columns, primary: !random.once_in(4) }
    }

    pub(super) fn create(&self) -> String {
        let mut parts: Vec<String> =
            self.columns.iter().map(|(name, kind)| format!("{} {}", quoted(name), kind.sql)).collect();
        if self.primary {
            parts.push("PRIMARY KEY (id)".into());
        }
        format!("CREATE TABLE {} ({})", quoted(&self.name), parts.join(", "))
    }

    /// A statement that reads every row: its key, and all of its values.
    pub(super) fn read(&self) -> String {
        let key = self.columns.iter().find(|(name, _)| name == "k").expect("the key").1.printed("k");
        let values: Vec<String> =
            self.columns.iter().map(|(name, _)| format!("IFNULL(HEX({}), 'n')", quoted(name))).collect();
        format!("SELECT {key}, CONCAT_WS('|', {}) FROM {}", values.join(", "), quoted(&self.name))
    }

    fn values(&self, random: &mut Random) -> String {
        let values = self.columns.iter().map(|(name, kind)| match name.as_str() {
            "id" => (1 + random.below(8)).to_string(),
            _ => kind.literal(random).to_owned(),
        });
        format!("({})", values.collect::<Vec<_>>().join(", "))
    }

    /// A statement that changes rows.
    pub(super) fn change(&self, random: &mut Random) -> String {
        let name = quoted(&self.name);
        let (column, kind) = self.columns[random.below(self.columns.len())].clone();
        let set = format!("{} = {}", quoted(&column), kind.literal(random));
        let filter = format!("id % {} = 0", 1 + random.below(3));
        let is_id = column == "id";
        match random.below(8) {
            0 | 1 => format!("INSERT IGNORE INTO {name} VALUES {}, {}", self.values(random), self.values(random)),
            2 => format!("REPLACE INTO {name} VALUES {}", self.values(random)),
            3 if !is_id => format!("INSERT INTO {name} VALUES {} ON DUPLICATE KEY UPDATE {set}", self.values(random)),
            4 | 5 if !is_id => format!("UPDATE {name} SET {set} WHERE {filter}"),
            6 => format!("DELETE FROM {name} WHERE {filter}"),
            _ => {
                let value =
                    Kind::literal(self.columns.iter().find(|(name, _)| name == "k").expect("the key").1, random);
                format!("UPDATE {name} SET k = {value} ORDER BY id LIMIT 2")
            }
        }
    }

    /// A definition that changes the table, and what the table is then.
    pub(super) fn alter(&mut self, random: &mut Random) -> Vec<String> {
        let name = quoted(&self.name);
        match random.below(6) {
            0 => {
                let added = (format!("d{}", random.below(1_000_000)), Kind::other(random));
                let at = random.below(self.columns.len() + 1);
                let place = match at {
                    0 => "FIRST".to_owned(),
                    at => format!("AFTER {}", quoted(&self.columns[at - 1].0)),
                };
                let sql = format!("ALTER TABLE {name} ADD COLUMN {} {} {place}", quoted(&added.0), added.1.sql);
                self.columns.insert(at, added);
                vec![sql]
            }
            1 => match self.columns.iter().position(|(column, _)| column != "id" && column != "k") {
                Some(at) => vec![format!("ALTER TABLE {name} DROP COLUMN {}", quoted(&self.columns.remove(at).0))],
                None => Vec::new(),
            },
            2 => vec![format!("TRUNCATE {name}")],
            3 => {
                let other = quoted(&format!("{} away", self.name));
                vec![format!("RENAME TABLE {name} TO {other}"), format!("ALTER TABLE {other} RENAME TO {name}")]
            }
            4 => {
                let at = self.columns.iter().position(|(column, _)| column == "k").expect("the key");
                self.columns[at].1 = Kind::key(random);
                let sql = self.columns[at].1.sql;
                vec![format!("ALTER TABLE {name} DROP COLUMN k, ADD COLUMN k {sql} FIRST"), {
                    let moved = self.columns.remove(at);
                    self.columns.insert(0, moved);
                    format!("ANALYZE TABLE {name}")
                }]
            }
            _ => {
                let fresh = Self::new(&self.name, random);
                let sql = vec![format!("DROP TABLE {name}"), fresh.create()];
                *self = fresh;
                sql
            }
        }
    }
}
