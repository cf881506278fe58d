//! Every type, at its edges: what the log's image says is what a reader of the table sees.

use cachefront_core::event::Change;
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_testkit::server::mariadb::{MariaDb, Release};
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::server::{Database, drain, only, text};

/// A column's name, its type, how a reader sees it as text, and values for it, in SQL.
struct Case(&'static str, &'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    Case("ti", "TINYINT", "ti", &["-128", "-1", "0", "127"]),
    Case("tu", "TINYINT UNSIGNED", "tu", &["0", "128", "255"]),
    Case("si", "SMALLINT", "si", &["-32768", "-1", "32767"]),
    Case("su", "SMALLINT UNSIGNED", "su", &["0", "65535"]),
    Case("mi", "MEDIUMINT", "mi", &["-8388608", "-1", "0", "1", "8388607"]),
    Case("mu", "MEDIUMINT UNSIGNED", "mu", &["0", "8388608", "16777215"]),
    Case("ii", "INT", "ii", &["-2147483648", "-1", "2147483647"]),
    Case("iu", "INT UNSIGNED", "iu", &["0", "4294967295"]),
    Case("bi", "BIGINT", "bi", &["-9223372036854775808", "-1", "9223372036854775807"]),
    Case("bu", "BIGINT UNSIGNED", "bu", &["0", "9223372036854775808", "18446744073709551615"]),
    Case("d1", "DECIMAL(1,0)", "d1", &["0", "-9", "9"]),
    Case("d2", "DECIMAL(20,6)", "d2", &["0", "-12345.678901", "0.000001", "-0.000001", "99999999999999.999999"]),
    Case(
        "d3",
        "DECIMAL(65,30)",
        "d3",
        &["1e-30", "-99999999999999999999999999999999999.999999999999999999999999999999"],
    ),
    Case("d4", "DECIMAL(10,10)", "d4", &["0.5", "-0.0000000001", "0.9999999999"]),
    Case("d5", "DECIMAL(9,0) UNSIGNED", "d5", &["0", "999999999"]),
    Case("da", "DATE", "da", &["'1000-01-01'", "'2026-11-23'", "'9999-12-31'", "'2024-02-29'"]),
    Case("t0", "TIME", "t0", &["'-838:59:59'", "'00:00:00'", "'-00:00:01'", "'838:59:59'"]),
    Case("t1", "TIME(1)", "t1", &["'-00:00:00.1'", "'00:00:00.9'"]),
    Case("t3", "TIME(3)", "t3", &["'-101:02:03.456'", "'-00:00:00.001'", "'12:34:56.789'"]),
    Case("t6", "TIME(6)", "t6", &["'-00:00:00.000001'", "'838:59:59.000000'", "'-838:59:58.999999'"]),
    Case("dt0", "DATETIME", "dt0", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    Case("dt2", "DATETIME(2)", "dt2", &["'2026-11-23 01:02:03.45'"]),
    Case("dt5", "DATETIME(5)", "dt5", &["'2026-11-23 01:02:03.00001'"]),
    Case("dt6", "DATETIME(6)", "dt6", &["'2026-11-23 01:02:03.123456'", "'2026-11-23 01:02:03.000001'"]),
    Case("ts0", "TIMESTAMP NULL", "ts0", &["'1970-01-01 00:00:01'", "'2000-02-29 12:00:00'", "'2038-01-19 03:14:07'"]),
    Case("ts6", "TIMESTAMP(6) NULL", "ts6", &["'2026-11-23 01:02:03.000009'", "'2038-01-19 03:14:07.999999'"]),
    Case("yr", "YEAR", "yr + 0", &["1901", "2026", "2155", "0"]),
    Case("ch", "CHAR(10)", "ch", &["''", "'chär'", "'a  '", "'😀😀😀😀😀😀😀😀😀😀'"]),
    Case("cl", "CHAR(255)", "cl", &["REPEAT('ä', 255)"]),
    Case("vc", "VARCHAR(50)", "vc", &["''", "'väl€😀'", "'trailing  '"]),
    Case("vl", "VARCHAR(300)", "vl", &["REPEAT('x', 300)", "REPEAT('€', 200)"]),
    Case("la", "VARCHAR(50) CHARACTER SET latin1", "la", &["'latin'", "'café € ™'", "''"]),
    Case("plain", "VARCHAR(50) CHARACTER SET ascii", "plain", &["'plain'"]),
    Case("u3", "VARCHAR(50) CHARACTER SET utf8mb3", "u3", &["'ä€'"]),
    Case("tt", "TINYTEXT", "tt", &["''", "REPEAT('t', 255)"]),
    Case("tx", "TEXT", "tx", &["'text€'", "REPEAT('t', 60000)"]),
    Case("mt", "MEDIUMTEXT", "mt", &["REPEAT('m', 70000)"]),
    Case("lt", "LONGTEXT", "lt", &["'long'"]),
    Case(
        "bn",
        "BINARY(16)",
        "LOWER(HEX(bn))",
        &["x'41'", "x''", "x'000102030405060708090a0b0c0d0e0f'", "x'41000000000000000000000000000000'"],
    ),
    Case("vb", "VARBINARY(300)", "LOWER(HEX(vb))", &["x'00ff80'", "x'410000'", "REPEAT(x'ff', 300)"]),
    Case("tb", "TINYBLOB", "LOWER(HEX(tb))", &["x''", "x'ff00'"]),
    Case("bl", "BLOB", "LOWER(HEX(bl))", &["x'00ff80'"]),
    Case("mb", "MEDIUMBLOB", "LOWER(HEX(mb))", &["REPEAT(x'00', 70000)"]),
    Case("lb", "LONGBLOB", "LOWER(HEX(lb))", &["x'01'"]),
    Case("b1", "BIT(1)", "b1 + 0", &["b'0'", "b'1'"]),
    Case("b10", "BIT(10)", "b10 + 0", &["b'1000000001'"]),
    Case("b64", "BIT(64)", "b64 + 0", &["18446744073709551615", "1"]),
    Case("en", "ENUM('x','y','it''s','ä,ö')", "en", &["'x'", "'it''s'", "'ä,ö'"]),
    Case("se", "SET('p','q','r')", "se", &["''", "'p,r'", "'p,q,r'"]),
    Case(
        "js",
        "JSON",
        "js",
        &[
            "'{\"a\": 1, \"b\": [1, 2, {\"c\": \"x\"}], \"big\": 123456789012345, \"d\": 1.5, \"n\": null, \"t\": true}'",
            "'[]'",
            "'{}'",
            "'\"ä€😀 \\\\n \\\\\" \\\\\\\\\"'",
            "'-70000'",
            "'18446744073709551615'",
            "'[1e300, -0.001, 1.0, 100000.0]'",
            "'[0.00005, -1e-15, 1.2345e-15, 1e-16, 1e14, 999999999999999.9, 1e15, 1.25e15, 1e16, 123456789012345680.0]'",
            "JSON_ARRAY(1000000000000000.5e0, 0.1e0 + 0.2e0, -0e0, 5e-324, 1.7976931348623157e308)",
            "JSON_ARRAY(CAST('2026-11-23 01:02:03.5' AS DATETIME(6)), CAST('-12:00:00' AS TIME(6)), CAST('2026-11-23' AS DATE), 12.50)",
            "JSON_OBJECT('long', REPEAT('x', 70000), 'k', JSON_ARRAY(REPEAT('y', 300)))",
            "JSON_ARRAY(x'00ff')",
        ],
    ),
    Case("fl", "FLOAT", "fl", &["1.5", "-0.25"]),
    Case("dbl", "DOUBLE", "dbl", &["1.5", "-2.25"]),
];

fn definition() -> String {
    let columns: Vec<String> = CASES.iter().map(|Case(name, kind, ..)| format!("{name} {kind}")).collect();
    // A generated and an invisible column, as the log has them too.
    format!(
        "CREATE TABLE things (id INT PRIMARY KEY, {}, twice INT AS (id * 2) VIRTUAL, kept INT AS (id * 3) STORED, hidden INT \
         DEFAULT 5 INVISIBLE) CHARACTER SET utf8mb4",
        columns.join(", ")
    )
}

/// One row for each number of a value; a column with fewer values is NULL in the others.
fn inserts() -> Vec<String> {
    let rows = CASES.iter().map(|Case(.., values)| values.len()).max().unwrap_or_default() + 1;
    let names: Vec<&str> = CASES.iter().map(|Case(name, ..)| *name).collect();
    let row = |number: usize| {
        let values: Vec<&str> =
            CASES.iter().map(|Case(.., values)| values.get(number).copied().unwrap_or("NULL")).collect();
        format!("INSERT INTO things (id, {}) VALUES ({number}, {})", names.join(", "), values.join(", "))
    };
    (0..rows).map(row).collect()
}

#[tokio::test]
async fn the_image_says_what_a_reader_of_the_table_sees() {
    let mut db = Database::create().await;
    db.run(&["SET SESSION time_zone = '+00:00'", "SET SESSION sql_mode = 'STRICT_ALL_TABLES'", &definition()]).await;
    let mut source = db.following("things").await;
    let inserts = inserts();
    db.run(&inserts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let names = CASES.iter().map(|Case(name, ..)| *name).chain(["twice", "kept", "hidden"]);
    let seen = CASES.iter().map(|Case(_, _, seen, _)| *seen).chain(["twice", "kept", "hidden"]);
    let select = format!("SELECT {} FROM things ORDER BY id", seen.collect::<Vec<_>>().join(", "));
    let rows: Vec<Row> = db.conn.query(select).await.expect("the rows");
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!((rows.len(), transactions.len()), (inserts.len(), inserts.len()));
    for (row, transaction) in rows.iter().zip(&transactions) {
        let Change::Row(change) = &transaction.changes[0] else { panic!("a row") };
        let image = change.after.as_ref().expect("an image");
        for (place, name) in names.clone().enumerate() {
            let expected = match &row[place] {
                Value::NULL => "NULL".to_owned(),
                Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => panic!("the text protocol returns text: {other:?}"),
            };
            assert_eq!(text(image, name), expected, "column {name} of row {}", text(image, "id"));
        }
    }
}

#[tokio::test]
async fn columns_that_are_not_mapped_are_passed_over_whatever_their_type() {
    let mut db = Database::create().await;
    db.run(&["SET SESSION time_zone = '+00:00'", &definition()]).await;
    let from = db.checkpoint().await;
    let mut source = db.source().await;
    source.open(&from, &db.interest("things", only(&["id", "hidden"]))).await.expect("open");
    let inserts = inserts();
    db.run(&inserts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let transactions = drain(&mut source, &mut db).await;
    let ids = crate::server::lines(&transactions, "id");
    assert_eq!(ids, (0..inserts.len()).map(|id| format!("insert >{id}")).collect::<Vec<_>>());
    let hidden = crate::server::lines(&transactions, "hidden");
    assert!(hidden.iter().all(|line| line == "insert >5"), "the last column is found behind all others: {hidden:?}");
}

#[tokio::test]
async fn a_vector_is_bytes_and_other_columns_are_read() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE points (id INT PRIMARY KEY, place POINT, embedding VECTOR(3), last INT)"]).await;
    let mut all = db.following("points").await;
    let from = db.checkpoint().await;
    let mut last = db.source().await;
    last.open(&from, &db.interest("points", Columns::Only(vec!["last".into()]))).await.expect("open");
    db.run(&["INSERT INTO points VALUES (1, POINT(1, 2), TO_VECTOR('[1,2,3]'), 7)"]).await;
    let transactions = drain(&mut all, &mut db).await;
    assert_eq!(crate::server::lines(&transactions, "embedding"), ["insert >0000803f0000004000004040"]);
    assert_eq!(crate::server::lines(&drain(&mut last, &mut db).await, "last"), ["insert >7"]);
}

/// Character sets whose values are not decoded.
const UNDECODABLE: [&str; 9] = ["big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis"];

/// Reads a column of each collation, of a table for each few hundred: the log has collations by their numbers.
async fn read_each_collation(db: &mut Database, collations: &str) {
    let all: Vec<(String, String)> = db.conn.query(collations).await.expect("the collations");
    assert!(all.len() > 250, "{}", all.len());
    // A character that a character set lacks becomes a question mark.
    db.run(&["SET SESSION sql_mode = ''"]).await;
    for (number, some) in all.chunks(300).enumerate() {
        let define = |(index, (charset, collation)): (usize, &(String, String))| {
            format!("c{index} VARCHAR(3) CHARACTER SET {charset} COLLATE {collation}")
        };
        let columns: Vec<String> = some.iter().enumerate().map(define).collect();
        let table = format!("things{number}");
        db.run(&[&format!("CREATE TABLE {table} ({})", columns.join(", "))]).await;
        let mut source = db.following(&table).await;
        db.run(&[&format!("INSERT INTO {table} VALUES ({})", vec!["'éЖα'"; some.len()].join(", "))]).await;
        let row: Row = db.conn.query_first(format!("SELECT * FROM {table}")).await.expect("a reply").expect("the row");
        let transactions = drain(&mut source, db).await;
        for (index, (charset, collation)) in some.iter().enumerate() {
            let seen: String = row.get(index).expect("a text");
            let expected = if UNDECODABLE.contains(&charset.as_str()) { "unsupported" } else { &seen };
            let read = crate::server::lines(&transactions, &format!("c{index}"));
            assert_eq!(read, [format!("insert >{expected}")], "{collation}");
        }
    }
}

#[tokio::test]
async fn text_of_every_collation_is_read() {
    let mut db = Database::create().await;
    let collations = "SELECT CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLLATIONS WHERE CHARACTER_SET_NAME \
                      <> 'binary'";
    read_each_collation(&mut db, collations).await;
    for release in Release::ALL {
        let server = MariaDb::start(release, &[]).await;
        let mut db = Database::on_mariadb(&server).await;
        let collations = "SELECT CHARACTER_SET_NAME, FULL_COLLATION_NAME FROM \
                          information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME <> 'binary'";
        read_each_collation(&mut db, collations).await;
    }
}
