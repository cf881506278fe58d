//! Checks of fields that all settings share.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

pub(super) fn above_zero(fields: &[(&str, Duration)]) -> Result<()> {
    match fields.iter().find(|(_, duration)| duration.is_zero()) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give a duration above zero"))),
        None => Ok(()),
    }
}

pub(super) fn at_least_one(fields: &[(&str, usize)]) -> Result<()> {
    match fields.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give at least 1"))),
        None => Ok(()),
    }
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
