//! What applications do: reads at every level, writes, and invalidations of their own.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use cachefront_core::{Error, Position};

use crate::clock::millis;
use crate::database::{Way, Write};
use crate::keys::{KEYS, Key, Kind, LONG, ORDERS, USERS, line};
use crate::oracle::{self, Answer, Asked};
use crate::process::{Member, Process};
use crate::world::World;

/// How one read is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Get,
    Detailed,
    Many,
    OrLoad,
}

/// What an application asks of a cache.
pub(crate) struct Reader {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    /// Which cache of the process.
    pub(crate) member: usize,
}

impl Reader {
    fn member(&self) -> &Member {
        &self.process.members[self.member]
    }

    /// A random read.
    pub(crate) async fn read(self) {
        let random = &self.world.random;
        let kind = self.member().kind;
        let key = random_key(&self.world, kind);
        let form = random.weighted(&[(45, Form::Get), (40, Form::Detailed), (8, Form::Many), (7, Form::OrLoad)]);
        let form = form.unwrap_or(Form::Get);
        let asked = if matches!(form, Form::Get | Form::Detailed) { self.level() } else { Asked::default() };
        match form {
            Form::Many => self.many(key).await,
            Form::OrLoad => self.or_load(key).await,
            Form::Get | Form::Detailed => {
                // A failure is no wrong answer.
                let _ = self.one(key, &asked, form == Form::Detailed).await;
            }
        }
    }

    fn level(&self) -> Asked {
        let random = &self.world.random;
        let mut asked = Asked::default();
        let draw = random.below(100);
        if (40..70).contains(&draw) || draw >= 92 {
            let state = self.world.state();
            let back = random.index(4.min(state.tokens.len().max(1)));
            asked.at_least = state.tokens.iter().rev().nth(back).cloned();
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
        let (world, member) = (&self.world, self.member());
        let begun = oracle::begin(world, &self.process, member, key);
        let mut get = member.cache.get(&key);
        if let Some(token) = &asked.at_least {
            get = get.at_least(token);
        }
        if let Some(allowed) = asked.max_staleness {
            get = get.max_staleness(allowed);
        }
        if asked.bypass {
            get = get.bypass();
        }
        let answer = if detailed {
            get.detailed().await.map(Answer::detailed)
        } else {
            at_first_poll(get).await.map(|(value, local)| Answer::plain(value, Some(local)))
        };
        let answer = answer.inspect_err(|error| self.failed(key, error))?;
        oracle::judge(world, &self.process, member, &begun, asked, &answer);
        Ok(answer)
    }

    async fn many(&self, first: Key) {
        let (world, member) = (&self.world, self.member());
        let mut keys = vec![first, random_key(world, member.kind), random_key(world, member.kind)];
        if keys[1] == first {
            keys.remove(1);
        }
        let begun: Vec<_> = keys.iter().map(|key| oracle::begin(world, &self.process, member, *key)).collect();
        match member.cache.get_many(&keys).await {
            Ok(values) => {
                for (begun, value) in begun.iter().zip(values) {
                    let answer = Answer::plain(value, None);
                    oracle::judge(world, &self.process, member, begun, &Asked::default(), &answer);
                }
            }
            Err(error) => self.failed(first, &error),
        }
    }

    async fn or_load(&self, key: Key) {
        let (world, member) = (&self.world, self.member());
        let begun = oracle::begin(world, &self.process, member, key);
        let rows = self.process.rows.clone();
        let get = member.cache.get_or_load(&key, move |cx| async move { rows.read(key, &cx).await });
        match at_first_poll(get).await {
            Ok((value, local)) => {
                let answer = Answer::plain(value, Some(local));
                oracle::judge(world, &self.process, member, &begun, &Asked::default(), &answer);
            }
            Err(error) => self.failed(key, &error),
        }
    }

    fn failed(&self, key: Key, error: &Error) {
        self.world.state().counts.errors += 1;
        self.world.log(|| format!("{} reads {key:?}: {error}", self.process.actor));
    }

    /// Removes a key by hand, from all tiers, while others read it; often after a commit of its own.
    pub(crate) async fn invalidate(self) {
        let world = &self.world;
        let key = random_key(world, self.member().kind);
        if world.random.chance(500) {
            commit(world, &writes_of(key)).await;
        }
        let readers = async {
            for _ in 0..world.random.below(5) {
                let _ = self.one(key, &Asked::default(), false).await;
            }
        };
        tokio::join!(self.remove(key), readers);
        let _ = self.one(key, &Asked::default(), true).await;
    }

    async fn remove(&self, key: Key) {
        let (world, member) = (&self.world, self.member());
        let now = world.now();
        let (visible, link) = {
            let mut state = world.state();
            let primary = state.database.primary();
            let visible = state.database.visible(primary, now);
            let me = &state.actors[self.process.actor];
            (visible, me.reads.map(|server| (server, me.moves)))
        };
        let outcome = member.cache.invalidate(&key).await;
        world.log(|| format!("{} invalidates {key:?} by hand: {:?}", self.process.actor, outcome.is_ok()));
        if let (Ok(()), Some(link)) = (outcome, link) {
            oracle::invalidated(world, &self.process, line(member.kind, key), visible, now, link);
        }
    }
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
    let writes = random_writes(&world);
    commit(&world, &writes).await;
}

/// Commits, and returns once that is visible.
async fn commit(world: &World, writes: &[Write]) {
    let now = world.now();
    let (random, config) = (&world.random, &world.config);
    let late = match random.below(10) {
        _ if !config.slow_visibility => random.below(1_500),
        0..=5 => random.below(2_000),
        6..=8 => random.below(40_000),
        _ => random.below(400_000),
    };
    let lag = if random.chance(100) { random.below(300_000) } else { random.below(20_000) };
    let (event, visible_at, token) = {
        let mut state = world.state();
        let visible_at = (now + late).max(state.hidden_until);
        let unmappable = config.odd_changes && random.chance(15);
        let event = state.database.commit(writes, Way { visible_at, replica_at: visible_at + lag, unmappable });
        state.counts.commits += 1;
        let event_at = state.database.events[event].visible_at;
        (event, event_at, Arc::clone(&state.database.events[event].executed))
    };
    world.log(|| format!("commit {event} {writes:?} visible at {visible_at}: {token}"));
    world.logged.notify_waiters();
    // The client is notified once its commit is visible; a token is its own commit, or all that it saw.
    world.time.reach(visible_at).await;
    let mut state = world.state();
    if state.database.events[event].visible_at > world.now() {
        return;
    }
    let own = state.database.events[event].gtid.clone();
    let token = match own {
        Some(gtid) if world.random.chance(700) => {
            let mut own = Position::new();
            own.insert(&gtid);
            Arc::new(own)
        }
        _ => token,
    };
    state.tokens.push(token);
}

/// Changes what this key stands for.
fn writes_of(key: Key) -> Vec<Write> {
    match key.kind {
        Kind::Orders => vec![Write::Order { number: key.number }],
        Kind::Mails => vec![Write::User { number: key.number, mail: Some(key.number) }],
        _ => vec![Write::User { number: key.number, mail: None }],
    }
}

fn random_writes(world: &World) -> Vec<Write> {
    let (random, config) = (&world.random, &world.config);
    let number = || random.below(config.keys.into()) as u16;
    let mail = || match random.below(10) {
        0 => None,
        1 if config.odd_changes => Some(LONG),
        _ => Some(random.below(config.keys.into()) as u16),
    };
    let one = || match random.below(100) {
        0..=44 => Write::User { number: number(), mail: mail() },
        45..=52 => Write::DeleteUser { number: number() },
        53..=89 => Write::Order { number: number() },
        90..=97 => Write::DeleteOrder { number: number() },
        98 if config.odd_changes => Write::TruncateOrders,
        99 if config.odd_changes => {
            Write::Define { table: [USERS, ORDERS][random.index(2)], partial: random.chance(config.partial_tables) }
        }
        _ => Write::Order { number: number() },
    };
    let most = if random.chance(200) { 3 } else { 1 };
    debug_assert!(usize::from(config.keys) < KEYS, "the last number is the long key's");
    (0..most).map(|_| one()).collect()
}
