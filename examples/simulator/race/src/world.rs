//! One race in progress: the database, a cache on one side, and the readers.

use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use cachefront::{Cache, Error, Position, Tier};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::database::{RaceDatabase, Server};
use crate::frame::{CachedValue, Frame, LogState, Progress, ReaderState, Verdict};
use crate::guarded::Guarded;
use crate::loads::Loads;
use crate::naive::{Naive, NaiveCache};
use crate::rows::{ROW, Rows};
use crate::scene::{Act, Scene, Side};
use crate::settings::RaceSettings;
use crate::wait;

/// Why a race cannot be shown.
#[derive(Debug)]
pub enum RaceError {
    /// The cache or its invalidator could not be started, or the store could not be read.
    Library(Error),
    /// A step had no effect within [`RaceSettings::step_max`].
    Step { name: &'static str },
    /// Too many worlds are started or advanced at once: try again.
    Busy,
    /// The thread of the races cannot be started.
    Thread(io::Error),
    /// The task that plays the race has ended early.
    Ended(JoinError),
}

impl fmt::Display for RaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(_) => f.write_str("the world of the race cannot be started or read"),
            Self::Step { name } => {
                write!(f, "the step \"{name}\" had no effect in time: the machine is busy, try again")
            }
            Self::Busy => f.write_str("too many races are played at once: try again in a moment"),
            Self::Thread(_) => f.write_str("the thread of the races cannot be started: this process has too many"),
            Self::Ended(_) => f.write_str("the program is about to end, or the race has failed: the log says which"),
        }
    }
}

impl std::error::Error for RaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Library(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::Ended(error) => Some(error),
            Self::Step { .. } | Self::Busy => None,
        }
    }
}

impl From<Error> for RaceError {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// What a step has changed, as it was read from the objects after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    pub facts: Vec<String>,
}

/// A race as it is shown.
#[derive(Clone, Debug)]
pub struct View {
    pub scene: &'static Scene,
    pub side: Side,
    /// The steps that were played, in their order.
    pub played: Vec<Played>,
    pub frame: Frame,
}

/// The cache of a world.
#[derive(Debug)]
enum Subject {
    Naive(Naive),
    Guarded(Guarded),
}

/// How a read ended: the value and whether it comes from the cache, or the reason of its failure.
type Ending = Result<(String, bool), String>;

/// A reader that was started.
#[derive(Debug)]
struct Reader {
    name: char,
    /// The value that sessions of the primary saw at the start.
    asked: &'static str,
    ending: Arc<OnceLock<Ending>>,
    _task: AbortOnDropHandle<()>,
}

/// One race in progress.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scene: &'static Scene,
    pub(crate) side: Side,
    pub(crate) began: Instant,
    settings: RaceSettings,
    database: Arc<RaceDatabase>,
    loads: Arc<Loads>,
    subject: Subject,
    readers: Vec<Reader>,
    /// The newest commit of the writer.
    token: Option<Position>,
    played: Vec<Played>,
    frame: Frame,
}

impl World {
    /// Starts a world: the row is in the database, the cache is empty, and the consumer follows the log.
    pub(crate) async fn open(scene: &'static Scene, side: Side, settings: RaceSettings) -> Result<Self, RaceError> {
        let (database, loads) = (RaceDatabase::new(), Arc::new(Loads::default()));
        let rows = Rows { database: Arc::clone(&database), loads: Arc::clone(&loads), server: scene.server };
        let subject = match side {
            Side::Naive => Subject::Naive(Naive::open(rows).await?),
            Side::Cachefront => Subject::Guarded(Guarded::open(rows, &settings).await?),
        };
        let (following, log) = (&subject, &database);
        let is_ready = || async move { following.handled().await == log.numbers().committed };
        if !wait::until(settings.step_max, is_ready).await {
            return Err(RaceError::Step { name: "the start" });
        }
        let sources = Sources { scene, database: &database, loads: &loads, subject: &subject };
        let frame = sources.frame(&[]).await?;
        let (readers, played) = (Vec::new(), Vec::new());
        let began = Instant::now();
        Ok(Self { scene, side, began, settings, database, loads, subject, readers, token: None, played, frame })
    }

    /// Returns the number of steps that were played.
    pub(crate) fn at(&self) -> usize {
        self.played.len()
    }

    /// Plays the next step, if there is one.
    pub(crate) async fn advance(&mut self) -> Result<(), RaceError> {
        let Some(step) = self.scene.steps.get(self.at()) else { return Ok(()) };
        if !self.perform(step.act).await {
            return Err(RaceError::Step { name: step.name });
        }
        let sources =
            Sources { scene: self.scene, database: &self.database, loads: &self.loads, subject: &self.subject };
        let frame = sources.frame(&self.readers).await?;
        self.played.push(Played { facts: frame.changes_since(&self.frame) });
        self.frame = frame;
        Ok(())
    }

    pub(crate) fn view(&self) -> View {
        View { scene: self.scene, side: self.side, played: self.played.clone(), frame: self.frame.clone() }
    }

    /// Ends the world: loads that are held go on, and the invalidator stops.
    pub(crate) async fn close(self) {
        self.loads.release();
        drop(self.readers);
        if let Subject::Guarded(guarded) = self.subject {
            guarded.invalidator.shutdown().await;
        }
    }

    /// Performs an operation and waits for its effect. Returns false if it has none in time.
    async fn perform(&mut self, act: Act) -> bool {
        match act {
            Act::Read(reader) => self.start(reader, false, None),
            Act::ReadHeld(reader) => self.start(reader, true, None),
            Act::ReadDuringLoad(reader) => {
                let misses = self.loads.misses();
                self.start(reader, false, None);
                return self.has_joined(reader, misses).await;
            }
            Act::ReadOwn(reader) => self.start(reader, false, self.token.clone()),
            Act::Release => self.loads.release(),
            Act::Commit | Act::CommitHidden => {
                let mut token = Position::new();
                token.insert(&self.database.commit(act == Act::CommitHidden));
                self.token = Some(token);
            }
            Act::Reveal => self.database.reveal(),
            Act::CatchUp => self.database.catch_up(),
            Act::Deliver => self.database.deliver(),
            Act::Purge => self.database.purge(),
        }
        let this = &*self;
        wait::until(self.settings.step_max, || this.has_settled(act)).await
    }

    /// Returns true once an operation has had its effect.
    async fn has_settled(&self, act: Act) -> bool {
        let ended = || self.readers.iter().all(|reader| reader.ending.get().is_some());
        match act {
            Act::Read(_) | Act::ReadOwn(_) => ended(),
            Act::ReadHeld(reader) => self.loads.holds(reader),
            // Each load is reported to the cache's observer before its reader returns.
            Act::Release => ended() && self.loads.list().iter().all(|load| load.fate.is_some()),
            Act::ReadDuringLoad(_) | Act::Commit | Act::CommitHidden | Act::CatchUp | Act::Purge => true,
            Act::Deliver => self.is_at_gate() || self.has_handled().await,
            // What waited at the gate is handled now.
            Act::Reveal => self.has_handled().await,
        }
    }

    fn is_at_gate(&self) -> bool {
        self.database.numbers().gate_waits > 0
    }

    async fn has_handled(&self) -> bool {
        self.subject.handled().await == self.database.numbers().delivered
    }

    /// Waits until a reader that was started while a load is held has a value, or, with the naive cache, waits for that load: it
    /// has found no value then.
    async fn has_joined(&self, reader: char, misses: u64) -> bool {
        let waits = || matches!(self.subject, Subject::Naive(_)) && self.loads.misses() > misses;
        let ended = || self.readers.iter().any(|one| one.name == reader && one.ending.get().is_some());
        wait::until(self.settings.step_max, || ready(ended() || waits())).await
    }

    fn start(&mut self, name: char, hold: bool, token: Option<Position>) {
        self.loads.begin(name, hold);
        let (_, asked) = self.database.session(Server::Primary);
        let ending = Arc::new(OnceLock::new());
        let (read, end) = (self.subject.read(token), Arc::clone(&ending));
        let task = tokio::spawn(async move {
            // The only writer.
            let _ = end.set(read.await);
        });
        self.readers.push(Reader { name, asked, ending, _task: AbortOnDropHandle::new(task) });
    }
}

impl Subject {
    /// A read of the key; with a token, by the library, one that contains its commit.
    fn read(&self, token: Option<Position>) -> impl Future<Output = Ending> + Send + 'static {
        enum Read {
            Naive(Arc<NaiveCache>),
            Guarded(Cache<u64, String>),
        }
        let read = match self {
            Self::Naive(naive) => Read::Naive(Arc::clone(&naive.cache)),
            Self::Guarded(guarded) => Read::Guarded(guarded.cache.clone()),
        };
        async move {
            let cache = match read {
                Read::Naive(naive) => {
                    return naive.get().await.ok_or_else(|| "the load has ended without a value".to_owned());
                }
                Read::Guarded(cache) => cache,
            };
            let read = cache.get(&ROW).at_least(&token).detailed().await;
            let hit = read.map_err(|error| error.to_string())?;
            let value = hit.value.ok_or_else(|| "there is no row".to_owned())?;
            Ok((value, hit.tier != Tier::Database))
        }
    }

    /// Returns the newest commit whose event was handled.
    async fn handled(&self) -> u64 {
        match self {
            Self::Naive(naive) => naive.cache.handled(),
            Self::Guarded(guarded) => guarded.handled().await,
        }
    }

    fn flushes(&self) -> u64 {
        match self {
            Self::Naive(_) => 0,
            Self::Guarded(guarded) => guarded.invalidator.status().flushes_total,
        }
    }

    async fn cached(&self) -> Result<CachedValue, Error> {
        let guarded = match self {
            Self::Naive(naive) => return Ok(CachedValue { value: naive.cache.entry(), ..CachedValue::default() }),
            Self::Guarded(guarded) => guarded,
        };
        let explained = guarded.cache.explain(&ROW).await?;
        let value = guarded.cache.peek(&ROW).await?.and_then(|hit| hit.value);
        let entry = explained.store.and_then(|store| store.entry);
        Ok(CachedValue {
            value,
            leased: entry.is_some_and(|entry| entry.lease.is_some()),
            reason: explained.would_load.map(|reason| reason.as_str()),
        })
    }
}

/// What a frame is read from.
struct Sources<'a> {
    scene: &'static Scene,
    database: &'a RaceDatabase,
    loads: &'a Loads,
    subject: &'a Subject,
}

impl Sources<'_> {
    async fn frame(&self, readers: &[Reader]) -> Result<Frame, Error> {
        let numbers = self.database.numbers();
        let log = LogState {
            committed: numbers.committed,
            visible: numbers.visible,
            replica: (self.scene.server == Server::Replica).then_some(numbers.replica),
            delivered: numbers.delivered,
            purged: numbers.purged,
            handled: self.subject.handled().await,
            flushes: self.subject.flushes(),
            at_gate: numbers.gate_waits > 0,
        };
        let (cached, loads) = (self.subject.cached().await?, self.loads.list());
        let newest = self.database.name_after(numbers.committed).to_owned();
        let progress = |reader: &Reader| match reader.ending.get() {
            Some(Ok((value, from_cache))) => Progress::Got { value: value.clone(), from_cache: *from_cache },
            Some(Err(why)) => Progress::Failed(why.clone()),
            None => match loads.iter().find(|load| load.reader == reader.name && load.held) {
                Some(load) => Progress::Held { read: load.name.to_owned() },
                None => Progress::Waiting,
            },
        };
        let readers = readers
            .iter()
            .map(|reader| ReaderState { name: reader.name, progress: progress(reader), asked: reader.asked.to_owned() })
            .collect();
        Ok(Frame {
            readers,
            newest: newest.clone(),
            loaders_see: self.database.session(self.scene.server).1.to_owned(),
            verdict: Verdict::of(&cached, &newest, &log),
            loads,
            cached,
            log,
        })
    }
}
