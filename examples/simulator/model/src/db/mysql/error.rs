//! Classifies failed statements, in one place.

use mysql_async::Error;

use crate::domain::DbError;

/// Temporary server errors: too many connections, shutdown, lock wait, deadlock, read-only during a failover, time
/// limit.
const PASSING: [u16; 9] = [1040, 1053, 1203, 1205, 1213, 1290, 1792, 1836, 3024];

const DUPLICATE_ENTRY: u16 = 1062;

/// The AUTO_INCREMENT counter is exhausted.
const NO_ID_LEFT: u16 = 1467;

pub(super) fn classify(failure: Error) -> DbError {
    match &failure {
        Error::Server(error) if error.code == NO_ID_LEFT => DbError::NoIdLeft,
        Error::Server(error) if error.code == DUPLICATE_ENTRY => match duplicate_key(&error.message) {
            key if key.eq_ignore_ascii_case("primary") => DbError::IdTaken,
            key if key.to_ascii_lowercase().contains("email") => DbError::EmailTaken,
            _ => DbError::Failed(failure.into()),
        },
        Error::Server(error) if !PASSING.contains(&error.code) => DbError::Failed(failure.into()),
        Error::Url(_) => DbError::Failed(failure.into()),
        Error::Server(_) | Error::Io(_) | Error::Driver(_) | Error::Other(_) => DbError::Unavailable(failure.into()),
    }
}

/// The name of the key at the end of a message: `Duplicate entry 'x' for key 'users.email'`, in older servers without
/// the table.
fn duplicate_key(message: &str) -> &str {
    let key = message.rsplit_once("for key '").map_or("", |(_, key)| key.trim_end_matches('\''));
    key.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn classified(code: u16, message: &str) -> DbError {
        classify(Error::Server(ServerError { code, message: message.into(), state: "23000".into() }))
    }

    #[test]
    fn the_key_says_whether_an_address_or_an_id_is_taken() {
        for key in ["users.email", "email", "users.uq_Email"] {
            let error = classified(1062, &format!("Duplicate entry 'for key 'users.PRIMARY'' for key '{key}'"));
            assert!(matches!(error, DbError::EmailTaken), "{key}: {error:?}");
        }
        for key in ["users.PRIMARY", "PRIMARY"] {
            let error = classified(1062, &format!("Duplicate entry '18446744073709551615' for key '{key}'"));
            assert!(matches!(error, DbError::IdTaken), "{key}: {error:?}");
        }
        assert!(matches!(classified(1062, "Duplicate entry 'a' for key 'users.name'"), DbError::Failed(_)));
        let full = classified(1467, "Failed to read auto-increment value from storage engine");
        assert!(matches!(full, DbError::NoIdLeft), "{full:?}");
    }
}
