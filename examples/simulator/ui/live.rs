//! What the page shows of this moment: each user beside its entry, and the verdict over all of them.

use futures_util::future::join_all;

use super::Panel;
use crate::domain::{ModeRow, User};
use crate::inspector::{CacheView, EntryState};
use crate::pipeline::PipelineView;

/// The page shows this many users, the first ones by id.
pub(super) const USERS_MAX: u32 = 20;

/// A user and what the cache holds of it; nothing if the database did not say.
pub(super) struct UserRow {
    pub(super) user: User,
    pub(super) cache: Option<CacheView>,
}

/// Everything at one moment.
pub(super) struct Live {
    pub(super) mode: ModeRow,
    pub(super) pipeline: PipelineView,
    /// Nothing if the database is away.
    pub(super) users: Option<Vec<UserRow>>,
    pub(super) verdict: Verdict,
}

/// What is to be said about all entries that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Healthy,
    /// So many entries differ from their rows.
    Stale(usize),
    Empty,
    Unknown,
}

impl Live {
    pub(super) async fn look(panel: &Panel) -> Self {
        let api = &panel.api;
        let (listed, pipeline) = tokio::join!(api.database.list(0, USERS_MAX), api.pipeline.view());
        let users = match listed {
            Ok(users) => Some(join_all(users.into_iter().map(|user| beside_entry(panel, user))).await),
            Err(_) => None,
        };
        Self { mode: api.modes.current(), verdict: Verdict::of(users.as_deref()), pipeline, users }
    }
}

async fn beside_entry(panel: &Panel, user: User) -> UserRow {
    let cache = panel.api.inspector.compare(user.id).await.ok();
    UserRow { user, cache }
}

impl Verdict {
    fn of(users: Option<&[UserRow]>) -> Self {
        let Some(users) = users else { return Self::Unknown };
        let count = |state: EntryState| {
            let views = users.iter().filter_map(|row| row.cache.as_ref());
            views.filter(|view| view.state == state).count()
        };
        if users.iter().any(|row| row.cache.is_none()) {
            return Self::Unknown;
        }
        match (count(EntryState::Stale), count(EntryState::Healthy)) {
            (0, 0) => Self::Empty,
            (0, _) => Self::Healthy,
            (stale, _) => Self::Stale(stale),
        }
    }

    /// The exact words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Healthy => "cache healthy".into(),
            Self::Stale(count) => format!("cache stale ({count})"),
            Self::Empty => "cache empty".into(),
            Self::Unknown => "cache unknown".into(),
        }
    }
}
