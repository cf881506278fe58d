//! Registers and supervises Debezium's MySQL connector in Kafka Connect.
//!
//! - [`ConnectorConfig`] is a tested configuration of the connector for [`KafkaSource`](crate::KafkaSource);
//! - [`ConnectClient`] registers it over [Kafka Connect's REST interface], and waits until it runs;
//! - [`Watchdog`] follows the connector and restarts tasks that failed;
//! - [`Redactor`] hides secrets in everything that Kafka Connect returns.
//!
//! Passwords appear neither in `Debug` output nor in logs or errors.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use cachefront::kafka::connect::{ConnectClient, ConnectorConfig, Watchdog, WatchdogSettings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ConnectorConfig::new("shop", "shop", "kafka:9092")
//!     .server("mysql", 3306)
//!     .credentials("debezium", "secret")
//!     .table("users");
//! let client = ConnectClient::builder("http://connect:8083").redactor(config.redactor()).build()?;
//! client.register("shop", &config, Duration::from_secs(60)).await?;
//! client.wait_until_running("shop", Duration::from_secs(60)).await?;
//!
//! let (watchdog, task) =
//!     Watchdog::spawn(client, "shop", WatchdogSettings::default(), async { drop(tokio::signal::ctrl_c().await) });
//! let mut states = watchdog.watch();
//! while states.changed().await.is_ok() {
//!     println!("{}", *states.borrow_and_update());
//! }
//! task.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! `connect` speaks HTTP only; `connect-tls` adds HTTPS by the OpenSSL that librdkafka links already.
//!
//! [Kafka Connect's REST interface]: https://kafka.apache.org/documentation/#connect_rest

mod client;
mod config;
mod error;
mod launch;
mod redact;
mod status;
mod watchdog;

pub use client::{ConnectClient, ConnectClientBuilder, Registered};
pub use config::ConnectorConfig;
pub use error::ConnectError;
pub use redact::Redactor;
pub use status::{ConnectorStatus, PartStatus};
pub use watchdog::{ConnectorState, TaskState, Watchdog, WatchdogSettings};
