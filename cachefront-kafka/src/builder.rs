//! The builder of a source.

use std::fmt;

use cachefront_core::Result;
use cachefront_core::event::TableName;
use cachefront_core::source::ChangeSource;
use rdkafka::ClientConfig;

use crate::brokers::Brokers;
use crate::config::{KafkaSettings, invalid};
use crate::decode::{ColumnType, DecoderSettings, Form};
use crate::probe::{KafkaProbe, SharedView};
use crate::scope::ControlTopics;
use crate::source::{KafkaSource, Parts};
use crate::topics::{Topics, transaction_topic};

/// Builds a [`KafkaSource`].
///
/// ```
/// use cachefront::source::ChangeSource;
/// use cachefront::kafka::{KafkaSettings, KafkaSource};
///
/// /// `mysql` is the server behind the connector: `BinlogSource::connect("mysql://…").await?`
/// fn source(mysql: impl ChangeSource) -> cachefront::Result<KafkaSource> {
///     KafkaSource::builder("kafka-1:9092,kafka-2:9092", "shop")
///         .group("cachefront-shop")
///         .marker("shop.cachefront_heartbeat", "executed")
///         .client_setting("security.protocol", "SASL_SSL")
///         .client_setting("sasl.mechanisms", "SCRAM-SHA-512")
///         .client_setting("sasl.username", "cachefront")
///         .client_setting("sasl.password", "secret")
///         .settings(KafkaSettings::default().with_fetch_bytes_max(4 << 20))
///         .build(mysql)
/// }
/// // No broker is contacted before the source is opened.
/// # let mysql = cachefront::testing::ScriptedSource::new("3e11fa47-71ca-11e1-9e33-c80aa9429562");
/// let source = source(mysql)?;
/// assert_eq!(source.describe(), "Debezium's `shop` on Kafka at kafka-1:9092,kafka-2:9092");
/// # Ok::<(), cachefront::Error>(())
/// ```
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
    never_truncated: bool,
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
    /// Returns a builder for a source that reads the topics of the Debezium connector with this `topic.prefix`.
    ///
    /// `brokers` are addresses for librdkafka's `bootstrap.servers`: `kafka-1:9092,kafka-2:9092`.
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
            never_truncated: false,
            settings: KafkaSettings::default(),
        }
    }
}

impl KafkaSourceBuilder {
    /// Elects one reader among the members of this consumer group; the others wait, and one takes over when the leader
    /// leaves or falls silent. Offsets are committed to the group.
    /// Default: no group; the store's term decides which invalidator works, and no offsets are committed.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the topics to read, if they are not named after the tables ([topic routing]). Include the topics of transactions
    /// and of schema changes: without the former [`build`](Self::build) fails. Topics that do not exist yet are read as
    /// soon as they do.
    /// Default: the topics that the connector writes for the mapped tables, and these two.
    ///
    /// [topic routing]: https://debezium.io/documentation/reference/stable/transformations/topic-routing.html
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = Ok(Topics::Listed(topics.into_iter().map(Into::into).collect()));
        self
    }

    /// Reads all topics whose whole name matches this regular expression, including those that are created later.
    /// Default: see [`topics`](Self::topics).
    pub fn topic_pattern(mut self, pattern: &str) -> Self {
        self.topics = Topics::pattern(pattern);
        self
    }

    /// Sets the topic of the begin and end of transactions. Default: `<topic_prefix>.transaction`.
    pub fn transaction_topic(mut self, topic: impl Into<String>) -> Self {
        self.transaction_topic = Some(topic.into());
        self
    }

    /// Sets a table, `database.table`, and its column into which `@@GLOBAL.gtid_executed` is written about every second,
    /// usually by the connector's own [`heartbeat.action.query`]. Its rows prove that every transaction in that set was
    /// delivered, also while the database is idle. The connector must capture the table.
    /// Default: none; the position then stays behind while the database is idle.
    ///
    /// [`heartbeat.action.query`]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-property-heartbeat-action-query
    pub fn marker(mut self, table: &str, column: &str) -> Self {
        self.marker = Some((TableName::from(table), column.into()));
        self
    }

    /// Sets a [configuration property of librdkafka], for example for TLS and SASL: `security.protocol`, `ssl.ca.location`,
    /// `sasl.mechanisms`, `sasl.username`, `sasl.password`. Values do not appear in `Debug` output, logs or errors.
    /// Properties that gap detection depends on are rejected by [`build`](Self::build): `auto.offset.reset`,
    /// `enable.auto.commit`, `enable.auto.offset.store`, `enable.partition.eof`, `allow.auto.create.topics` and
    /// `topic.blacklist`. `enable.ssl.certificate.verification=false` and `ssl.endpoint.identification.algorithm=none` turn off the
    /// check of the brokers' certificates, which is logged as a warning.
    /// Default: librdkafka's own, except for those that the source depends on.
    ///
    /// [configuration property of librdkafka]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    pub fn client_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.push((name.into(), value.into()));
        self
    }

    /// Sets how the connector writes its records. Default: [`Form::Envelope`].
    pub fn form(mut self, form: Form) -> Self {
        self.decoder.form = form;
        self
    }

    /// Sets the table, `database.table`, of a topic whose records do not name it (flattened rows). Default: none.
    pub fn table_of_topic(mut self, topic: impl Into<String>, table: &str) -> Self {
        self.decoder.tables.insert(topic.into(), table.to_owned());
        self
    }

    /// Sets the type of a mapped column, `database.table.column`, if JSON without a schema is ambiguous, so that keys equal
    /// those from the binary log. Needed mainly for `BIGINT UNSIGNED`, which wraps from 2⁶³ on.
    /// Default: the type in the records.
    pub fn column_type(mut self, column: impl Into<String>, of: ColumnType) -> Self {
        self.decoder.columns.insert(column.into(), of);
        self
    }

    /// Sets whether mapped columns may be read from the message key, which is faster. Set it to `false` if a transformation, or
    /// `column.mask.*`, puts other values into the key under the names of columns: keys made of these would be wrong.
    /// Default: `true`.
    pub fn key_is_row(mut self, key_is_row: bool) -> Self {
        self.decoder.key_is_row = key_is_row;
        self
    }

    /// Sets the prefix of the connector's heartbeat topics (`topic.heartbeat.prefix`). Default: `__debezium-heartbeat`.
    pub fn heartbeat_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.decoder.heartbeat_prefix = prefix.into();
        self
    }

    /// States that no mapped table is ever truncated, by which positions are proven although rows are flattened
    /// ([`Form::Flattened`]): the transformation drops the records of TRUNCATE, so a cache keeps every row of a table that is
    /// truncated, until its TTL expires. No effect on envelopes.
    /// Default: `false`; flattened rows then claim no positions, and reads with a token or a bound go to the database.
    pub fn never_truncated(mut self, never_truncated: bool) -> Self {
        self.never_truncated = never_truncated;
        self
    }

    /// Sets limits, intervals and timeouts. Default: [`KafkaSettings::default`].
    pub fn settings(mut self, settings: KafkaSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Builds the source. `database` represents the server that the connector reads, usually a `BinlogSource`: it provides
    /// the executed GTID set, the visibility gate and the checks of the server's settings. It is never opened.
    ///
    /// # Errors
    /// `Config` if a setting is wrong. No server is contacted.
    pub fn build(self, database: impl ChangeSource) -> Result<KafkaSource> {
        self.settings.validate()?;
        if self.brokers.trim().is_empty() {
            return Err(invalid("`brokers` is empty: set at least one address, such as 127.0.0.1:9092".into()));
        }
        if self.prefix.is_empty() {
            return Err(invalid("`topic_prefix` is empty: set the connector's topic.prefix".into()));
        }
        let transaction_topic = self.transaction_topic.unwrap_or_else(|| transaction_topic(&self.prefix));
        let topics = self.topics?;
        check(&topics, &transaction_topic)?;
        let mut decoder = self.decoder;
        decoder.transaction_topic = Some(transaction_topic.clone());
        decoder.schema_change_topic = Some(self.prefix.clone());
        check_client(&self.client)?;
        for name in unverified(&self.client) {
            tracing::warn!(brokers = self.brokers, "`{name}` turns off the check of the brokers' certificates");
        }
        let client = client(&self.brokers, &self.settings, &self.client);
        let brokers = Brokers::new(&client, self.settings.request_timeout)?;
        let shared = SharedView::new(topics);
        let probe = KafkaProbe::new(brokers, shared.clone(), database.probe());
        let parts = Parts {
            brokers: self.brokers,
            group: self.group,
            control: ControlTopics { transactions: transaction_topic, definitions: self.prefix.clone() },
            prefix: self.prefix,
            marker: self.marker,
            client,
            decoder,
            never_truncated: self.never_truncated,
            settings: self.settings,
            database: Box::new(database),
        };
        Ok(KafkaSource::new(parts, shared, probe))
    }
}

/// Checks that topics chosen by the user include the one of transactions.
fn check(topics: &Topics, transactions: &str) -> Result<()> {
    if topics.is_default() || topics.has(transactions) {
        return Ok(());
    }
    Err(invalid(format!(
        "the topics to read leave out {transactions}, without which no transaction is complete: add it to `topics` or \
         `topic_pattern`, or name another one with `transaction_topic`"
    )))
}

/// The client's properties that no setting may change, each with the reason.
const FIXED: [(&str, &str); 6] = [
    ("auto.offset.reset", "with any other value than `error`, records that are gone are skipped unseen"),
    ("enable.auto.commit", "offsets are committed to the group only after their changes have taken effect"),
    ("enable.auto.offset.store", "offsets are committed to the group only after their changes have taken effect"),
    ("enable.partition.eof", "the reader takes the end of a partition from the brokers' metadata"),
    ("allow.auto.create.topics", "a question for a topic would create it, with any number of partitions"),
    ("topic.blacklist", "records of the topics that it hides would be missed: choose topics with `topics`"),
];

/// # Errors
/// `Config` for a property that no setting may change.
fn check_client(extra: &[(String, String)]) -> Result<()> {
    let fixed = |name: &str| FIXED.iter().find(|(fixed, _)| *fixed == name);
    match extra.iter().find_map(|(name, _)| fixed(name)) {
        Some((name, reason)) => Err(invalid(format!("`client_setting` may not set `{name}`: {reason}; leave it out"))),
        None => Ok(()),
    }
}

/// The client's properties that turn off the check of the brokers' certificates, or of the names in them.
fn unverified(extra: &[(String, String)]) -> impl Iterator<Item = &str> {
    let off = |name: &str, value: &str| match name {
        "enable.ssl.certificate.verification" => !value.eq_ignore_ascii_case("true"),
        "ssl.endpoint.identification.algorithm" => value.eq_ignore_ascii_case("none"),
        _ => false,
    };
    extra.iter().filter(move |(name, value)| off(name, value.trim())).map(|(name, _)| name.as_str())
}

/// Returns librdkafka's [configuration]: what reading depends on, then the user's own properties.
///
/// [configuration]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
fn client(brokers: &str, settings: &KafkaSettings, extra: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "cachefront")
        // Required to assign partitions; no consumer joins the group.
        .set("group.id", "cachefront-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Reports offsets that are gone, where the default would skip to the end.
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
    use cachefront::testing::ScriptedSource;
    use cachefront_core::ErrorKind;

    use super::*;

    #[test]
    fn properties_that_reading_depends_on_are_refused() {
        for (name, _) in FIXED {
            let builder = KafkaSource::builder("127.0.0.1:1", "t").client_setting(name, "false");
            let error = builder.build(ScriptedSource::new("a")).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
        let builder = KafkaSource::builder("127.0.0.1:1", "t").client_setting("fetch.wait.max.ms", "10");
        builder.build(ScriptedSource::new("a")).expect("others are passed on");
    }

    #[test]
    fn properties_that_turn_a_check_of_certificates_off_are_named() {
        let named = |name: &str, value: &str| unverified(&[(name.to_owned(), value.to_owned())]).count() == 1;
        for (name, off, on) in [
            ("enable.ssl.certificate.verification", "false", "true"),
            ("ssl.endpoint.identification.algorithm", "none", "https"),
        ] {
            assert!(named(name, off) && !named(name, on), "{name}");
        }
        assert!(!named("security.protocol", "none"));
    }

    #[test]
    fn topics_without_the_one_of_transactions_are_refused() {
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
