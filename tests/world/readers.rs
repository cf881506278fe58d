//! What applications do: reads at every level and in every form, and writes.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use cachefront_core::{Cache, Error, GetMany, Hit, Position};

use crate::clock::{millis, pass};
use crate::database::{Way, Write};
use crate::focus::Focus;
use crate::keys::{KEYS, Key, Kind, LONG, Line, ORDERS, USERS, line};
use crate::moment;
use crate::oracle::{self, Answer, Asked};
use crate::process::{Member, Process};
use crate::random::Random;
use crate::world::World;

/// How one read is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Get,
    Detailed,
    Many,
    OrLoad,
    Peek,
}

/// How far a replica is behind whose lag does not change, in microseconds.
const STEADY_LAG: u64 = 60_000;

/// What an application asks of a cache.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    /// Which cache of the process.
    pub(crate) member: usize,
}

impl Reader {
    pub(crate) fn member(&self) -> &Member {
        &self.process.members[self.member]
    }

    fn cache(&self) -> &Cache<Key, u64> {
        &self.member().cache
    }

    /// A random read.
    pub(crate) async fn read(self) {
        let random = &self.world.random;
        let key = random_key(&self.world, self.member().kind);
        let form = random.weighted(&[
            (43, Form::Get),
            (38, Form::Detailed),
            (10, Form::Many),
            (7, Form::OrLoad),
            (2, Form::Peek),
        ]);
        let asked = self.level();
        match form {
            Some(Form::Many) => self.many(key, &asked).await,
            Some(Form::OrLoad) => self.or_load(key, &asked).await,
            Some(Form::Peek) => self.peek(key).await,
            form => {
                // A failure is no wrong answer.
                let _ = self.one(key, &asked, form == Some(Form::Detailed)).await;
            }
        }
    }

    fn level(&self) -> Asked {
        let random = &self.world.random;
        let mut asked = Asked::default();
        let draw = random.below(100);
        if (40..70).contains(&draw) || draw >= 92 {
            let state = self.world.state();
            // A client comes back soon, or after a while.
            let token = |random: &Random| {
                let back = if random.chance(300) { 40 } else { 4 };
                state.tokens.iter().rev().nth(random.index(back.min(state.tokens.len().max(1)))).cloned()
            };
            asked.at_least = token(random);
            if draw >= 92 {
                // One that came before or after: both count.
                asked.and = token(random);
            }
        }
        if draw >= 68 {
            asked.max_staleness = Some(millis([1, 30, 100, 400, 2_000][random.index(5)]));
        }
        if draw == 0 {
            asked.bypass = true;
        }
        asked
    }

    /// One key, judged.
    pub(crate) async fn one(&self, key: Key, asked: &Asked, detailed: bool) -> Result<Answer, Error> {
        let begun = oracle::begin(&self.world, &self.process, self.member(), key);
        let get =
            self.cache().get(&key).at_least(&asked.and).at_least(&asked.at_least).max_staleness(asked.max_staleness);
        let get = if asked.bypass { get.bypass() } else { get };
        let answer = if detailed {
            get.detailed().await.map(Answer::detailed)
        } else {
            at_first_poll(get).await.map(|(value, local)| Answer::plain(value, Some(local)))
        };
        let answer = answer.inspect_err(|error| self.failed(key, error))?;
        oracle::judge(&self.world, &self.process, self.member(), &begun, asked, &answer);
        Ok(answer)
    }

    async fn many(&self, first: Key, asked: &Asked) {
        let (world, member) = (&self.world, self.member());
        let mut keys = vec![first];
        keys.extend((0..world.random.below(3)).map(|_| random_key(world, member.kind)));
        let begun: Vec<_> = keys.iter().map(|key| oracle::begin(world, &self.process, member, *key)).collect();
        let get = self
            .cache()
            .get_many(&keys)
            .at_least(&asked.and)
            .at_least(&asked.at_least)
            .max_staleness(asked.max_staleness);
        let get = if asked.bypass { get.bypass() } else { get };
        let together = world.config.features.snapshots && world.random.chance(400);
        let get = if together { get.consistent() } else { get };
        let (results, at) = (self.results(get, keys.len()).await, world.now());
        if together && let Some(values) = values_of(&keys, &results) {
            moment::judge(world, &self.process, begun.first().map_or(at, |begun| begun.at), &values);
        }
        for ((begun, answer), key) in begun.iter().zip(results).zip(&keys) {
            match answer {
                Ok(answer) => oracle::judge(world, &self.process, member, begun, asked, &answer),
                Err(error) => self.failed(*key, &error),
            }
        }
    }

    /// Awaits many keys in one of the forms that there are.
    async fn results(&self, get: GetMany<Key, u64>, keys: usize) -> Vec<Result<Answer, Error>> {
        let results: Result<Vec<Answer>, Error> = match self.world.random.index(3) {
            0 => get.await.map(|values| values.into_iter().map(|value| Answer::plain(value, None)).collect()),
            1 => get.detailed().await.map(|hits| hits.into_iter().map(Answer::detailed).collect()),
            _ => return get.per_key().await.into_iter().map(|hit| hit.map(Answer::detailed)).collect(),
        };
        match results {
            Ok(results) => results.into_iter().map(Ok).collect(),
            Err(error) => (0..keys).map(|_| Err(error.clone())).collect(),
        }
    }

    async fn or_load(&self, key: Key, asked: &Asked) {
        let begun = oracle::begin(&self.world, &self.process, self.member(), key);
        let rows = self.process.rows.clone();
        let load = move |cx: Arc<_>| async move { rows.read(key, &cx).await };
        let get = self.cache().get_or_load(&key, load);
        let get = get.at_least(&asked.and).at_least(&asked.at_least).max_staleness(asked.max_staleness);
        let get = if asked.bypass { get.bypass() } else { get };
        let answer = if self.world.random.chance(500) {
            get.detailed().await.map(Answer::detailed)
        } else {
            at_first_poll(get).await.map(|(value, local)| Answer::plain(value, Some(local)))
        };
        match answer {
            Ok(answer) => oracle::judge(&self.world, &self.process, self.member(), &begun, asked, &answer),
            Err(error) => self.failed(key, &error),
        }
    }

    async fn peek(&self, key: Key) {
        let begun = oracle::begin(&self.world, &self.process, self.member(), key);
        let found: Result<Option<Hit<u64>>, Error> = self.cache().peek(&key).await;
        match found {
            Ok(Some(hit)) => {
                let answer = Answer::detailed(hit);
                oracle::judge(&self.world, &self.process, self.member(), &begun, &Asked::default(), &answer);
            }
            Ok(None) => {}
            Err(error) => self.failed(key, &error),
        }
    }

    fn failed(&self, key: Key, error: &Error) {
        self.world.state().counts.errors += 1;
        self.world.log(|| format!("{} reads {key:?}: {error}", self.process.actor));
    }
}

/// The value of each line, if there is one for each.
fn values_of(keys: &[Key], results: &[Result<Answer, Error>]) -> Option<Vec<(Line, Option<u64>)>> {
    keys.iter().zip(results).map(|(key, answer)| Some((line(key.kind, *key), answer.as_ref().ok()?.value))).collect()
}

/// Polls, and returns whether the value was there at once: only the process's own tier is that fast.
async fn at_first_poll<F>(future: F) -> Result<(Option<u64>, bool), Error>
where
    F: IntoFuture<Output = Result<Option<u64>, Error>>,
{
    let mut future = pin!(future.into_future());
    let mut polls = 0;
    let value = std::future::poll_fn(|cx| {
        polls += 1;
        let poll: Poll<_> = future.as_mut().poll(cx);
        poll
    })
    .await?;
    Ok((value, polls == 1))
}

pub(crate) fn random_key(world: &World, kind: Kind) -> Key {
    let number = world.random.below(world.config.keys.into()) as u16;
    let is_long = kind == Kind::Mails && world.config.odd_changes && world.random.chance(50);
    Key::new(kind, if is_long { LONG } else { number })
}

/// A client commits.
pub(crate) async fn write(world: Arc<World>) {
    if world.focus == Focus::Replica && world.random.chance(60) {
        return partial_for_a_moment(&world).await;
    }
    let writes = random_writes(&world);
    commit(&world, &writes).await;
}

/// The log lacks the changes of a few orders, which the replica shows later than the definition before and after them.
async fn partial_for_a_moment(world: &World) {
    let (random, keys) = (&world.random, u64::from(world.config.keys));
    let lag = if world.config.steady_lag { STEADY_LAG } else { 60_000 + random.below(90_000) };
    let order = || Write::Order { number: random.below(keys) as u16 };
    let define = |partial| Write::Define { table: ORDERS, partial };
    let mut changed = 0;
    for write in [define(true), order(), order(), define(false)] {
        let now = world.now();
        let event =
            world.state().database.commit(&[write], Way { visible_at: now, replica_at: now + lag, unmappable: false });
        world.log(|| format!("commit {event} {write:?} on the replica at {}", now + lag));
        world.logged.notify_waiters();
        if changed == 0 && matches!(write, Write::Order { .. }) {
            changed = event;
        }
        pass(millis(3 + random.below(15))).await;
    }
    // Its client comes back until the replica shows all of it.
    for _ in 0..lag / 4_000 {
        note_token(world, changed);
        pass(millis(4)).await;
    }
}

/// Clients commit orders, one after the other, which are in the log a while before they are visible.
pub(crate) async fn late_orders(world: Arc<World>) {
    // A gate waits for two heartbeats.
    let (random, late) = (&world.random, world.config.heartbeat.as_micros() as u64 * 9 / 5);
    for _ in 0..random.below(40) {
        let now = world.now();
        let writes = [Write::Order { number: random.below(world.config.keys.into()) as u16 }];
        let way = Way { visible_at: now + late, replica_at: now + 2 * late, unmappable: false };
        let event = world.state().database.commit(&writes, way);
        world.log(|| format!("commit {event} {writes:?} visible at {}", way.visible_at));
        world.logged.notify_waiters();
        pass(millis(random.below(6))).await;
    }
}

/// Commits, and returns once that is visible.
pub(crate) async fn commit(world: &World, writes: &[Write]) {
    let now = world.now();
    let (random, config) = (&world.random, &world.config);
    let late = match random.below(10) {
        _ if !config.slow_visibility => random.below(1_500),
        0..=5 => random.below(2_000),
        6..=8 => random.below(40_000),
        _ => random.below(400_000),
    };
    let lag = match random.chance(100) {
        _ if config.steady_lag => STEADY_LAG,
        true => random.below(300_000),
        false => random.below(20_000),
    };
    let (event, visible_at) = {
        let mut state = world.state();
        let visible_at = (now + late).max(state.hidden_until);
        let unmappable = config.odd_changes && random.chance(15);
        // The primary notifies its replicas of a commit before its own readers see it.
        let is_ahead = config.eager_replica && random.chance(500);
        let replica_at = if is_ahead { now + random.below(2_000) } else { visible_at + lag };
        let event = state.database.commit(writes, Way { visible_at, replica_at, unmappable });
        state.counts.commits += 1;
        (event, state.database.events[event].visible_at)
    };
    world.log(|| format!("commit {event} {writes:?} visible at {visible_at}"));
    world.logged.notify_waiters();
    // The client is notified once its commit is visible; a token is its own commit, or all that it saw.
    world.time.reach(visible_at).await;
    if world.state().database.events[event].visible_at <= world.now() {
        note_token(world, event);
    }
}

/// Lets readers require a commit: by itself, or with all that its client saw.
fn note_token(world: &World, event: usize) {
    let mut state = world.state();
    let of = &state.database.events[event];
    let token = match &of.gtid {
        Some(gtid) if world.random.chance(700) => {
            let mut own = Position::new();
            own.insert(gtid);
            Arc::new(own)
        }
        _ => Arc::clone(&of.executed),
    };
    state.tokens.push(token);
}

fn random_writes(world: &World) -> Vec<Write> {
    let (random, config) = (&world.random, &world.config);
    let number = || random.below(config.keys.into()) as u16;
    let mail = || match random.below(10) {
        0 => None,
        1 if config.odd_changes => Some(LONG),
        _ => Some(random.below(config.keys.into()) as u16),
    };
    let define =
        || Write::Define { table: [USERS, ORDERS][random.index(2)], partial: random.chance(config.partial_tables) };
    let one = || match random.below(100) {
        0..=44 => Write::User { number: number(), mail: mail() },
        45..=52 => Write::DeleteUser { number: number() },
        80..=99 if world.focus == Focus::Definitions => define(),
        53..=89 => Write::Order { number: number() },
        90..=97 => Write::DeleteOrder { number: number() },
        98 if config.odd_changes => Write::TruncateOrders,
        99 if config.odd_changes => define(),
        _ => Write::Order { number: number() },
    };
    let most = if random.chance(200) { 3 } else { 1 };
    debug_assert!(usize::from(config.keys) < KEYS, "the last number is the long key's");
    (0..most).map(|_| one()).collect()
}
