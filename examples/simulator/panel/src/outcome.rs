//! What every handler does with its outcome: an entry in the audit list, and a response that also updates the pages.

use std::fmt::Display;

use axum::response::Response;
use simulator_access::Session;

use super::panel::Panel;
use super::reply::accepted;

/// Records an action and its outcome in the audit list, and returns the outcome.
pub(super) async fn noted<T, E: Display>(
    panel: &Panel,
    reader: &Session,
    what: String,
    outcome: Result<T, E>,
) -> Result<T, E> {
    let result = match &outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    panel.api.access.audit(&reader.name, &what, &result).await;
    outcome
}

/// As [`noted`], for an action on something that may not be there: that is no success.
pub(super) async fn noted_of<T, E: Display>(
    panel: &Panel,
    reader: &Session,
    what: String,
    outcome: Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    panel.api.access.audit(&reader.name, &what, &result_of(&outcome)).await;
    outcome
}

fn result_of<T, E: Display>(outcome: &Result<Option<T>, E>) -> String {
    match outcome {
        Ok(Some(_)) => "ok".to_owned(),
        Ok(None) => "nothing was done: there was none".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(super) fn done(panel: &Panel, message: impl Into<String>) -> Response {
    panel.live.nudge();
    accepted(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_there_is_no_success() {
        assert_eq!(result_of(&Ok::<_, String>(Some(()))), "ok");
        assert!(result_of(&Ok::<Option<()>, String>(None)).starts_with("nothing was done"));
        assert_eq!(result_of(&Err::<Option<()>, _>("the disk is full")), "the disk is full");
    }
}
