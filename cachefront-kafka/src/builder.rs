//! Setting up a source.

use std::fmt;

use cachefront_core::Result;
use cachefront_core::event::TableName;
use cachefront_core::source::ChangeSource;
use rdkafka::ClientConfig;

use crate::brokers::Brokers;
use crate::config::{KafkaSettings, invalid};
use crate::decode::{ColumnType, DecoderSettings, Form};
use crate::probe::{KafkaProbe, Shared};
use crate::scope::ControlTopics;
use crate::source::KafkaSource;
use crate::topics::{Topics, transaction_topic};

/// What a source is made of.
pub(crate) struct Parts {
    pub(crate) brokers: String,
    pub(crate) prefix: String,
    pub(crate) group: Option<String>,
    pub(crate) control: ControlTopics,
    pub(crate) marker: Option<(TableName, Box<str>)>,
    pub(crate) client: ClientConfig,
    pub(crate) decoder: DecoderSettings,
    pub(crate) settings: KafkaSettings,
    /// Answers for the server behind the connector: its head, its gate, its settings. Never opened.
    pub(crate) database: Box<dyn ChangeSource>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's settings hold passwords.
        f.debug_struct("Parts")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("group", &self.group)
            .field("marker", &self.marker)
            .field("settings", &self.settings)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`KafkaSource`].
#[must_use]
pub struct KafkaSourceBuilder {
    brokers: String,
    prefix: String,
    group: Option<String>,
    topics: Result<Topics>,
    transaction_topic: Option<String>,
    marker: Option<(TableName, Box<str>)>,
    client: Vec<(String, String)>,
    decoder: DecoderSettings,
    settings: KafkaSettings,
}

impl fmt::Debug for KafkaSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's settings hold passwords.
        f.debug_struct("KafkaSourceBuilder")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("group", &self.group)
            .field("marker", &self.marker)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// Begins to set up a source that reads what a Debezium connector of this `topic.prefix` writes.
    ///
    /// `brokers` are addresses as librdkafka takes them: `kafka-1:9092,kafka-2:9092`.
    pub fn builder(brokers: impl Into<String>, topic_prefix: impl Into<String>) -> KafkaSourceBuilder {
        KafkaSourceBuilder {
            brokers: brokers.into(),
            prefix: topic_prefix.into(),
            group: None,
            topics: Ok(Topics::Listed(Vec::new())),
            transaction_topic: None,
            marker: None,
            client: Vec::new(),
            decoder: DecoderSettings::default(),
            settings: KafkaSettings::default(),
        }
    }
}

impl KafkaSourceBuilder {
    /// Lets the members of this consumer group agree who reads; the others wait, and take over when it falls silent.
    /// Offsets are committed in the group's name.
    /// Default: no group; the store's term decides, and nothing is committed.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The topics to read, where they are not named after the tables (routed topics). The topics of transactions and of
    /// schema changes must be among them; without the first one [`build`](Self::build) fails. Topics that do not exist yet are read as soon as they do.
    /// Default: those that the connector writes for the mapped tables, and the two named above.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = Ok(Topics::Listed(topics.into_iter().map(Into::into).collect()));
        self
    }

    /// Reads all topics whose whole name matches this regular expression, those that are made later too.
    /// Default: see [`topics`](Self::topics).
    pub fn topic_pattern(mut self, pattern: &str) -> Self {
        self.topics = Topics::pattern(pattern);
        self
    }

    /// The topic of transactions' begins and ends. Default: `<topic_prefix>.transaction`.
    pub fn transaction_topic(mut self, topic: impl Into<String>) -> Self {
        self.transaction_topic = Some(topic.into());
        self
    }

    /// A table, `database.table`, and a column of it, into which somebody writes `@@GLOBAL.gtid_executed` about every
    /// second: mostly the connector itself, by its `heartbeat.action.query`. Its rows prove that everything in that set
    /// was delivered, also while the database is idle. It must be among the connector's tables.
    /// Default: none; an idle database then proves nothing.
    pub fn marker(mut self, table: &str, column: &str) -> Self {
        self.marker = Some((TableName::from(table), column.into()));
        self
    }

    /// A setting of librdkafka, for TLS and SASL above all: `security.protocol`, `ssl.ca.location`, `sasl.mechanisms`,
    /// `sasl.username`, `sasl.password`. Values are shown nowhere.
    /// Default: librdkafka's own, except for what reading needs.
    pub fn client_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.push((name.into(), value.into()));
        self
    }

    /// How the connector writes its records. Default: [`Form::Envelope`].
    pub fn form(mut self, form: Form) -> Self {
        self.decoder.form = form;
        self
    }

    /// The table of a topic whose records do not name it (flattened rows). Default: none.
    pub fn table_of_topic(mut self, topic: impl Into<String>, table: &str) -> Self {
        self.decoder.tables.insert(topic.into(), TableName::from(table));
        self
    }

    /// The type of a mapped column, `database.table.column`, where JSON without a schema leaves it open, so that keys
    /// are the same as from the binary log: `BIGINT UNSIGNED` above all, which wraps from 2⁶³ on.
    /// Default: as the records have it.
    pub fn column_type(mut self, column: impl Into<String>, of: ColumnType) -> Self {
        self.decoder.columns.insert(column.into(), of);
        self
    }

    /// The numbers that the source is tuned by. Default: [`KafkaSettings::default`].
    pub fn settings(mut self, settings: KafkaSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Makes the source. `database` answers for the server that the connector reads: what it has executed, when commits
    /// can be seen, whether its settings fit. It is never opened; a `BinlogSource` is what you want.
    ///
    /// # Errors
    /// `Config` if a setting is wrong. No server is asked yet.
    pub fn build(self, database: impl ChangeSource) -> Result<KafkaSource> {
        self.settings.validate()?;
        if self.brokers.trim().is_empty() {
            return Err(invalid("`brokers` is empty: give at least one address, such as 127.0.0.1:9092".into()));
        }
        if self.prefix.is_empty() {
            return Err(invalid("`topic_prefix` is empty: give the connector's topic.prefix".into()));
        }
        let transaction_topic = self.transaction_topic.unwrap_or_else(|| transaction_topic(&self.prefix));
        let topics = self.topics?;
        check(&topics, &transaction_topic)?;
        let mut decoder = self.decoder;
        decoder.transaction_topic = Some(transaction_topic.clone());
        decoder.schema_change_topic = Some(self.prefix.clone());
        let client = client(&self.brokers, &self.settings, &self.client);
        let brokers = Brokers::new(&client, self.settings.request_timeout)?;
        let shared = Shared::new(topics);
        let probe = KafkaProbe::new(brokers, shared.clone(), database.probe());
        let parts = Parts {
            brokers: self.brokers,
            group: self.group,
            control: ControlTopics { transactions: transaction_topic, definitions: self.prefix.clone() },
            prefix: self.prefix,
            marker: self.marker,
            client,
            decoder,
            settings: self.settings,
            database: Box::new(database),
        };
        Ok(KafkaSource::new(parts, shared, probe))
    }
}

/// Refuses topics of the user's own choice without the one that tells of transactions.
fn check(topics: &Topics, transactions: &str) -> Result<()> {
    if topics.is_default() || topics.has(transactions) {
        return Ok(());
    }
    Err(invalid(format!(
        "the topics to read leave out {transactions}, which tells when transactions are complete: add it to `topics` or \
         `topic_pattern`, or name another one with `transaction_topic`"
    )))
}

/// What reading needs, and what the user says on top.
fn client(brokers: &str, settings: &KafkaSettings, extra: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "cachefront")
        // The client refuses to assign partitions without one. Nothing joins it.
        .set("group.id", "cachefront-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A place that is gone must be known, not stepped over.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", (settings.fetch_bytes_max / 1024).max(1).to_string())
        .set("queued.min.messages", "100000")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "50")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000");
    for (name, value) in extra {
        config.set(name, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_without_the_one_that_tells_of_transactions_are_refused() {
        let listed = |topics: &[&str]| Topics::Listed(topics.iter().map(|&topic| topic.to_owned()).collect());
        let pattern = |pattern| Topics::pattern(pattern).expect("a pattern");
        for topics in [listed(&[]), listed(&["t.app.users", "t.transaction"]), pattern("t(\\..*)?")] {
            check(&topics, "t.transaction").expect("it is read");
        }
        for topics in [listed(&["t.app.users", "t"]), pattern("t\\.app\\..*")] {
            let error = check(&topics, "t.transaction").expect_err("it is left out").to_string();
            assert!(error.contains("t.transaction") && error.contains("`transaction_topic`"), "{error}");
        }
    }
}
