//! The invalidation bus: tells every process which keys of its process-local tier were invalidated.

mod contract;
mod hub;
mod message;

pub use contract::{BusReader, InvalidationBus};
pub use hub::Hub;
pub(crate) use hub::{Listener, Pace};
pub use message::{BusEvent, BusMessage, BusRead, Publisher};
