//! How a Kafka broker of the stack is started.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{jvm, mysql::copy_data, port};

/// The class that runs a broker.
pub const CLASS: &str = "kafka.Kafka";

/// A broker's two ports of 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Where clients connect.
    pub broker: u16,
    /// Where the broker's own controller listens.
    pub controller: u16,
}

impl Ports {
    /// Two free ones.
    pub fn free() -> Self {
        Self { broker: port::free(), controller: port::free() }
    }
}

/// Writes the settings of a broker that is its own controller and writes below `dir` only, and returns their file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_config(dir: &Path, ports: Ports, extra: &[String]) -> io::Result<PathBuf> {
    let Ports { broker, controller } = ports;
    let mut properties = vec![
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{broker}")),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
        ("log.dirs", data_of(dir).display().to_string()),
    ];
    let one = ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"];
    let replication = one.map(|topic| format!("{topic}.replication.factor"));
    properties.extend(replication.iter().map(|name| (name.as_str(), "1".to_owned())));
    let fixed = "num.partitions=1 default.replication.factor=1 offsets.topic.num.partitions=4 \
        transaction.state.log.min.isr=1 transaction.state.log.num.partitions=4 \
        share.coordinator.state.topic.min.isr=1 group.initial.rebalance.delay.ms=0 log.segment.bytes=67108864 \
        log.cleaner.dedupe.buffer.size=8388608 num.network.threads=2 num.io.threads=2 auto.create.topics.enable=true \
        delete.topic.enable=true";
    let others = fixed.split_whitespace().chain(extra.iter().map(String::as_str));
    properties.extend(others.filter_map(|line| line.split_once('=')).map(|(name, value)| (name, value.to_owned())));
    jvm::write_properties(&dir.join("broker.properties"), &properties)
}

/// Puts the formatted, empty logs of `template` below `dir`.
///
/// # Errors
/// If a file cannot be copied.
pub fn copy_template(template: &Path, dir: &Path) -> io::Result<()> {
    copy_data(template, &data_of(dir))
}

/// Folder of the logs below a broker's folder.
pub fn data_of(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// True if the broker's log says that it leads and takes requests.
pub fn is_ready(log: &str) -> bool {
    log.contains("Kafka Server started")
}
