//! The write side: applies a source's changes to a store, in the one order that cannot leave a stale entry.
//!
//! From the lowest file to the highest: [`control`], [`status`], [`mapped`], [`batch`], [`latency`], [`observer`],
//! [`retries`] and [`watermark`] are the parts; [`worker`] writes to the store, [`begin`] starts a session; [`pump`] runs one session
//! after another, [`standby`] and [`main_loop`] are its phases; [`handle`] and [`cdc`] are the public types.

mod batch;
mod begin;
mod cdc;
mod control;
mod handle;
mod latency;
mod main_loop;
mod mapped;
mod observer;
mod pump;
mod retries;
mod standby;
mod status;
#[cfg(test)]
mod tests;
mod watermark;
mod worker;

pub use batch::AppliedChange;
pub use cdc::Cdc;
pub use handle::CdcHandle;
pub use latency::StageLatency;
pub use observer::{AppliedBatch, CdcObserver};
pub use status::{CdcState, CdcStatus};
