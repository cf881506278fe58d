//! What a session read takes as its token.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::position::Position;

/// The argument of [`Get::at_least`](crate::Get::at_least): a token, or none where a request may have none.
///
/// Implemented for `Position`, `Arc<Position>`, references to both, and options of all of them.
///
/// ```
/// use cachefront::{IntoToken, Position};
///
/// let token: Position = "3e11fa47-71ca-11e1-9e33-c80aa9429562:5".parse()?;
/// assert_eq!((&token).into_token(), Some(token));
/// assert_eq!(None::<Position>.into_token(), None);
/// # Ok::<(), cachefront::Error>(())
/// ```
pub trait IntoToken {
    /// Returns the token; `None` if no commit is required.
    fn into_token(self) -> Option<Position>;
}

impl IntoToken for Position {
    fn into_token(self) -> Option<Position> {
        Some(self)
    }
}

impl IntoToken for &Position {
    fn into_token(self) -> Option<Position> {
        Some(self.clone())
    }
}

impl IntoToken for Arc<Position> {
    fn into_token(self) -> Option<Position> {
        Some(Self::unwrap_or_clone(self))
    }
}

impl IntoToken for &Arc<Position> {
    fn into_token(self) -> Option<Position> {
        Some((**self).clone())
    }
}

impl<T: Borrow<Position>> IntoToken for Option<T> {
    fn into_token(self) -> Option<Position> {
        self.map(|token| token.borrow().clone())
    }
}

impl<T: Borrow<Position>> IntoToken for &Option<T> {
    fn into_token(self) -> Option<Position> {
        self.as_ref().map(|token| token.borrow().clone())
    }
}
