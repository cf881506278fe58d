//! Follows the log: which keys each change makes stale, and when they are to be checked.

use std::sync::Arc;

use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Change, RowChange, Transaction};
use crate::inspect::compare::Target;
use crate::inspect::convergence::Start;
use crate::inspect::ledger::Cause;
use crate::inspect::state::State;
use crate::mode::InvalidationMode;
use crate::source::{BatchLimits, ChangeSource, TableFilter};

/// Follows the log while it is active, until the sender of `active` is gone.
pub(super) async fn follow(state: Arc<State>, mut source: Box<dyn ChangeSource>, mut active: watch::Receiver<bool>) {
    let mut filter = TableFilter::new();
    for watch in &state.comparer.watches {
        filter.merge(&watch.table_filter());
    }
    let mut backoff = Backoff::new(state.settings.retry_min, state.settings.retry_max);
    while active.wait_for(|active| *active).await.is_ok() {
        let mut over = false;
        let ended = tokio::select! {
            paused = active.wait_for(|active| !*active) => {
                over = paused.is_err();
                None
            }
            error = session(&state, &mut *source, &filter, &mut backoff) => Some(error),
        };
        source.close().await;
        state.stop_following();
        if over {
            return;
        }
        if let Some(error) = ended {
            tracing::warn!(error = %error.chain(), "the inspector's change source failed; it is opened again");
            state.failed(error);
            let pause = backoff.pause(&*state.comparer.clock, &*state.entropy);
            if is_left_during(&mut active, pause).await {
                return;
            }
        }
    }
}

/// Waits for `pause`, or until the inspector is paused. Returns true if it was shut down.
async fn is_left_during(active: &mut watch::Receiver<bool>, pause: impl Future<Output = ()>) -> bool {
    tokio::select! {
        gone = async { active.wait_for(|active| !*active).await.is_err() } => gone,
        () = pause => false,
    }
}

/// Reads the log from its end on, until an error.
async fn session(state: &State, source: &mut dyn ChangeSource, filter: &TableFilter, backoff: &mut Backoff) -> Error {
    match read(state, source, filter, backoff).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn read(
    state: &State,
    source: &mut dyn ChangeSource,
    filter: &TableFilter,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible> {
    let settings = &state.settings;
    for warning in source.preflight(filter).await? {
        tracing::info!(%warning, "the inspector's change source");
    }
    let head = source.probe().head().await?;
    source.open(&head.checkpoint, filter).await?;
    if source.origin().is_some_and(|origin| origin != head.origin) {
        return Err(Error::new(ErrorKind::Gap, "the log comes from another server than its end"));
    }
    state.ledger().begin(head.checkpoint.position);
    tracing::debug!("the inspector follows the log");
    let limits = BatchLimits {
        changes_max: settings.batch_changes_max,
        bytes_max: settings.batch_bytes_max,
        wait_max: settings.retry_max,
        linger_max: std::time::Duration::ZERO,
    };
    loop {
        let batch = source.next_batch(&limits).await?;
        backoff.reset();
        record(state, &batch);
    }
}

/// Records a batch, and plans the checks of its keys.
fn record(state: &State, batch: &Batch) {
    for transaction in &batch.transactions {
        for change in &transaction.changes {
            match change {
                Change::Row(row) => record_row(state, transaction, row),
                // All entries of a table's caches are flushed for it; which keys had changed is not known.
                Change::Tables { .. } => state.ledger().record_unknown(&transaction.gtid),
            }
        }
    }
    state.ledger().advance(&batch.checkpoint.position);
    state.judge_open();
}

fn record_row(state: &State, transaction: &Transaction, row: &RowChange) {
    let now = state.comparer.clock.now();
    let committed_at = if transaction.committed_at.is_known() { transaction.committed_at } else { now };
    let start = Start::of(transaction.committed_at, now);
    let cause = Cause {
        gtid: transaction.gtid.clone(),
        table: row.table.clone(),
        operation: row.operation.as_str(),
        committed_at,
    };
    for (index, watch) in state.comparer.watches.iter().enumerate() {
        // A change that cannot be mapped flushes its cache, so which keys it had is of no importance.
        let Ok(named) = watch.keys(row) else {
            state.ledger().record_unknown(&transaction.gtid);
            continue;
        };
        if !named.complete {
            state.ledger().record_unknown(&transaction.gtid);
        }
        for subject in named.subjects {
            state.ledger().record(&subject.key, cause.clone());
            if watch.mode() == InvalidationMode::Cdc {
                state.plan(&Target { watch: index, subject }, &cause, start);
            }
        }
    }
}
