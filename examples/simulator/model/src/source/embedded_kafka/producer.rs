//! A producer that is polled only while records are in flight.
//!
//! rdkafka's `FutureProducer` polls on a thread of its own, also while nothing is sent, which costs an idle simulator close to a percent
//! of a core.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::envelope::Record;

/// How long one poll waits for acknowledgements, which come within a millisecond.
const POLL: Duration = Duration::from_millis(1);

/// A record that the broker does not acknowledge within this time counts as failed.
const DELIVERY: Duration = Duration::from_secs(5);

/// The places of the records of one call that the broker has, and whether it has taken them.
#[derive(Debug, Default)]
struct Deliveries(Mutex<Vec<(usize, bool)>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((place, result.is_ok()));
    }
}

/// The one producer of the feeder.
#[derive(Clone)]
pub(super) struct Producer(Arc<BaseProducer<Deliveries>>);

impl Producer {
    pub(super) fn new(brokers: &str) -> KafkaResult<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "0")
            .set("message.timeout.ms", DELIVERY.as_millis().to_string())
            // One request at a time keeps the records in order.
            .set("max.in.flight.requests.per.connection", "1")
            .create_with_context(Deliveries::default())?;
        Ok(Self(Arc::new(producer)))
    }

    /// Sends records in order, and waits until the broker has them. Returns those that failed, in order. Blocks the thread; one call
    /// at a time.
    pub(super) fn send(&self, records: Vec<Record>) -> Vec<Record> {
        let mut accepted = 0;
        for (place, record) in records.iter().enumerate() {
            let to_send = BaseRecord::with_opaque_to(&record.topic, place).key(&record.key).partition(0);
            let to_send = match &record.value {
                Some(value) => to_send.payload(value.as_bytes()),
                None => to_send,
            };
            if self.0.send(to_send).is_err() {
                // The queue is full: what follows must not overtake this record.
                break;
            }
            accepted += 1;
        }
        let deliveries = || self.0.context().0.lock().unwrap_or_else(PoisonError::into_inner);
        // `DELIVERY` bounds the wait. Every report is awaited: a late one would be taken for one of the next call's records.
        while deliveries().len() < accepted {
            self.0.poll(POLL);
        }
        let done = std::mem::take(&mut *deliveries());
        let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
        for (place, _) in done.into_iter().filter(|(_, is_delivered)| *is_delivered) {
            records.get_mut(place).and_then(Option::take);
        }
        records.into_iter().flatten().collect()
    }
}
