//! The components that differ between the embedded backend and the one on servers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront::Cdc;
use cachefront::source::ChangeSource;
use cachefront::store::Store;
use simulator_cli::CliError;

use super::admin::NamespaceAdmin;
use super::relay::RelayClient;
use crate::domain::{Database, DbError};
use crate::events::{ChangeSink, EventHub};
use crate::faults::{Faults, SourceFaults};
use crate::kafka_report::Notebook;
use crate::pipeline::StatusStore;

/// Creates change sources.
#[async_trait]
pub(super) trait SourceFactory: fmt::Debug + Send + Sync {
    /// Returns their name in `/pipeline`.
    fn name(&self) -> &'static str;

    /// Returns where a source over the servers' Kafka records its progress and gaps; `None` for other sources.
    fn notebook(&self) -> Option<Arc<Notebook>> {
        None
    }

    /// Returns a source that the inspector follows; `None` if this process follows no log of its own.
    ///
    /// # Errors
    /// A line that says what is wrong.
    fn inspected(&self) -> Result<Option<Box<dyn ChangeSource>>, CliError> {
        Ok(None)
    }

    /// Returns a source that the simulated replica follows.
    ///
    /// # Errors
    /// Those of the source.
    async fn replicated(&self) -> cachefront::Result<Box<dyn ChangeSource>>;

    /// Returns an invalidator over a new source, with the faults that are switched on.
    async fn cdc(&self, faults: &Arc<Faults>) -> Result<Cdc, CliError>;
}

/// Returns an invalidator over `source`. Its gate waits on the primary alone, although loaders may read the simulated replica:
/// what keeps the replica's older rows out of the caches is their fence, or nothing.
pub(super) fn cdc_over(source: impl ChangeSource, faults: &Arc<Faults>) -> Cdc {
    let gate = source.gate();
    let cdc = Cdc::new(SourceFaults::around(source, faults));
    match gate {
        Some(gate) => cdc.gate(gate),
        None => cdc,
    }
}

/// The components that differ between backends.
pub(super) struct Components {
    pub(super) database: Arc<dyn Database>,
    pub(super) store: Arc<dyn Store>,
    pub(super) events: EventHub,
    pub(super) followed: Option<RelayClient>,
    pub(super) sink: Arc<dyn ChangeSink>,
    pub(super) board: Arc<dyn StatusStore>,
    pub(super) hint: String,
    pub(super) keys: Arc<dyn NamespaceAdmin>,
    pub(super) sources: Box<dyn SourceFactory>,
}

/// The error for a database that cannot be used.
pub(super) fn cannot_open(what: &str, error: &DbError) -> CliError {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    CliError::new(format!("{what} cannot be used: {cause}"))
}
