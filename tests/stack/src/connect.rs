//! How a Kafka Connect worker of the stack is started.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::jvm;

/// The class that runs a worker.
pub const CLASS: &str = "org.apache.kafka.connect.cli.ConnectDistributed";

/// Writes the settings of a worker that keeps its state in topics that begin with `group`, and returns their file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_config(dir: &Path, port: u16, brokers: &str, group: &str, plugins: &Path) -> io::Result<PathBuf> {
    let json = "org.apache.kafka.connect.json.JsonConverter";
    let mut properties = vec![
        ("bootstrap.servers", brokers.to_owned()),
        ("group.id", group.to_owned()),
        ("config.storage.topic", format!("{group}-configs")),
        ("offset.storage.topic", format!("{group}-offsets")),
        ("status.storage.topic", format!("{group}-status")),
        ("key.converter", json.to_owned()),
        ("value.converter", json.to_owned()),
        ("listeners", format!("http://127.0.0.1:{port}")),
        ("plugin.path", plugins.display().to_string()),
    ];
    let fixed = "key.converter.schemas.enable=false value.converter.schemas.enable=false \
        config.storage.replication.factor=1 offset.storage.replication.factor=1 status.storage.replication.factor=1 \
        offset.storage.partitions=1 status.storage.partitions=1 offset.flush.interval.ms=1000 \
        rest.advertised.host.name=127.0.0.1 plugin.discovery=service_load \
        connector.client.config.override.policy=All topic.creation.enable=true scheduled.rebalance.max.delay.ms=0";
    properties.extend(
        fixed.split_whitespace().filter_map(|line| line.split_once('=')).map(|(name, value)| (name, value.to_owned())),
    );
    jvm::write_properties(&dir.join("connect.properties"), &properties)
}
