//! Reads at every level, and compares each answer with the ledger.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachefront::{Cache, Error, ErrorKind, Hit, Position, Tier};
use cachefront_testkit::fleet::{Count, Ledger, ROWS, Tally, now};
use cachefront_testkit::shop::applied;
use mysql_async::{Conn, Opts, prelude::Queryable};

/// Pause between two reads of one reader.
const PACE: Duration = Duration::from_millis(4);
/// Bounded reads ask for this.
const BOUND: Duration = Duration::from_secs(1);
/// How long a reader waits until what it saw committed is applied, before it judges a plain read by it.
const APPLIED_WAIT: Duration = Duration::from_secs(2);
/// A process's own tier may lag behind the store by this much: what ends it is silence on the bus.
const LOCAL_LAG_US: u64 = 3_000_000;
/// Maximum number of wrong reads and errors that are kept in words.
const EXAMPLES_MAX: usize = 5;

/// What readers judge by.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) mysql: String,
    pub(crate) tally: Arc<Mutex<Tally>>,
}

/// One answer, and the moment after which its value must not have been overwritten.
struct Answer {
    answer: Result<Option<u64>, Error>,
    tier: Option<Tier>,
    limit: u64,
    /// What the value contains, by the hit.
    proof: String,
}

impl Answer {
    fn of(hit: Result<Hit<u64>, Error>, limit: u64) -> Self {
        match hit {
            Ok(hit) => Self {
                answer: Ok(hit.value),
                tier: Some(hit.tier),
                limit,
                proof: format!(
                    "position {:?}, staleness bound {:?}, age {:?}",
                    hit.position.map(|p| p.to_string()),
                    hit.staleness_bound,
                    hit.age
                ),
            },
            Err(error) => Self { answer: Err(error), tier: None, limit, proof: String::new() },
        }
    }
}

impl Judge {
    /// Begins to read `cache`, whose keys are ids plus `added`, at each level.
    pub(crate) fn start(&self, name: &str, added: u64, cache: &Cache<u64, u64>) {
        for level in cachefront_testkit::fleet::LEVELS {
            let (judge, cache, name) = (self.clone(), cache.clone(), format!("{name}/{level}"));
            tokio::spawn(async move {
                let mut turn = 0_u64;
                loop {
                    turn += 1;
                    let id = turn % ROWS + 1;
                    let answer = match level {
                        "session" => judge.session(&cache, id + added).await,
                        "bounded" => Some(bounded(&cache, id + added).await),
                        _ => judge.eventual(&cache, id + added, turn.is_multiple_of(2)).await,
                    };
                    if let Some(answer) = answer {
                        judge.note(&name, id, answer);
                    }
                    // sleep: the pace of the reads.
                    tokio::time::sleep(PACE).await;
                }
            });
        }
    }

    /// What the server that commits has executed, on a connection that is younger than the moment of the question.
    async fn token(&self) -> Option<(u64, Position)> {
        let asked = now();
        let mut conn = Conn::new(Opts::from_url(&self.mysql).ok()?).await.ok()?;
        let executed: Option<String> = conn.query_first("SELECT @@GLOBAL.gtid_executed").await.ok()?;
        // A failure to say farewell changes nothing.
        let _ = conn.disconnect().await;
        Some((asked, executed?.parse().ok()?))
    }

    async fn session(&self, cache: &Cache<u64, u64>, key: u64) -> Option<Answer> {
        let (limit, token) = self.token().await?;
        let mut answer = Answer::of(cache.get(&key).at_least(&token).detailed().await, limit);
        answer.proof += &format!(", token {token}, asked {limit}, answered {}", now());
        Some(answer)
    }

    /// A plain read that begins after the store has applied everything that was committed.
    async fn eventual(&self, cache: &Cache<u64, u64>, key: u64, plain: bool) -> Option<Answer> {
        let (limit, token) = self.token().await?;
        let begun = now();
        let store = cache.store();
        while !applied(&*store).await.is_some_and(|applied| applied.covers(&token)) {
            if now() - begun > u64::try_from(APPLIED_WAIT.as_micros()).expect("a short time") {
                return None;
            }
            // sleep: the poll interval of a bounded wait.
            tokio::time::sleep(PACE).await;
        }
        if plain {
            let answer = cache.get(&key).await;
            return Some(Answer { answer, tier: None, limit: limit - LOCAL_LAG_US, proof: String::new() });
        }
        let mut answer = Answer::of(cache.get(&key).detailed().await, limit);
        if answer.tier == Some(Tier::Local) {
            answer.limit -= LOCAL_LAG_US;
        }
        Some(answer)
    }

    fn note(&self, name: &str, id: u64, Answer { answer, tier, limit, proof }: Answer) {
        let mut tally = self.tally.lock().expect("unpoisoned");
        let count = tally.entry(name.to_owned()).or_default();
        match answer {
            Err(error) => {
                match error.kind() {
                    ErrorKind::Unproven => count.unproven += 1,
                    _ => count.errors += 1,
                }
                example(count, || error.chain());
            }
            Ok(value) => {
                count.reads += 1;
                count.hits += u64::from(matches!(tier, Some(Tier::Local | Tier::Shared)));
                count.local += u64::from(tier == Some(Tier::Local));
                let overwritten = match value {
                    Some(value) => self.ledger.overwritten(id, value),
                    None => Some(0),
                };
                if let Some(at) = overwritten.filter(|at| *at < limit) {
                    count.wrong += 1;
                    let late = Duration::from_micros(limit - at);
                    example(count, || {
                        format!("wrong: {name} of row {id}: {value:?} from {tier:?}, {late:?} too old; {proof}")
                    });
                }
            }
        }
    }
}

fn example(count: &mut Count, text: impl FnOnce() -> String) {
    if count.examples.len() < EXAMPLES_MAX {
        count.examples.push(text());
    }
}

async fn bounded(cache: &Cache<u64, u64>, key: u64) -> Answer {
    let limit = now() - u64::try_from(BOUND.as_micros()).expect("a short time");
    Answer::of(cache.get(&key).max_staleness(BOUND).detailed().await, limit)
}
