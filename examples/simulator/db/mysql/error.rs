//! What a failed statement means to its caller, decided in one place.

use mysql_async::Error;

use crate::domain::DbError;

/// Server errors that pass: too many connections, shutdown, lock wait, deadlock, read-only (a failover is on its way).
const PASSING: [u16; 9] = [1040, 1053, 1203, 1205, 1213, 1290, 1792, 1836, 3024];

const DUPLICATE_ENTRY: u16 = 1062;

pub(super) fn classify(failure: Error) -> DbError {
    match &failure {
        Error::Server(error) if error.code == DUPLICATE_ENTRY => DbError::EmailTaken,
        Error::Server(error) if !PASSING.contains(&error.code) => DbError::Failed(failure.into()),
        Error::Url(_) => DbError::Failed(failure.into()),
        Error::Server(_) | Error::Io(_) | Error::Driver(_) | Error::Other(_) => DbError::Unavailable(failure.into()),
    }
}
