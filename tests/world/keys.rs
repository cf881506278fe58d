//! The caches of the service, in its releases, and the keys that they are read by.

use std::fmt;

use cachefront_core::event::RowImage;
use cachefront_core::{CacheKey, Result, StoreKey};

/// Keys of each cache.
pub(crate) const KEYS: usize = 8;

/// The mail address that is too long to be a key in the store.
pub(crate) const LONG: u16 = KEYS as u16 - 1;

/// Lines of all kinds: what one key of one kind of cache stands for.
pub(crate) const LINES: usize = 4 * KEYS;

/// Makes the keys of a row.
pub(crate) type KeysOf = fn(&RowImage) -> Result<Vec<Key>>;

/// A cache under one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Users by number, in the older release.
    UsersFirst,
    /// Users by number with their order, in the newer release: the same keys under another mapping.
    UsersSecond,
    /// Users by mail address, which moves between users.
    Mails,
    /// Orders by number.
    Orders,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::UsersFirst, Kind::UsersSecond, Kind::Mails, Kind::Orders];

/// The caches of each release. The last two know less than the others.
pub(crate) const RELEASES: [&[Kind]; 4] = [
    &[Kind::UsersFirst, Kind::Mails, Kind::Orders],
    &[Kind::UsersSecond, Kind::Mails, Kind::Orders],
    &[Kind::UsersFirst, Kind::Orders],
    &[Kind::Mails],
];

/// The first release that knows less.
pub(crate) const NARROW: usize = 2;

/// One key of one kind of cache.
pub(crate) type Line = usize;

pub(crate) fn line(kind: Kind, key: Key) -> Line {
    kind as usize * KEYS + usize::from(key.number)
}

pub(crate) fn kind_of(line: Line) -> Kind {
    KINDS[line / KEYS]
}

/// The key of a line.
pub(crate) fn key_of(line: Line) -> Key {
    Key { kind: kind_of(line), number: (line % KEYS) as u16 }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) number: u16,
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u16(self.number);
    }
}

impl Key {
    pub(crate) fn new(kind: Kind, number: u16) -> Self {
        Self { kind, number }
    }
}

impl CacheKey for Key {
    fn encode(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.kind {
            Kind::Mails => out.write_str(&mail_text(self.number)),
            _ => write!(out, "{}", self.number),
        }
    }
}

/// A mail address as its column holds it.
pub(crate) fn mail_text(number: u16) -> String {
    if number == LONG { format!("7{}", "x".repeat(1_100)) } else { number.to_string() }
}

pub(crate) const USERS: &str = "shop.users";
pub(crate) const ORDERS: &str = "shop.orders";

impl Kind {
    pub(crate) fn cache(self) -> &'static str {
        match self {
            Self::UsersFirst | Self::UsersSecond => "users",
            Self::Mails => "mails",
            Self::Orders => "orders",
        }
    }

    pub(crate) fn version(self) -> u32 {
        if self == Self::UsersSecond { 2 } else { 0 }
    }

    /// The tables that it depends on, each with what makes keys of a row.
    pub(crate) fn rules(self) -> Vec<(&'static str, KeysOf)> {
        match self {
            Self::UsersFirst => vec![(USERS, |row| by_number(Self::UsersFirst, row))],
            Self::UsersSecond => vec![
                (USERS, |row| by_number(Self::UsersSecond, row)),
                (ORDERS, |row| by_number(Self::UsersSecond, row)),
            ],
            Self::Mails => vec![(USERS, by_mail)],
            Self::Orders => vec![(ORDERS, |row| by_number(Self::Orders, row))],
        }
    }
}

/// The tag of an order: two orders share one.
pub(crate) fn tag_of(number: u16) -> String {
    (number / ORDERS_OF_A_TAG).to_string()
}

/// The key of the marker of an order's tag.
pub(crate) fn marker_of(number: u16) -> String {
    format!("{MARKERS}:{}", tag_of(number))
}

const ORDERS_OF_A_TAG: u16 = 2;

fn by_number(kind: Kind, row: &RowImage) -> Result<Vec<Key>> {
    Ok(vec![Key::new(kind, row.get::<u16>("id")?)])
}

/// A NULL makes no key that can be looked up: it is read as an empty text, which is none of the keys.
fn by_mail(row: &RowImage) -> Result<Vec<Key>> {
    let text = row.get::<String>("mail")?;
    let number = text.bytes().next().map_or(u16::from(u8::MAX), |byte| u16::from(byte.wrapping_sub(b'0')));
    Ok(vec![Key::new(Kind::Mails, number)])
}

/// The names of the caches, and what the markers of tags begin with, in the order of their places in the store.
const CACHES: [&str; 4] = ["users", "mails", "orders", MARKERS];

const MARKERS: &str = "orders#tags";

/// True if this place of the store belongs to the cache.
pub(crate) fn is_of_cache(place: usize, cache: &str) -> bool {
    let name = CACHES[place / KEYS];
    name == cache || (name == MARKERS && cache == Kind::Orders.cache())
}

/// Where the store keeps a key: the names of caches, with their numbers.
pub(crate) fn place_of(text: &str) -> Option<usize> {
    let (cache, key) = text.split_once(':')?;
    let number = usize::from(key.bytes().next()?.checked_sub(b'0')?);
    let cache = CACHES.iter().position(|name| *name == cache)?;
    (number < KEYS && key.len() == 1).then_some(cache * KEYS + number)
}

/// The lines that a key of a cache stands for, in all releases; all lines of the cache without a number.
pub(crate) fn lines_of(cache: &str, number: Option<usize>) -> impl Iterator<Item = Line> {
    let numbers = number.map_or(0..KEYS, |number| number..number + 1);
    let kinds = KINDS.into_iter().filter(move |kind| kind.cache() == cache);
    kinds.flat_map(move |kind| numbers.clone().map(move |number| kind as usize * KEYS + number))
}

/// The lines of what the store keeps under this text.
pub(crate) fn lines_of_text(text: &str) -> impl Iterator<Item = Line> {
    let number = place_of(text).map(|place| place % KEYS);
    let numbers = match text.split_once(':') {
        Some((MARKERS, _)) => number.map(|tag| lines_of_tag(tag).collect()),
        Some((cache, _)) => number.map(|number| lines_of(cache, Some(number)).collect()),
        None => None,
    };
    let lines: Vec<Line> = numbers.unwrap_or_default();
    lines.into_iter()
}

/// The lines of what has this tag.
fn lines_of_tag(tag: usize) -> impl Iterator<Item = Line> {
    let each = usize::from(ORDERS_OF_A_TAG);
    (tag * each..(tag + 1) * each).flat_map(|number| lines_of(Kind::Orders.cache(), Some(number)))
}

/// The shard of a place.
pub(crate) fn shard_of_place(place: usize, shards: usize) -> usize {
    let text = format!("{}:{}", CACHES[place / KEYS], place % KEYS);
    StoreKey::from_text(text).expect("a short key").shard(shards as u32) as usize
}

/// Places in the store.
pub(crate) const PLACES: usize = CACHES.len() * KEYS;
