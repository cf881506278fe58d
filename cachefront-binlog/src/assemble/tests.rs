use cachefront_core::source::Columns;

use super::*;
use crate::events::EventReader;
use crate::scripted::{bytes_of, format_body};

/// An event as the server would send it, without checksum.
fn event(kind: u8, flags: u16, body: &[u8]) -> Event {
    EventReader::new(1 << 20).read(bytes_of(kind, flags, body).into()).expect("an event")
}

fn gtid(number: u64) -> Event {
    let mut body = vec![0; 17];
    body.extend(number.to_le_bytes());
    event(kind::GTID, 0, &body)
}

fn query(text: &str) -> Event {
    let mut body = vec![0; 13];
    body.push(0);
    body.extend(text.as_bytes());
    event(kind::QUERY, 0, &body)
}

/// Table 7, `shop.users`, with one column: an unsigned TINYINT `id`.
fn table_map() -> Event {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0];
    for name in ["shop", "users"] {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.push(0);
    }
    body.extend([1, 1, 0, 0]);
    body.extend([1, 1, 0x80]);
    body.extend([4, 3, 2, b'i', b'd']);
    event(kind::TABLE_MAP, 0, &body)
}

fn insert(ids: &[u8]) -> Event {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1];
    body.extend(ids.iter().flat_map(|id| [0, *id]));
    event(kind::WRITE_ROWS, 0, &body)
}

/// The format description event of a file, which ends with the checksum algorithm and its own checksum.
fn format() -> Event {
    event(kind::FORMAT_DESCRIPTION, 0, &format_body(0))
}

fn xid() -> Event {
    event(kind::XID, 0, &[0; 8])
}

/// A compressed transaction that declares this size of its events.
fn payload(size: u32) -> Event {
    let mut body = vec![2, 1, 0, 3, 4, 0xfd];
    body.extend(&size.to_le_bytes()[..3]);
    body.extend([1, 1, 0, 0]);
    event(kind::TRANSACTION_PAYLOAD, 0, &body)
}

fn size(events: &[Event]) -> u32 {
    events.iter().map(|event| event.header.size).sum()
}

fn assembler(part_changes_max: usize) -> Assembler {
    let mut filter = TableFilter::new();
    filter.add("shop.users".into(), &Columns::All);
    let settings = BinlogSettings { part_changes_max, ..BinlogSettings::default() };
    Assembler::new(Names::of_files(filter), Schema::default(), Effects::default(), &settings)
}

fn run(events: &[Event]) -> Result<Vec<Piece>> {
    let (mut assembler, mut pieces) = (assembler(1_000), Vec::new());
    for event in events {
        assert_eq!(assembler.event(event, &mut pieces)?, Step::Done);
    }
    Ok(pieces)
}

fn refused(events: &[Event]) -> Error {
    run(events).expect_err("it cannot be followed")
}

#[test]
fn a_transaction_runs_from_its_gtid_to_its_end() {
    let pieces = run(&[gtid(1), query("BEGIN"), table_map(), insert(&[5, 6]), xid(), gtid(2), query("BEGIN"), xid()])
        .expect("two");
    assert_eq!(
        pieces.iter().map(|piece| (piece.gtid.number, piece.changes.len())).collect::<Vec<_>>(),
        [(1, 2), (2, 0)]
    );
    assert!(pieces[1].is_unmapped() && !pieces[0].is_unmapped());
    let ddl = run(&[gtid(1), query("TRUNCATE shop.users"), gtid(2), query("GRANT x"), gtid(3)])
        .expect("two that end by themselves");
    assert_eq!(ddl.iter().map(|piece| piece.changes.len()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn a_large_transaction_is_split_and_its_last_piece_is_marked() {
    let (mut assembler, mut pieces) = (assembler(2), Vec::new());
    for event in [gtid(1), query("BEGIN"), table_map(), insert(&[1, 2]), insert(&[3, 4, 5]), xid()] {
        assembler.event(&event, &mut pieces).expect("an event");
    }
    let shape: Vec<_> = pieces.iter().map(|piece| (piece.changes.len(), piece.complete, piece.continued)).collect();
    assert_eq!(shape, [(2, false, false), (3, false, true), (0, true, true)]);
    assert!(!pieces[2].is_unmapped(), "it ends what was begun");
}

#[test]
fn a_broken_transaction_is_a_gap() {
    let begun = [gtid(1), query("BEGIN"), table_map(), insert(&[5])];
    for (what, last) in [
        ("another transaction", gtid(2)),
        ("a new file", format()),
        ("a rotation", event(kind::ROTATE, 0, &[0; 12])),
        ("an incident", event(kind::INCIDENT, 0, &[1, 0, 0])),
        ("an unknown kind", event(90, 0, &[])),
        ("rows of no table", event(kind::WRITE_ROWS, 0, &[9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1])),
        ("rows that are cut", event(kind::WRITE_ROWS, 0, &[7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1])),
        ("partial rows", event(kind::PARTIAL_UPDATE_ROWS, 0, &[7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 1])),
    ] {
        let mut events = begun.to_vec();
        events.push(last);
        assert_eq!(refused(&events).kind(), ErrorKind::Gap, "{what}");
    }
    assert_eq!(refused(&[table_map()]).kind(), ErrorKind::Gap, "rows outside of any transaction");
    assert_eq!(refused(&[xid()]).kind(), ErrorKind::Gap);
}

#[test]
fn ignorable_events_are_skipped() {
    run(&[
        gtid(1),
        query("BEGIN"),
        event(90, FLAG_IGNORABLE, &[1, 2, 3]),
        event(kind::ROWS_QUERY, FLAG_IGNORABLE, b"note"),
        event(kind::HEARTBEAT, 0, b"binlog.000001"),
        // With a position beyond 4 GiB.
        event(
            kind::HEARTBEAT_V2,
            0,
            &[1, 6, b'b', b'i', b'n', b'.', b'0', b'1', 2, 9, 0xfe, 0, 0, 0, 0, 2, 0, 0, 0, 0],
        ),
        event(kind::WRITE_ROWS, 0, &[0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 0, 0]),
        xid(),
    ])
    .expect("none of it matters");
    let anonymous = refused(&[event(kind::ANONYMOUS_GTID, 0, &[0; 25])]);
    assert_eq!(anonymous.kind(), ErrorKind::Config);
    assert!(anonymous.to_string().contains("SET PERSIST gtid_mode=ON"));
}

#[test]
fn rows_of_a_table_with_any_id_are_delivered() {
    let of = |id: [u8; 6], event: Event| {
        let body = [&id[..], &event.body[6..]].concat();
        self::event(event.header.kind, 0, &body)
    };
    for id in [[0xff, 0xff, 0xff, 0, 0, 0], [0xff; 6]] {
        let pieces = run(&[gtid(1), query("BEGIN"), of(id, table_map()), of(id, insert(&[5])), xid()]).expect("a row");
        assert_eq!(pieces[0].changes.len(), 1);
        for columns in [&[0, 0][..], &[1, 1]] {
            let dummy = event(kind::WRITE_ROWS, 0, &[&id[..], &[1, 0, 2, 0], columns].concat());
            run(&[gtid(1), query("BEGIN"), dummy, xid()]).expect("no rows and no table");
        }
        assert_eq!(refused(&[gtid(1), query("BEGIN"), of(id, insert(&[5]))]).kind(), ErrorKind::Gap);
    }
}

#[test]
fn compressed_rows_of_an_unmapped_table_are_not_inflated() {
    let damaged = event(mariadb::kind::WRITE_ROWS_COMPRESSED, 0, &insert(&[5]).body);
    let other = table_map().body.iter().map(|byte| if *byte == b'u' { b'x' } else { *byte }).collect::<Vec<_>>();
    run(&[gtid(1), query("BEGIN"), event(kind::TABLE_MAP, 0, &other), damaged.clone(), xid()]).expect("it is skipped");
    assert_eq!(refused(&[gtid(1), query("BEGIN"), table_map(), damaged]).kind(), ErrorKind::Gap);
}

#[test]
fn anonymous_transactions_of_a_file_over_4_gib_have_numbers() {
    let mut assembler = Assembler::for_files(TableFilter::everything());
    let mut pieces = Vec::new();
    for number in 0..3 {
        let mut anonymous = event(kind::ANONYMOUS_GTID, 0, &[0; 25]);
        anonymous.header.end = (u32::MAX - 100).wrapping_add(100 * number);
        for event in [anonymous, query("BEGIN"), xid()] {
            assembler.event(&event, &mut pieces).expect("an event");
        }
    }
    let numbers: Vec<u64> = pieces.iter().map(|piece| piece.gtid.number).collect();
    let last = u64::from(u32::MAX);
    assert_eq!(numbers, [last - 100, last, last + 100]);
}

#[test]
fn a_compressed_transaction_must_have_its_declared_size() {
    let inside = [query("BEGIN"), table_map(), insert(&[5]), xid()];
    let whole = |size, events: &[Event]| {
        let mut all = vec![gtid(1), payload(size)];
        all.extend(events.iter().cloned());
        all.push(gtid(2));
        run(&all).map(|pieces| pieces.len())
    };
    assert_eq!(whole(size(&inside), &inside).expect("all of it came"), 1);
    for (what, size, events) in [
        ("no event came", size(&inside), &inside[..0]),
        ("the end is missing", size(&inside), &inside[..3]),
        ("there is more than it says", size(&inside) - 1, &inside[..]),
        ("there is less than it says", size(&inside) + 1, &inside[..]),
    ] {
        assert_eq!(whole(size, events).expect_err(what).kind(), ErrorKind::Gap, "{what}");
    }
    // Detected by the next heartbeat at the latest, not only by the next transaction.
    let idle = [gtid(1), payload(99), event(kind::HEARTBEAT, 0, b"binlog.000001")];
    assert_eq!(refused(&idle).kind(), ErrorKind::Gap);
}

#[test]
fn a_changed_table_map_is_decoded_again() {
    let (mut assembler, mut pieces) = (assembler(1_000), Vec::new());
    let mut renamed = table_map().body.to_vec();
    let last = renamed.len() - 1;
    renamed[last] = b'x';
    for event in
        [gtid(1), query("BEGIN"), table_map(), insert(&[1]), event(kind::TABLE_MAP, 0, &renamed), insert(&[2]), xid()]
    {
        assembler.event(&event, &mut pieces).expect("an event");
    }
    let names: Vec<String> = pieces[0]
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Row(row) => row.after.as_ref()?.columns().next().map(|(name, _)| name.to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["id", "ix"]);
}

#[test]
fn a_log_without_column_names_needs_a_lookup() {
    let mut body = table_map().body.to_vec();
    body.truncate(body.len() - 5);
    let nameless = event(kind::TABLE_MAP, 0, &body);
    let (mut assembler, mut pieces) = (assembler(1_000), Vec::new());
    assembler.event(&gtid(1), &mut pieces).expect("an event");
    assert_eq!(assembler.event(&nameless, &mut pieces).expect("a question"), Step::NeedsColumns("shop.users".into()));
}

#[test]
fn a_name_that_is_temporary_no_more_is_that_of_the_other_table() {
    for ended in [
        "DROP TABLE shop.users",
        "DROP TEMPORARY TABLE IF EXISTS shop.Users",
        "ALTER TABLE shop.users RENAME TO shop.away",
        "RENAME TABLE shop.users TO shop.away",
        "FROBNICATE",
    ] {
        let mut assembler = assembler(1_000);
        assert!(written(&mut assembler, "CREATE TEMPORARY TABLE shop.users (id INT)").is_empty());
        assert!(written(&mut assembler, "INSERT INTO shop.users VALUES (1)").is_empty(), "a temporary table");
        written(&mut assembler, ended);
        assert!(!written(&mut assembler, "INSERT INTO shop.users VALUES (1)").is_empty(), "{ended}");
    }
}

/// The changes of one statement in a transaction: those of any table, of these, or none.
fn written(assembler: &mut Assembler, text: &str) -> Vec<Vec<String>> {
    let mut pieces = Vec::new();
    for event in [gtid(11), query("BEGIN"), query(text), xid()] {
        assembler.event(&event, &mut pieces).expect("an event");
    }
    let changes = pieces.into_iter().flat_map(|piece| piece.changes);
    changes
        .map(|change| match change {
            Change::Tables { tables, .. } => tables.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_statement_that_writes_flushes_what_it_may_have_changed() {
    let origin = "00000000-0000-0000-0000-000000000000";
    let mut assembler = assembler(1_000);
    let any = || vec![Vec::<String>::new()];
    let none = Vec::<Vec<String>>::new;
    let users = || vec![vec!["shop.users".to_owned()]];
    // Nothing is known of triggers and views.
    assert_eq!(written(&mut assembler, "INSERT INTO mysql.rds_heartbeat2 VALUES (1, NOW())"), none());
    assert_eq!(written(&mut assembler, "INSERT INTO mysql.rds_heartbeat2 VALUES (f())"), any());
    assert_eq!(written(&mut assembler, "INSERT INTO shop.log VALUES (1)"), any());
    assert_eq!(written(&mut assembler, "CREATE TEMPORARY TABLE shop.log (id INT)"), none());
    assert_eq!(written(&mut assembler, "INSERT INTO shop.log VALUES (1)"), none());
    *assembler.effects() =
        Effects::of(&["shop.audit"], &["touched"], format!("{origin}:1-10").parse().expect("a position"));
    assert_eq!(written(&mut assembler, "INSERT INTO shop.other VALUES (1)"), none());
    assert_eq!(written(&mut assembler, "DELETE FROM shop.users WHERE id = 1"), users());
    assert_eq!(written(&mut assembler, "DELETE FROM shop.audit"), any(), "it has a trigger, or is a view");
    assert_eq!(
        written(&mut assembler, "INSERT INTO shop.other SELECT id FROM shop.touched"),
        any(),
        "it may call a function"
    );
    assert_eq!(written(&mut assembler, "CREATE TABLE shop.fresh SELECT id FROM shop.touched"), any());
    assert_eq!(written(&mut assembler, "CREATE TABLE shop.fresh SELECT touch()"), any());
    assert_eq!(written(&mut assembler, "CREATE TABLE shop.fresh SELECT NOW()"), none());
    assert_eq!(written(&mut assembler, "CREATE TEMPORARY TABLE shop.tmp SELECT id FROM shop.touched"), any());
    assert_eq!(written(&mut assembler, "CREATE TEMPORARY TABLE shop.tmp SELECT touch() AS id"), any());
    assert_eq!(written(&mut assembler, "CREATE TEMPORARY TABLE shop.tmp SELECT id FROM shop.other"), none());
    assert_eq!(written(&mut assembler, "UPDATE shop.other JOIN shop.users USING (id) SET age = 1"), users());
    assert_eq!(written(&mut assembler, "UPDATE shop.other JOIN shop.audit USING (id) SET age = 1"), any());
    assert_eq!(written(&mut assembler, "DELETE a FROM shop.other a JOIN shop.more USING (id)"), none());
    assert_eq!(written(&mut assembler, "CREATE VIEW shop.other AS SELECT 1"), none());
    assert!(assembler.effects().is_outdated());
    assert_eq!(written(&mut assembler, "INSERT INTO shop.other VALUES (1)"), any());
}

/// The end of the first phase of an XA transaction named `a`, or of the only one.
fn xa_prepare(one_phase: bool) -> Event {
    let mut body = vec![u8::from(one_phase)];
    for number in [1_u32, 1, 0] {
        body.extend(number.to_le_bytes());
    }
    body.push(b'a');
    event(kind::XA_PREPARE, 0, &body)
}

#[test]
fn images_that_readers_do_not_get_with_the_transaction_are_marked() {
    let rows = [table_map(), insert(&[5])];
    let within = |begin: &str, inside: &[Event], ends: &[Event]| {
        let events = [&[gtid(1), query(begin)], &rows[..], inside, ends].concat();
        let pieces = run(&events).expect("it can be followed");
        pieces.iter().map(|piece| (piece.changes.len(), piece.complete, piece.visible)).collect::<Vec<_>>()
    };
    assert_eq!(within("BEGIN", &[], &[xid()]), [(1, true, true)]);
    let (to, end) = (query("ROLLBACK TO `s`"), query("XA END X'61',X'',1"));
    assert_eq!(within("BEGIN", std::slice::from_ref(&to), &[xid()]), [(1, true, false)]);
    assert_eq!(within("BEGIN", &[to.clone(), table_map(), insert(&[6])], &[xid()]), [(2, true, false)]);
    assert_eq!(within("BEGIN", &[], &[query("ROLLBACK")]), [(1, true, false)], "not all of it could be undone");
    let xa = "XA START X'61',X'',1";
    let [commit, rollback] = ["COMMIT", "ROLLBACK"].map(|how| query(&format!("XA {how} X'61',X'',1")));
    let prepared = [end.clone(), xa_prepare(false), gtid(2), commit];
    assert_eq!(within(xa, &[], &prepared), [(1, true, false), (1, true, true)], "readers see it at the commit");
    assert_eq!(within(xa, &[to], &prepared), [(1, true, false), (1, true, false)]);
    let undone = [end.clone(), xa_prepare(false), gtid(2), rollback];
    assert_eq!(within(xa, &[], &undone), [(1, true, false), (0, true, true)]);
    assert_eq!(within(xa, &[end], &[xa_prepare(true)]), [(1, true, true)], "of one phase");
}

#[test]
fn a_table_that_is_created_again_is_checked() {
    let users = || vec![vec!["shop.users".to_owned()]];
    let none = Vec::<Vec<String>>::new;
    let create = |assembler: &mut Assembler| written(assembler, "CREATE TABLE IF NOT EXISTS shop.users (id INT)");
    let mut assembler = assembler(1_000);
    assert_eq!(create(&mut assembler), none(), "it existed when it was checked");
    for gone in ["DROP TABLE shop.users", "RENAME TABLE shop.users TO shop.away", "DROP DATABASE shop", "FROBNICATE"] {
        written(&mut assembler, gone);
        assert_eq!(written(&mut assembler, "CREATE TABLE shop.others (id INT)"), none());
        assert_eq!(create(&mut assembler), users(), "{gone}");
        assert_eq!(create(&mut assembler), none(), "it exists after {gone}");
    }
    assembler.expect_new(["shop.users".into()]);
    assert_eq!(create(&mut assembler), users(), "it did not exist when it was checked");
}
