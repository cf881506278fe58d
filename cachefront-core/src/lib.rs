//! The core of cachefront: the cache, the protocol that keeps it right, and the traits that its adapters implement.

pub mod bus;
pub mod clock;
pub mod codec;
pub mod entry;
mod error;
pub mod event;
pub mod gate;
mod key;
pub mod keymap;
mod loader;
pub mod policy;
mod position;
pub mod settings;
pub mod source;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use clock::{Clock, Entropy, Timestamp};
pub use error::{BoxError, Error, ErrorKind, Result, Retry};
pub use key::{CacheKey, KEY_BYTES_MAX, StoreKey};
pub use loader::{LoadCx, LoadNotes, Loader, LoaderFn, loader_fn};
pub use position::{Gtid, POSITION_TEXT_BYTES_MAX, Position};
pub use store::{MemorySettings, MemoryStore};
