//! What the inspector's tasks share, and what they do with an entry that differs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Entropy, Timestamp};
use crate::error::{Error, Result};
use crate::inspect::compare::{Compared, Comparer, Suspect, Target};
use crate::inspect::convergence::{Check, Checks, Outcome};
use crate::inspect::ledger::{Cause, Ledger, Standing};
use crate::inspect::report::{Finding, InspectReport};
use crate::inspect::verdict::{Facts, StaleKind, classify};
use crate::key::StoreKey;
use crate::metrics::InspectMetrics;
use crate::mode::InvalidationMode;
use crate::settings::InspectSettings;

/// A suspect that is still in the cache, as far as is known.
#[derive(Clone)]
struct Held {
    suspect: Suspect,
    since: Timestamp,
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
    pub(super) planned: Notify,
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
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn failed(&self, error: Error) {
        lock(&self.log).last_error = Some(error);
    }

    /// Plans the checks of a changed key.
    pub(super) fn plan(&self, target: &Target, cause: &Cause) {
        lock(&self.checks).plan(target, cause);
        self.planned.notify_one();
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        lock(&self.checks).next_due()
    }

    pub(super) fn has_suspects(&self) -> bool {
        !lock(&self.suspects).is_empty()
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

    /// Runs the checks that are due.
    pub(super) async fn run_checks(&self) {
        use futures_util::stream::{self, StreamExt};
        let due = lock(&self.checks).take_due(self.comparer.clock.now());
        stream::iter(due)
            .for_each_concurrent(self.settings.loads_max, |(check, late)| self.run_check(check, late))
            .await;
        self.judge_open();
    }

    async fn run_check(&self, check: Check, late: bool) {
        if self.ledger().is_superseded(&check.target.subject.key, &check.cause.gtid) {
            return self.settle(check, Outcome::Superseded);
        }
        let compared = self.comparer.compare(check.target.clone(), Some(&check.cause.gtid)).await;
        match compared {
            Ok(Compared::Differs(suspect)) => {
                let head = suspect.head.clone().filter(|_| !late);
                self.hold(*suspect);
                match head {
                    Some(head) => lock(&self.checks).suspend(check, head),
                    None => self.settle(check, Outcome::Undecided),
                }
            }
            Ok(Compared::Consistent) if !late => self.settle(check, Outcome::Consistent),
            Ok(_) => self.settle(check, Outcome::Undecided),
            Err(error) => {
                self.failed(error);
                self.settle(check, Outcome::Undecided);
            }
        }
    }

    /// Remembers a suspect. What is known of the same entry from before stays: its end of the log is the older one.
    pub(super) fn hold(&self, suspect: Suspect) {
        let mut suspects = lock(&self.suspects);
        let key = suspect.target.subject.key.clone();
        let full = suspects.len() >= self.settings.suspects_max;
        let held = suspects.get_mut(&key);
        if let Some(held) = held {
            if held.suspect.entry.id == suspect.entry.id {
                held.suspect.entry = suspect.entry;
                return;
            }
        } else if full {
            return;
        }
        let since = self.comparer.clock.now();
        suspects.insert(key, Held { suspect, since, reported: false });
    }

    /// Peeks at every suspect again: forgets those that are gone, and reports those that are stale for good.
    pub(super) async fn review(&self) {
        let held: Vec<Suspect> = lock(&self.suspects).values().map(|held| held.suspect.clone()).collect();
        for suspect in held {
            match self.comparer.again(suspect.clone()).await {
                Ok(None) => self.forget(&suspect),
                Ok(Some(suspect)) => {
                    self.hold(suspect.clone());
                    self.report(&suspect).await;
                }
                Err(error) => self.failed(error),
            }
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
        let (since, head, reported) = match lock(&self.suspects).get(key) {
            Some(held) => (held.since, held.suspect.head.clone(), held.reported),
            None => (self.comparer.clock.now(), suspect.head.clone(), false),
        };
        let mode = self.comparer.mode(&suspect.target);
        let standing = head.as_ref().map_or(Standing::Behind, |head| self.ledger().standing(key, head));
        let facts = Facts {
            mode,
            applied: suspect.entry.applied.as_ref(),
            loaded: suspect.entry.loaded.as_ref(),
            head: head.as_ref(),
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
            match self.repair(&suspect.target).await {
                Ok(()) => {
                    finding.repaired = true;
                    self.metrics.repaired(&finding.cache);
                    self.forget(suspect);
                }
                Err(error) => {
                    tracing::warn!(key = %finding.key, error = %error.chain(), "the stale entry cannot be removed yet");
                    self.failed(error);
                    if let Some(held) = lock(&self.suspects).get_mut(&finding.key) {
                        held.reported = false;
                    }
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
