//! Faults that are switched on and off while everything runs, to demonstrate the guarantees.
//!
//! The state is a note in the database, which every process follows within a second. The wrappers apply it:
//! [`StoreFaults`], [`SourceFaults`], [`FaultyDatabase`], [`FaultyStatusStore`]; that of a replica is [`replica`](crate::replica). A fault outlives a restart, so it is
//! always visible: in `/readyz`, in the log as a warning, and in the metric `simulator_fault_active`.

mod database;
mod source;
mod state;
mod status;
mod store;
mod switches;

pub use self::database::FaultyDatabase;
pub use self::source::SourceFaults;
pub use self::state::{DELAY_MS_MAX, FaultState};
pub use self::status::FaultyStatusStore;
pub use self::store::StoreFaults;
pub use self::switches::Faults;
