//! The names of the app servers that one process plays.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Maximum number of app servers in one process: as many as fit side by side on a screen. Each has process-local tiers of its own.
pub const SERVERS_MAX: usize = ServerName::ALL.len();

/// The name of an app server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum ServerName {
    /// The server that serves `/users`.
    A,
    B,
    C,
    D,
}

impl ServerName {
    /// All names, in their order.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

impl FromStr for ServerName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or(())
    }
}
