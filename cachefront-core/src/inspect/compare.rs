//! Compares entries with their rows so that what differs was one entry before and after the row was read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::watch::{AnyValue, Entry, PEEKS_MAX, Subject, Watched};
use crate::mode::InvalidationMode;
use crate::position::{Gtid, Position};
use crate::settings::InspectSettings;
use crate::source::SourceProbe;

/// A key, and which of the watched caches it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) watch: usize,
    pub(super) subject: Subject,
}

/// An entry that differs from its row.
#[derive(Clone)]
pub(super) struct Suspect {
    pub(super) target: Target,
    pub(super) entry: Entry,
    pub(super) row: AnyValue,
    /// Contains every commit that the row may contain; `None` if it is not known, and in TTL mode.
    pub(super) head: Option<Position>,
    /// True if the row is known to contain every commit that the entry's fill did; of a loader without positions, if its server did just
    /// after the row was read.
    pub(super) row_has_fill: bool,
}

/// The result of a comparison.
pub(super) enum Compared {
    /// There is no entry, or it equals its row.
    Consistent,
    /// Another entry at every peek, or a row of a replica that may be older than the entry or the change.
    Undecided,
    Differs(Box<Suspect>),
}

/// Reads entries and rows.
pub(super) struct Comparer {
    pub(super) watches: Vec<Arc<dyn Watched>>,
    /// Reads the end of the log; without it, a second load tells what the first one may have read.
    pub(super) probe: Option<Arc<dyn SourceProbe>>,
    pub(super) settings: InspectSettings,
    pub(super) clock: Arc<dyn Clock>,
}

impl Comparer {
    pub(super) fn watch(&self, target: &Target) -> Result<&Arc<dyn Watched>> {
        let missing = || Error::new(ErrorKind::Config, format!("`{}` is in no watched cache", target.subject.key));
        self.watches.get(target.watch).ok_or_else(missing)
    }

    pub(super) async fn peek(&self, target: &Target) -> Result<Option<Entry>> {
        self.watch(target)?.peek(&target.subject).await
    }

    /// Returns the mode of the target's cache; one that is not watched has none.
    pub(super) fn mode(&self, target: &Target) -> InvalidationMode {
        self.watches.get(target.watch).map_or(InvalidationMode::Ttl, |watch| watch.mode())
    }

    /// Peeks at all targets and loads the rows of those that are cached, many at once. Returns the cached ones, and those of
    /// them that seem to differ, which may be a race.
    pub(super) async fn filter(&self, targets: Vec<Target>) -> Result<(Vec<Target>, Vec<Target>)> {
        let peeks =
            targets.into_iter().map(|target| async move { Ok::<_, Error>((self.peek(&target).await?, target)) });
        let mut cached: Vec<Vec<(Subject, Entry)>> = self.watches.iter().map(|_| Vec::new()).collect();
        let mut peeks = stream::iter(peeks).buffer_unordered(self.settings.peeks_max);
        while let Some((entry, target)) = peeks.try_next().await? {
            if let (Some(entry), Some(cached)) = (entry, cached.get_mut(target.watch)) {
                cached.push((target.subject, entry));
            }
        }
        let (mut present, mut differing) = (Vec::new(), Vec::new());
        for (index, (watch, entries)) in self.watches.iter().zip(&cached).enumerate() {
            for chunk in entries.chunks(self.settings.keys_per_load_max) {
                let equal = self.timed(watch.equal_ones(chunk)).await?;
                for ((subject, _), equal) in chunk.iter().zip(equal) {
                    let target = Target { watch: index, subject: subject.clone() };
                    if !equal {
                        differing.push(target.clone());
                    }
                    present.push(target);
                }
            }
        }
        Ok((present, differing))
    }

    /// Compares each target, and returns the results in any order.
    pub(super) async fn compare_all(&self, targets: Vec<Target>) -> Result<Vec<Compared>> {
        let checks = targets.into_iter().map(|target| async { Ok(self.compare(target, None).await?.0) });
        stream::iter(checks).buffer_unordered(self.settings.loads_max).try_collect().await
    }

    /// Compares one entry with its row, and returns with the result when that entry was there. An entry whose fill is known to
    /// contain the change `since` is not stale because of it.
    ///
    /// The time is taken after the entry was read: an entry that is missing, or equals its row, may have become so any time before.
    pub(super) async fn compare(&self, target: Target, since: Option<&Gtid>) -> Result<(Compared, Timestamp)> {
        let watch = self.watch(&target)?;
        let mut before = watch.peek(&target.subject).await?;
        let mut at = self.clock.now();
        for _ in 0..PEEKS_MAX {
            let Some(entry) = before else { return Ok((Compared::Consistent, at)) };
            if since.is_some_and(|gtid| entry.loaded.as_ref().is_some_and(|loaded| loaded.contains(gtid))) {
                return Ok((Compared::Consistent, at));
            }
            let row = self.timed(watch.load(&target.subject)).await?;
            if watch.is_equal(&entry.value, &row.value)? {
                // A row of a replica that lags equals an entry that is as old.
                let has = |gtid| row.position.as_ref().is_some_and(|position| position.contains(gtid));
                let tells = !row.replica || since.is_none_or(has);
                return Ok((if tells { Compared::Consistent } else { Compared::Undecided }, at));
            }
            let covers_fill = |position: &Position| entry.loaded.as_ref().is_some_and(|filled| position.covers(filled));
            if row.replica && !row.position.as_ref().is_some_and(covers_fill) {
                return Ok((Compared::Undecided, at));
            }
            let head = match watch.mode() {
                InvalidationMode::Ttl => None,
                InvalidationMode::Cdc => self.head(watch, &target).await?,
            };
            let row_has_fill = row.position.as_ref().or(head.as_ref()).is_some_and(covers_fill);
            let after = watch.peek(&target.subject).await?;
            // The second one has the newer applied position.
            match after {
                Some(after) if after.id == entry.id => {
                    let suspect = Suspect { target, entry: after, row: row.value, head, row_has_fill };
                    return Ok((Compared::Differs(Box::new(suspect)), at));
                }
                _ => (before, at) = (after, self.clock.now()),
            }
        }
        Ok((Compared::Undecided, at))
    }

    /// Returns a position that contains every commit that a row read before may contain.
    async fn head(&self, watch: &Arc<dyn Watched>, target: &Target) -> Result<Option<Position>> {
        match &self.probe {
            Some(probe) => Ok(Some(self.timed(probe.head()).await?.checkpoint.position)),
            None => Ok(self.timed(watch.load(&target.subject)).await?.position),
        }
    }

    /// Peeks at the entry of a suspect again. Returns `None` if it is gone.
    pub(super) async fn again(&self, mut suspect: Suspect) -> Result<Option<Suspect>> {
        let entry = self.peek(&suspect.target).await?.filter(|entry| entry.id == suspect.entry.id);
        Ok(entry.map(|entry| {
            suspect.entry = entry;
            suspect
        }))
    }

    /// Peeks at the entries of all suspects again, many at once, and returns those that are still there.
    pub(super) async fn all_again(&self, suspects: Vec<Suspect>) -> Result<Vec<Suspect>> {
        let peeks = stream::iter(suspects).map(|suspect| self.again(suspect));
        let found: Vec<_> = peeks.buffer_unordered(self.settings.peeks_max).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Waits for a read of the database, for a bounded time.
    async fn timed<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = read => done,
            () = self.clock.sleep(self.settings.load_timeout) => Err(late(self.settings.load_timeout)),
        }
    }
}

fn late(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the inspector waited {limit:?} for the database"))
}
