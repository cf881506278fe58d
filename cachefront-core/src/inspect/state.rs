//! What the inspector's tasks share, and what they do with an entry that differs.
//!
//! Checks, reviews and passes are tasks of their own: none delays another one. Each can be dropped at any time, when the inspector is
//! paused or shut down.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;

use crate::clock::{Entropy, Timestamp};
use crate::error::{Error, Result};
use crate::inspect::compare::{Compared, Comparer, Suspect, Target};
use crate::inspect::convergence::{Check, Checks, Outcome, Start};
use crate::inspect::ledger::{Cause, Ledger, Standing};
use crate::inspect::report::{Finding, InspectReport};
use crate::inspect::verdict::{Facts, StaleKind, classify};
use crate::key::StoreKey;
use crate::metrics::InspectMetrics;
use crate::mode::InvalidationMode;
use crate::position::Position;
use crate::settings::InspectSettings;

/// The longest pause between two reviews of a suspect: one that stays is reviewed after a quarter of its age.
const REVIEW_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A suspect that is still in the cache, as far as is known.
#[derive(Clone)]
struct Held {
    suspect: Suspect,
    since: Timestamp,
    /// When it is reviewed next.
    review_at: Timestamp,
    /// True once it was reported as stale for good.
    reported: bool,
}

/// What was found so far.
#[derive(Default)]
struct Log {
    findings: VecDeque<Finding>,
    repairs: u64,
    last_error: Option<Error>,
}

pub(super) struct State {
    pub(super) comparer: Comparer,
    pub(super) settings: InspectSettings,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) metrics: InspectMetrics,
    ledger: Mutex<Ledger>,
    checks: Mutex<Checks>,
    suspects: Mutex<HashMap<StoreKey, Held>>,
    log: Mutex<Log>,
    /// Notified when a check is planned.
    planned: Notify,
    /// Notified when there is a new suspect.
    suspected: Notify,
}

/// A check that has begun. Without an outcome, because the inspector was paused or shut down meanwhile, it is undecided.
struct Begun<'a> {
    state: &'a State,
    check: Option<Check>,
}

impl Begun<'_> {
    fn settle(mut self, outcome: Outcome) {
        self.check.take().into_iter().for_each(|check| self.state.settle(check, outcome));
    }

    /// Lets the check wait until the log was read up to `head`.
    fn suspend(mut self, head: Position) {
        self.check.take().into_iter().for_each(|check| lock(&self.state.checks).suspend(check, head.clone()));
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.check.take().into_iter().for_each(|check| self.state.settle(check, Outcome::Undecided));
    }
}

/// A finding that is being repaired. If the repair is not completed, because it failed or the inspector was paused meanwhile, the next
/// review reports it again.
struct Unfinished<'a>(&'a State, Option<&'a StoreKey>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.1
            && let Some(held) = lock(&self.0.suspects).get_mut(key)
        {
            held.reported = false;
        }
    }
}

/// No code panics while it holds one of the locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(comparer: Comparer, entropy: Arc<dyn Entropy>, metrics: InspectMetrics) -> Self {
        let settings = comparer.settings;
        Self {
            comparer,
            settings,
            entropy,
            metrics,
            ledger: Mutex::new(Ledger::new(settings.keys_max)),
            checks: Mutex::new(Checks::new(settings.checks_max, settings.findings_max)),
            suspects: Mutex::default(),
            log: Mutex::default(),
            planned: Notify::new(),
            suspected: Notify::new(),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn failed(&self, error: Error) {
        lock(&self.log).last_error = Some(error);
    }

    /// Plans the checks of a changed key.
    pub(super) fn plan(&self, target: &Target, cause: &Cause, start: Start) {
        lock(&self.checks).plan(target, cause, start);
        self.planned.notify_one();
    }

    /// The log is no longer followed: what waits for it is not decided.
    pub(super) fn stop_following(&self) {
        self.ledger().end();
        let checks = lock(&self.checks).take_all();
        for check in checks {
            self.settle(check, Outcome::Undecided);
        }
    }

    fn settle(&self, check: Check, outcome: Outcome) {
        self.metrics.checked(check.horizon, outcome.as_str());
        lock(&self.checks).settle(check, outcome);
    }

    /// Judges the differences that waited for the log.
    pub(super) fn judge_open(&self) {
        let judged = lock(&self.checks).take_judged(&self.ledger());
        for (check, outcome) in judged {
            self.settle(check, outcome);
        }
    }

    /// Runs each check when it is due. Never completes.
    ///
    /// # Cancel safety
    /// Cancel safe: checks that have begun are undecided.
    pub(super) async fn check(&self) {
        loop {
            let due = lock(&self.checks).next_due();
            tokio::select! {
                () = self.planned.notified() => {}
                () = self.sleep_until(due) => self.run_checks().await,
            }
        }
    }

    /// Waits until this time; forever if there is none.
    async fn sleep_until(&self, time: Option<Timestamp>) {
        match time {
            Some(time) => self.comparer.clock.sleep(time.since(self.comparer.clock.now())).await,
            None => std::future::pending().await,
        }
    }

    /// Runs the checks that are due. Each is taken when it begins, so that a slow database makes those behind it late.
    async fn run_checks(&self) {
        let due = std::iter::from_fn(|| lock(&self.checks).pop_due(self.comparer.clock.now()));
        stream::iter(due).for_each_concurrent(self.settings.loads_max, |check| self.run_check(check)).await;
        self.judge_open();
    }

    /// Runs one check. One that begins late is not counted, so it costs no load: after an outage of the database, or behind a burst of
    /// changes, this lets the others begin in time.
    async fn run_check(&self, check: Check) {
        let begun = Begun { state: self, check: Some(check.clone()) };
        if self.ledger().is_superseded(&check.target.subject.key, &check.cause.gtid) {
            return begun.settle(Outcome::Superseded);
        }
        if check.is_late(self.comparer.clock.now()) {
            return begun.settle(Outcome::Undecided);
        }
        let compared = match self.comparer.compare(check.target.clone(), Some(&check.cause.gtid)).await {
            Ok(compared) => Some(compared),
            Err(error) => {
                self.failed(error);
                None
            }
        };
        match compared {
            Some((Compared::Differs(suspect), at)) => {
                let head = suspect.head.clone().filter(|_| !check.is_late(at));
                self.hold(*suspect);
                match head {
                    Some(head) => begun.suspend(head),
                    None => begun.settle(Outcome::Undecided),
                }
            }
            Some((Compared::Consistent, at)) if !check.is_late(at) => begun.settle(Outcome::Consistent),
            _ => begun.settle(Outcome::Undecided),
        }
    }

    /// Remembers a suspect. What is known of the same entry from before stays, because its end of the log is the older one, unless the
    /// key was changed since: the newest change must be one that the row may contain.
    pub(super) fn hold(&self, suspect: Suspect) {
        let mut suspects = lock(&self.suspects);
        let key = suspect.target.subject.key.clone();
        let full = suspects.len() >= self.settings.suspects_max;
        if let Some(held) = suspects.get_mut(&key) {
            if held.suspect.entry.id == suspect.entry.id {
                let ledger = self.ledger();
                let has_newest = |suspect: &Suspect| {
                    let newest = ledger.newest(&key);
                    newest.is_none_or(|gtid| suspect.head.as_ref().is_some_and(|head| head.contains(gtid)))
                };
                if has_newest(&held.suspect) || !has_newest(&suspect) {
                    held.suspect.entry = suspect.entry;
                } else {
                    held.suspect = suspect;
                }
                return;
            }
        } else if full {
            return;
        }
        let since = self.comparer.clock.now();
        suspects.insert(key, Held { suspect, since, review_at: since.after(self.settings.grace), reported: false });
        self.suspected.notify_one();
    }

    /// Reviews suspects: forgets those that are gone, and reports those that are stale for good. Never completes.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not reviewed is reviewed later.
    pub(super) async fn review(&self) {
        loop {
            let next = lock(&self.suspects).values().map(|held| held.review_at).min();
            tokio::select! {
                () = self.suspected.notified() => {}
                () = self.sleep_until(next) => {
                    let due = self.take_reviews(self.comparer.clock.now());
                    stream::iter(due)
                        .for_each_concurrent(self.settings.peeks_max, |suspect| self.review_one(suspect))
                        .await;
                }
            }
        }
    }

    /// Returns the suspects that are to be reviewed now. Those that stay are reviewed less often, whatever their number: a store from
    /// which nothing is invalidated has other work.
    fn take_reviews(&self, now: Timestamp) -> Vec<Suspect> {
        let grace = self.settings.grace;
        let mut suspects = lock(&self.suspects);
        let due = suspects.values_mut().filter(|held| held.review_at <= now);
        due.map(|held| {
            let pause = (now.since(held.since) / 4).min(REVIEW_PAUSE_MAX).max(grace);
            held.review_at = now.after(pause);
            held.suspect.clone()
        })
        .collect()
    }

    /// Peeks at a suspect again.
    async fn review_one(&self, suspect: Suspect) {
        match self.comparer.again(suspect.clone()).await {
            Ok(None) => self.forget(&suspect),
            Ok(Some(suspect)) => {
                self.hold(suspect.clone());
                self.report(&suspect).await;
            }
            Err(error) => self.failed(error),
        }
    }

    /// Forgets a suspect whose entry is gone.
    fn forget(&self, suspect: &Suspect) {
        let mut suspects = lock(&self.suspects);
        if suspects.get(&suspect.target.subject.key).is_some_and(|held| held.suspect.entry.id == suspect.entry.id) {
            suspects.remove(&suspect.target.subject.key);
        }
    }

    /// Classifies a suspect, and returns what is reported of it. One that is stale for good is logged, counted and, if so
    /// configured, removed; once.
    pub(super) async fn report(&self, suspect: &Suspect) -> Finding {
        let key = &suspect.target.subject.key;
        let (since, head, row_has_fill, reported) = match lock(&self.suspects).get(key) {
            Some(held) => (held.since, held.suspect.head.clone(), held.suspect.row_has_fill, held.reported),
            None => (self.comparer.clock.now(), suspect.head.clone(), suspect.row_has_fill, false),
        };
        let mode = self.comparer.mode(&suspect.target);
        let standing = head.as_ref().map_or(Standing::Behind, |head| self.ledger().standing(key, head));
        let facts = Facts {
            mode,
            applied: suspect.entry.applied.as_ref(),
            loaded: suspect.entry.loaded.as_ref(),
            head: head.as_ref(),
            row_has_fill,
        };
        let (kind, cause) = classify(&facts, standing);
        let cache = self.comparer.watch(&suspect.target).map(|watch| watch.cache().into()).unwrap_or_default();
        let mut finding = Finding {
            cache,
            key: key.clone(),
            kind,
            cause,
            loaded: suspect.entry.loaded.clone(),
            applied: suspect.entry.applied.clone(),
            ttl: suspect.entry.ttl,
            since,
            repaired: false,
            entry: Arc::clone(&suspect.entry.value),
            row: Arc::clone(&suspect.row),
        };
        if kind.is_final() && !reported {
            self.note(suspect, &mut finding).await;
        }
        finding
    }

    /// Logs, counts and repairs an entry that is stale for good.
    async fn note(&self, suspect: &Suspect, finding: &mut Finding) {
        let cause = finding.cause.as_ref().map(|cause| cause.gtid.to_string());
        tracing::error!(
            cache = %finding.cache,
            key = %finding.key,
            kind = finding.kind.as_str(),
            cause = cause.as_deref().unwrap_or("unknown"),
            "a cached entry is stale, and no invalidation will remove it"
        );
        self.metrics.found(&finding.cache, finding.kind.as_str());
        if let Some(held) = lock(&self.suspects).get_mut(&finding.key) {
            held.reported = true;
        }
        if self.settings.repair {
            let mut unfinished = Unfinished(self, Some(&finding.key));
            match self.repair(&suspect.target).await {
                Ok(()) => {
                    unfinished.1 = None;
                    finding.repaired = true;
                    self.metrics.repaired(&finding.cache);
                    self.forget(suspect);
                }
                Err(error) => {
                    tracing::warn!(key = %finding.key, error = %error.chain(), "the stale entry cannot be removed yet");
                    self.failed(error);
                }
            }
        }
        let mut log = lock(&self.log);
        log.repairs += u64::from(finding.repaired);
        if log.findings.len() >= self.settings.findings_max {
            log.findings.pop_front();
        }
        log.findings.push_back(finding.clone());
    }

    async fn repair(&self, target: &Target) -> Result<()> {
        self.comparer.watch(target)?.invalidate(&target.subject).await
    }

    /// True if the suspect's cache is kept correct by the log: an invalidation may be in progress.
    pub(super) fn may_be_in_progress(&self, suspect: &Suspect) -> bool {
        self.comparer.mode(&suspect.target) == InvalidationMode::Cdc
    }

    pub(super) fn summary(&self) -> InspectReport {
        let checks = lock(&self.checks);
        let log = lock(&self.log);
        InspectReport {
            convergence: checks.counts,
            misses: checks.misses.iter().cloned().collect(),
            unchecked: checks.unchecked,
            findings: log.findings.iter().cloned().collect(),
            repairs: log.repairs,
            followed: self.ledger().upto().cloned(),
            last_error: log.last_error.clone(),
        }
    }
}

/// The number of findings of each kind, in the order of [`StaleKind::ALL`].
pub(super) fn by_kind(findings: &[Finding]) -> [u64; StaleKind::ALL.len()] {
    StaleKind::ALL.map(|kind| findings.iter().filter(|finding| finding.kind == kind).count() as u64)
}
