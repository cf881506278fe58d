//! The store's operations: calls of the core's transition functions, each distinct one once.
//!
//! A state holds a few bytes of each entry and meta. They are translated to the core's types, the function is called, and its
//! effect is translated back. What a call returns is remembered, so that the checker pays for it once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachefront_core::entry::{Entry as CoreEntry, Header, PayloadState};
use cachefront_core::source::Checkpoint;
use cachefront_core::store::transition::{self, Change, Slot};
use cachefront_core::store::{
    Applied, Coverage, Covered, Expected, Fill, FillReply, Generation, InvalidationMode, LeaseReply, LeaseRequest,
    MappingId, Meta as CoreMeta, Token,
};
use cachefront_core::{Gtid, Position, StoreKey, Timestamp};

use crate::state::{Commits, Entry, Meta, UNKNOWN};

/// The mapping of the model's one cache.
const MAPPING: MappingId = MappingId(1);

/// Every call takes place at this time: leases end by evictions only.
const NOW: Timestamp = Timestamp::from_micros(1);

/// Longer than everything.
const LONG: Duration = Duration::from_secs(1_000_000);

/// The server of the model's commits.
const ORIGIN: &str = "a";

/// What a lease request returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leased {
    /// The lease is granted.
    Granted,
    /// There is a valid value, or another attempt has the lease, or there is no live meta.
    Refused,
}

/// An operation with everything that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Call {
    Serves(Meta, Entry),
    Lease(Meta, Entry, u8, bool),
    Fill(Meta, Entry, Entry, u8),
    Invalidate(Meta, Entry, Commits),
    Raise(Meta, [u8; 3], u8),
    Commit(Meta, [u8; 3], [u8; 3]),
    Take(Meta, Meta, u8),
    Flush(Meta, Meta),
}

/// The effect of a call: what it returned, and what is stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Yes(bool),
    Entry(bool, Entry),
    Meta(Option<Meta>),
}

thread_local! {
    static KNOWN: RefCell<HashMap<Call, Effect>> = RefCell::default();
}

fn known(call: Call) -> Effect {
    if let Some(effect) = KNOWN.with_borrow(|known| known.get(&call).copied()) {
        return effect;
    }
    let effect = run(call);
    KNOWN.with_borrow_mut(|known| known.insert(call, effect));
    effect
}

fn meta_of(effect: Effect) -> Option<Meta> {
    match effect {
        Effect::Meta(meta) => meta,
        Effect::Yes(_) | Effect::Entry(..) => None,
    }
}

fn entry_of(effect: Effect, before: Entry) -> (bool, Entry) {
    match effect {
        Effect::Entry(done, entry) => (done, entry),
        Effect::Yes(_) | Effect::Meta(_) => (false, before),
    }
}

/// True if a reader may be served the entry ([`transition::is_good`]).
pub fn serves(meta: Meta, entry: Entry) -> bool {
    known(Call::Serves(meta, entry)) == Effect::Yes(true)
}

/// [`transition::lease`]; `reload` also if there is a valid value.
pub fn lease(meta: Meta, entry: Entry, token: u8, reload: bool) -> (Leased, Entry) {
    let (granted, entry) = entry_of(known(Call::Lease(meta, entry, token, reload)), entry);
    (if granted { Leased::Granted } else { Leased::Refused }, entry)
}

/// [`transition::fill`] with the value `new`. Returns true if it was stored.
pub fn fill(meta: Meta, entry: Entry, new: Entry, token: u8) -> (bool, Entry) {
    entry_of(known(Call::Fill(meta, entry, new, token)), entry)
}

/// [`transition::invalidate_unseen`]; of no commits [`transition::invalidate`].
pub fn invalidate(meta: Meta, entry: Entry, commits: Commits) -> Entry {
    entry_of(known(Call::Invalidate(meta, entry, commits)), entry).1
}

/// [`transition::raise_high_watermark`]; `None` is a conflict. `expected` is generation, term and applied order.
pub fn raise(meta: Meta, expected: [u8; 3], order: u8) -> Option<Meta> {
    meta_of(known(Call::Raise(meta, expected, order)))
}

/// [`transition::commit`] of order, applied commits and source time; `None` is a conflict.
pub fn commit(meta: Meta, expected: [u8; 3], applied: [u8; 3]) -> Option<Meta> {
    meta_of(known(Call::Commit(meta, expected, applied)))
}

/// [`transition::take_term`]; `None` is a conflict.
pub fn take_term(meta: Meta, state: Meta, term: u8) -> Option<Meta> {
    meta_of(known(Call::Take(meta, state, term)))
}

/// [`transition::flush`]; `None` is a conflict.
pub fn flush(meta: Meta, new: Meta) -> Option<Meta> {
    meta_of(known(Call::Flush(meta, new)))
}

fn run(call: Call) -> Effect {
    let key = StoreKey::encode("m", &0_u8).expect("a short key");
    match call {
        Call::Serves(meta, entry) => {
            let good = entry.fresh && {
                let header = header(entry);
                transition::is_good(core_meta(meta).as_ref(), &header, InvalidationMode::Cdc, MAPPING, 0, NOW)
            };
            Effect::Yes(good)
        }
        Call::Lease(meta, entry, number, reload) => {
            let request = LeaseRequest {
                key: &key,
                token: token(number).expect("a token"),
                duration: LONG,
                mode: InvalidationMode::Cdc,
                mapping: MAPPING,
                schema_version: 0,
                reload,
            };
            let meta = core_meta(meta).map(Arc::new);
            let (reply, change) = transition::lease(meta.as_ref(), slot(entry).as_ref(), NOW, &request);
            Effect::Entry(matches!(reply, LeaseReply::Granted { .. }), changed(change, entry))
        }
        Call::Fill(meta, entry, new, number) => {
            let stored = slot(new).expect("a value").bytes;
            let fill = Fill {
                key: &key,
                token: token(number).expect("a token"),
                mode: InvalidationMode::Cdc,
                generation: Generation(new.generation.into()),
                entry: &stored,
                expiry: LONG,
            };
            let (reply, change) = transition::fill(core_meta(meta).as_ref(), slot(entry).as_ref(), NOW, &fill);
            match reply {
                FillReply::Stored => Effect::Entry(true, Entry { position: new.position, ..changed(change, entry) }),
                FillReply::Refused(_) => Effect::Entry(false, changed(change, entry)),
            }
        }
        Call::Invalidate(meta, entry, commits) => {
            let gtids: Vec<Gtid> = numbers(commits).map(|number| Gtid { origin: ORIGIN.into(), number }).collect();
            let slot = slot(entry);
            let change = match gtids.is_empty() {
                true => transition::invalidate(slot.as_ref()),
                false => transition::invalidate_unseen(core_meta(meta).as_ref(), slot.as_ref(), &gtids),
            };
            Effect::Entry(true, changed(change, entry))
        }
        Call::Raise(meta, expected, order) => {
            let next = transition::raise_high_watermark(core_meta(meta).as_ref(), &expect(expected), order.into());
            Effect::Meta(next.ok().map(|meta| small(&meta)))
        }
        Call::Commit(meta, expected, [order, applied, time]) => {
            let checkpoint = Checkpoint { position: position(applied), resume: Bytes::new() };
            let applied = Applied { order: order.into(), checkpoint, source_time: Timestamp::from_micros(time.into()) };
            let next = transition::commit(core_meta(meta).as_ref(), &expect(expected), &applied);
            Effect::Meta(next.ok().map(|meta| small(&meta)))
        }
        Call::Take(meta, state, term) => {
            let state = core_meta(state).expect("a meta");
            let next = transition::take_term(core_meta(meta).as_ref(), &state, term.into());
            Effect::Meta(next.ok().map(|meta| small(&meta)))
        }
        Call::Flush(meta, new) => {
            let next = transition::flush(core_meta(meta).as_ref(), &core_meta(new).expect("a meta"), 1);
            Effect::Meta(next.ok().map(|meta| small(&meta)))
        }
    }
}

fn numbers(commits: Commits) -> impl Iterator<Item = u64> {
    (0..8_u64).filter(move |bit| commits >> bit & 1 == 1).map(|bit| bit + 1)
}

fn position(commits: Commits) -> Position {
    let mut position = Position::new();
    numbers(commits).for_each(|number| position.insert(&Gtid { origin: ORIGIN.into(), number }));
    position
}

fn commits(position: &Position) -> Commits {
    let contains = |number: u8| position.contains(&Gtid { origin: ORIGIN.into(), number: number.into() });
    (1..=8).filter(|number| contains(*number)).fold(0, |set, number| set | 1 << (number - 1))
}

fn token(number: u8) -> Option<Token> {
    Token::from_u128(number.into())
}

fn expect([generation, term, applied_order]: [u8; 3]) -> Expected {
    Expected { generation: Generation(generation.into()), term: term.into(), applied_order: applied_order.into() }
}

fn core_meta(meta: Meta) -> Option<CoreMeta> {
    let generation = Generation(meta.generation.into());
    let head = Checkpoint { position: position(meta.applied), resume: Bytes::new() };
    let covered = Covered { mapping: MAPPING, generation, cache: "m".into() };
    let mut core = CoreMeta::at_head(generation, meta.term.into(), meta.order.into(), 1, ORIGIN, &head)
        .covering(Coverage::new([covered]));
    core.high_watermark = meta.high.into();
    core.source_time = Timestamp::from_micros(meta.source_time.into());
    meta.present.then_some(core)
}

fn byte(number: impl TryInto<u8>) -> u8 {
    number.try_into().unwrap_or_else(|_| panic!("the model's numbers are small"))
}

fn small(meta: &CoreMeta) -> Meta {
    Meta {
        present: true,
        generation: byte(meta.generation.0),
        term: byte(meta.term),
        high: byte(meta.high_watermark),
        order: byte(meta.applied_order),
        applied: commits(meta.applied()),
        source_time: byte(meta.source_time.as_micros()),
    }
}

fn header(entry: Entry) -> Header {
    let known = entry.fresh && entry.position != UNKNOWN;
    // The text of the empty set is that of an unknown one; it proves as little.
    let text = if known { position(entry.position).to_string() } else { String::new() };
    Header {
        state: if entry.fresh { PayloadState::Fresh } else { PayloadState::None },
        mode: InvalidationMode::Cdc,
        codec: 0,
        compression: 0,
        schema_version: 0,
        generation: Generation(entry.generation.into()),
        order: 0,
        filled_at: Timestamp::from_micros(entry.filled_at.into()),
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::UNKNOWN,
        load_cost_us: 0,
        position: text.into(),
    }
}

fn slot(entry: Entry) -> Option<Slot> {
    if !entry.fresh && entry.token == 0 {
        return None;
    }
    let payload = if entry.fresh { Bytes::copy_from_slice(&[entry.value]) } else { Bytes::new() };
    let lease_expiry = if entry.token == 0 { Timestamp::UNKNOWN } else { NOW.after(LONG) };
    let bytes = CoreEntry { header: header(entry), token: token(entry.token), lease_expiry, payload }.encode().into();
    Some(Slot { bytes, expires: NOW.after(LONG) })
}

fn changed(change: Change, before: Entry) -> Entry {
    match change {
        Change::Keep => before,
        Change::Remove => Entry::default(),
        Change::Put(slot) => {
            let entry = CoreEntry::decode(slot.bytes).expect("an entry of the core");
            let fresh = entry.header.state == PayloadState::Fresh;
            Entry {
                fresh,
                value: entry.payload.first().copied().unwrap_or_default(),
                // A lease does not change the value.
                position: if fresh { before.position } else { 0 },
                generation: byte(entry.header.generation.0),
                filled_at: byte(entry.header.filled_at.as_micros()),
                token: entry.token.map_or(0, |token| byte(token.as_u128())),
            }
        }
    }
}
