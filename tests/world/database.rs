//! The database: one history of commits and failovers, its servers, and what every key's value was when.
//!
//! Every event has a number. A value is the number of the commit that wrote its row, so it says when it was current. A
//! server shows a prefix of the events: what it has made visible, or where its history ended.

use std::collections::VecDeque;
use std::sync::Arc;

use cachefront_core::event::{Change, Column, Operation, RowChange, RowImage, Value};
use cachefront_core::{Gtid, Position};

use crate::clock::{Moment, NEVER};
use crate::keys::{KEYS, Kind, LINES, Line, ORDERS, USERS, key_of, mail_text};

/// How many of the last commits a failover can lose.
const LOST_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    mail: Option<u16>,
    written: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rows {
    users: [Option<User>; KEYS],
    orders: [Option<u64>; KEYS],
}

impl Rows {
    fn value(&self, line: Line) -> Option<u64> {
        let key = key_of(line);
        let number = usize::from(key.number);
        let user = self.users[number];
        match key.kind {
            Kind::UsersFirst => user.map(|user| user.written),
            Kind::UsersSecond => user.map(|user| user.written.max(self.orders[number].unwrap_or(0))),
            Kind::Mails => {
                self.users.iter().flatten().find(|user| user.mail == Some(key.number)).map(|user| user.written)
            }
            Kind::Orders => self.orders[number],
        }
    }
}

/// A change that a client makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    User {
        number: u16,
        mail: Option<u16>,
    },
    DeleteUser {
        number: u16,
    },
    Order {
        number: u16,
    },
    DeleteOrder {
        number: u16,
    },
    TruncateOrders,
    /// A definition changed, and no row.
    Define {
        table: &'static str,
        /// From now on the log lacks the table's rows, as it does those that a foreign key's action changes.
        partial: bool,
    },
}

/// How a commit differs from a plain one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) visible_at: Moment,
    pub(crate) replica_at: Moment,
    /// The log's images lack the columns that keys are made of.
    pub(crate) unmappable: bool,
}

/// A commit, or a failover.
#[derive(Debug)]
pub(crate) struct Event {
    /// None for a failover.
    pub(crate) gtid: Option<Gtid>,
    /// The number of the primary.
    pub(crate) origin: usize,
    pub(crate) visible_at: Moment,
    pub(crate) replica_at: Moment,
    /// Everything that was executed with it.
    pub(crate) executed: Arc<Position>,
    /// A failover lost it.
    pub(crate) lost: bool,
    pub(crate) changes: Arc<Vec<Change>>,
}

/// A server that is, or was, the primary.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Arc<str>,
    /// The last event of its log; none while it is the primary.
    end: Option<usize>,
    /// What readers see of it in the end.
    visible_end: usize,
    numbers: u64,
}

/// A key's value from an event on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) event: usize,
    pub(crate) value: Option<u64>,
}

/// A table's definition from an event on.
#[derive(Clone, Copy, Debug)]
struct Definition {
    event: usize,
    table: &'static str,
    partial: bool,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) events: Vec<Event>,
    pub(crate) servers: Vec<Server>,
    pub(crate) stamps: Vec<Vec<Stamp>>,
    rows: Rows,
    /// The rows after each of the last events.
    recent: VecDeque<(usize, Rows)>,
    definitions: Vec<Definition>,
    visible: usize,
    /// Events before this one are gone from the log.
    pub(crate) purged: usize,
}

impl Database {
    pub(crate) fn new() -> Self {
        let first = Event {
            gtid: None,
            origin: 0,
            visible_at: 0,
            replica_at: 0,
            executed: Arc::default(),
            lost: false,
            changes: Arc::default(),
        };
        Self {
            events: vec![first],
            servers: vec![Server { name: "s0".into(), end: None, visible_end: 0, numbers: 0 }],
            stamps: vec![vec![Stamp { event: 0, value: None }]; LINES],
            rows: Rows::default(),
            recent: VecDeque::from([(0, Rows::default())]),
            definitions: Vec::new(),
            visible: 0,
            purged: 0,
        }
    }

    pub(crate) fn primary(&self) -> usize {
        self.servers.len() - 1
    }

    pub(crate) fn last(&self) -> usize {
        self.events.len() - 1
    }

    /// Everything committed on the primary.
    pub(crate) fn executed(&self) -> &Arc<Position> {
        &self.events[self.last()].executed
    }

    /// The last event that readers of `server` see.
    pub(crate) fn visible(&mut self, server: usize, now: Moment) -> usize {
        if server != self.primary() {
            return self.servers[server].visible_end;
        }
        while self.events.get(self.visible + 1).is_some_and(|event| event.visible_at <= now) {
            self.visible += 1;
        }
        self.visible
    }

    /// The last event that readers of the replica see.
    pub(crate) fn on_replica(&self, now: Moment) -> usize {
        self.events.iter().rposition(|event| event.replica_at <= now).unwrap_or(0)
    }

    /// The last event in the log of `server`.
    pub(crate) fn log_end(&self, server: usize) -> usize {
        self.servers[server].end.unwrap_or(self.last())
    }

    /// What a read sees of a prefix of the events.
    pub(crate) fn value_at(&self, line: Line, event: usize) -> Option<u64> {
        self.stamps[line].iter().rev().find(|stamp| stamp.event <= event).and_then(|stamp| stamp.value)
    }

    /// True if the log lacks changes of this table's rows, as the definition is after a prefix of the events.
    pub(crate) fn is_partial(&self, table: &str, event: usize) -> bool {
        let mut before = self.definitions.iter().rev();
        before.find(|one| one.table == table && one.event <= event).is_some_and(|one| one.partial)
    }

    pub(crate) fn commit(&mut self, writes: &[Write], way: Way) -> usize {
        let event = self.events.len();
        let mut changes = Vec::new();
        let before = self.rows;
        for write in writes {
            self.write(*write, event as u64, way.unmappable, &mut changes);
        }
        let partial =
            |change: &Change| matches!(change, Change::Row(row) if self.is_partial(row.table.as_str(), event));
        changes.retain(|change| !partial(change));
        let origin = self.primary();
        let server = &mut self.servers[origin];
        server.numbers += 1;
        let gtid = Gtid { origin: Arc::clone(&server.name), number: server.numbers };
        let mut executed = Position::clone(self.executed());
        executed.insert(&gtid);
        let last = &self.events[event - 1];
        let (visible_at, replica_at) = (way.visible_at.max(last.visible_at), way.replica_at.max(last.replica_at));
        self.events.push(Event {
            gtid: Some(gtid),
            origin,
            visible_at,
            replica_at,
            executed: Arc::new(executed),
            lost: false,
            changes: Arc::new(changes),
        });
        self.stamp(&before, event);
        event
    }

    /// Changes the definitions of partial tables, so that the log has all of their changes again.
    pub(crate) fn complete_tables(&mut self, now: Moment) {
        for table in [USERS, ORDERS] {
            if self.is_partial(table, self.last()) {
                let way = Way { visible_at: now, replica_at: now, unmappable: false };
                self.commit(&[Write::Define { table, partial: false }], way);
            }
        }
    }

    fn stamp(&mut self, before: &Rows, event: usize) {
        for line in 0..LINES {
            let value = self.rows.value(line);
            if value != before.value(line) {
                self.stamps[line].push(Stamp { event, value });
            }
        }
        self.recent.push_back((event, self.rows));
        if self.recent.len() > LOST_MAX + 1 {
            self.recent.pop_front();
        }
    }

    fn write(&mut self, write: Write, written: u64, unmappable: bool, changes: &mut Vec<Change>) {
        let rows = &mut self.rows;
        match write {
            Write::User { number, mail } => {
                let taken = rows.users.iter().flatten().any(|user| user.mail.is_some() && user.mail == mail);
                let place = &mut rows.users[usize::from(number)];
                let mail = if taken { place.and_then(|user| user.mail) } else { mail };
                let before = place.replace(User { mail, written });
                changes.push(user_change(number, before, *place, unmappable));
            }
            Write::DeleteUser { number } => {
                if let Some(before) = rows.users[usize::from(number)].take() {
                    changes.push(user_change(number, Some(before), None, unmappable));
                }
            }
            Write::Order { number } => {
                let before = rows.orders[usize::from(number)].replace(written);
                changes.push(row(
                    ORDERS,
                    before.map(|before| image(number, &[], before, unmappable)),
                    Some(image(number, &[], written, unmappable)),
                ));
            }
            Write::DeleteOrder { number } => {
                if let Some(before) = rows.orders[usize::from(number)].take() {
                    changes.push(row(ORDERS, Some(image(number, &[], before, unmappable)), None));
                }
            }
            Write::TruncateOrders => {
                rows.orders = Default::default();
                changes.push(Change::Tables { tables: vec![ORDERS.into()], reason: "TRUNCATE".into() });
            }
            Write::Define { table, partial } => {
                self.definitions.push(Definition { event: written as usize, table, partial });
                changes.push(Change::Tables { tables: vec![table.into()], reason: "ALTER TABLE".into() });
            }
        }
    }

    /// Another server becomes the primary, without the last `lost` commits.
    pub(crate) fn fail_over(&mut self, lost: usize, now: Moment) {
        let old = self.primary();
        let (last, visible) = (self.last(), self.visible(old, now));
        let seen_by_replica = self.on_replica(now);
        self.servers[old].end = Some(last);
        self.servers[old].visible_end = visible;
        let first_of_old = self.events.iter().rposition(|event| event.gtid.is_none()).unwrap_or(0);
        let survives = last.saturating_sub(lost.min(LOST_MAX)).max(first_of_old);
        for event in &mut self.events[survives + 1..] {
            event.lost = true;
            if event.replica_at > now {
                event.replica_at = NEVER;
            }
            if event.visible_at > now {
                event.visible_at = NEVER;
            }
        }
        for table in [USERS, ORDERS] {
            let partial = self.is_partial(table, survives);
            self.definitions.push(Definition { event: last + 1, table, partial });
        }
        let before = self.rows;
        let at = self.recent.iter().rev().find(|(event, _)| *event <= survives);
        self.rows = at.map_or(before, |(_, rows)| *rows);
        let origin = self.servers.len();
        let replica_at = if seen_by_replica > survives { now } else { self.events[survives].replica_at.max(now) };
        self.events.push(Event {
            gtid: None,
            origin,
            visible_at: now,
            replica_at,
            executed: Arc::clone(&self.events[survives].executed),
            lost: false,
            changes: Arc::default(),
        });
        self.visible = last + 1;
        self.servers.push(Server { name: format!("s{origin}").into(), end: None, visible_end: 0, numbers: 0 });
        self.stamp(&before, last + 1);
    }
}

fn user_change(number: u16, before: Option<User>, after: Option<User>, unmappable: bool) -> Change {
    let shown = |user: User| image(number, &[user.mail], user.written, unmappable);
    row(USERS, before.map(shown), after.map(shown))
}

fn image(number: u16, mail: &[Option<u16>], written: u64, unmappable: bool) -> RowImage {
    if unmappable {
        let names: Arc<[Box<str>]> = Arc::from(["id".into(), "mail".into(), "written".into()]);
        return RowImage::new(names, vec![Column::Missing, Column::Missing, Column::Missing]);
    }
    let mail = mail.iter().map(|mail| ("mail", mail.map_or(Value::Null, |mail| Value::Text(mail_text(mail).into()))));
    let own = [("id", Value::UInt(number.into())), ("written", Value::UInt(written))];
    RowImage::from_pairs(own.into_iter().chain(mail))
}

fn row(table: &'static str, before: Option<RowImage>, after: Option<RowImage>) -> Change {
    let operation = match (&before, &after) {
        (None, _) => Operation::Insert,
        (_, None) => Operation::Delete,
        _ => Operation::Update,
    };
    Change::Row(RowChange { table: table.into(), operation, before, after })
}
