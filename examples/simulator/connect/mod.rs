//! Debezium's connector: registered, waited for, and followed.
//!
//! - [`template`]: `connector.json` with its places filled; what each line is for stands in `docs/connector.md`;
//! - [`rest`]: what is said to Kafka Connect;
//! - [`bootstrap`]: registers the connector and waits until it runs;
//! - [`watchdog`]: follows its tasks and starts those again that failed.

mod bootstrap;
mod redact;
mod rest;
mod template;
mod watchdog;

pub(crate) use bootstrap::bootstrap;
#[expect(unused_imports, reason = "for whoever shows or presses the connector's state")]
pub(crate) use watchdog::{ConnectorState, Watchdog, WatchdogSettings};
