//! A source around another one: only what differs is written.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::event::Batch;
use crate::filter::TableFilter;
use crate::gate::VisibilityGate;
use crate::source::contract::{BatchLimits, ChangeSource, Lead, SourceProbe};

/// What is done around the calls of a source: observing, faults. By default each call is passed on.
///
/// ```
/// use cachefront::async_trait;
/// use cachefront::Result;
/// use cachefront::event::Batch;
/// use cachefront::source::{BatchLimits, ChangeSource, LayeredSource, SourceLayer};
///
/// /// Counts the transactions.
/// #[derive(Debug, Default)]
/// struct Count(usize);
///
/// #[async_trait]
/// impl SourceLayer for Count {
///     async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
///         let batch = source.next_batch(limits).await?;
///         self.0 += batch.transactions.len();
///         Ok(batch)
///     }
/// }
///
/// fn counted(source: impl ChangeSource) -> impl ChangeSource {
///     LayeredSource::around(source, Count::default())
/// }
/// ```
#[async_trait]
pub trait SourceLayer: fmt::Debug + Send + 'static {
    /// Around [`ChangeSource::preflight`].
    ///
    /// # Errors
    /// Those of the source, and the layer's own.
    async fn preflight(&mut self, source: &mut dyn ChangeSource, filter: &TableFilter) -> Result<Vec<String>> {
        source.preflight(filter).await
    }

    /// Around [`ChangeSource::open`].
    ///
    /// # Errors
    /// Those of the source, and the layer's own.
    async fn open(&mut self, source: &mut dyn ChangeSource, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        source.open(from, filter).await
    }

    /// Around [`ChangeSource::next_batch`].
    ///
    /// # Cancel safety
    /// Must be cancel safe: a batch that was taken from the source is returned, without a wait in between, or kept.
    ///
    /// # Errors
    /// Those of the source, and the layer's own.
    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        source.next_batch(limits).await
    }

    /// Around [`ChangeSource::acknowledge`].
    ///
    /// # Errors
    /// Those of the source, and the layer's own.
    async fn acknowledge(&mut self, source: &mut dyn ChangeSource, checkpoint: &Checkpoint) -> Result<()> {
        source.acknowledge(checkpoint).await
    }
}

/// A source whose calls pass a [`SourceLayer`].
#[derive(Debug)]
pub struct LayeredSource<L> {
    inner: Box<dyn ChangeSource>,
    layer: L,
}

impl<L: SourceLayer> LayeredSource<L> {
    /// Wraps a source.
    pub fn around(source: impl ChangeSource, layer: L) -> Self {
        Self { inner: Box::new(source), layer }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: SourceLayer> ChangeSource for LayeredSource<L> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.layer.preflight(&mut *self.inner, filter).await
    }

    async fn lead(&mut self) -> Result<Lead> {
        self.inner.lead().await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.layer.open(&mut *self.inner, from, filter).await
    }

    fn origin(&self) -> Option<Box<str>> {
        self.inner.origin()
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        self.layer.next_batch(&mut *self.inner, limits).await
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.layer.acknowledge(&mut *self.inner, checkpoint).await
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }

    async fn resign(&mut self) {
        self.inner.resign().await;
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.inner.probe()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.inner.gate()
    }
}
