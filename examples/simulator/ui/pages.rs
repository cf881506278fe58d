//! The pages as they are first loaded; from then on the parts that change are pushed.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::Markup;

use super::Panel;
use super::keys::{self, KeyRow};
use super::login::Reader;
use super::users::{self, Page, Wanted};
use super::view::{self, Scene, Tab};
use crate::access::{Role, Session};
use crate::domain::AuditEntry;

/// What one tab is shown beside what all are shown.
pub(super) struct Gathered {
    pub(super) page: Page,
    pub(super) keys: Vec<KeyRow>,
    pub(super) audit: Vec<AuditEntry>,
}

impl Gathered {
    /// Looks up what the tab needs and its reader may see.
    pub(super) async fn of(panel: &Panel, tab: Tab, reader: &Session, wanted: &Wanted) -> Self {
        let survey = Arc::clone(&panel.live.follow().borrow().survey);
        let page = users::page(panel, &survey, wanted).await;
        let keys = if tab == Tab::Cache { keys::of(panel, &page).await } else { Vec::new() };
        let audit = match tab == Tab::Audit && reader.may(Role::Admin) {
            true => panel.api.access.audit_list().await.unwrap_or_default(),
            false => Vec::new(),
        };
        Self { page, keys, audit }
    }
}

/// Everything as it happens.
pub(super) async fn home(
    State(panel): State<Arc<Panel>>,
    Reader(reader): Reader,
    Query(wanted): Query<Wanted>,
) -> Markup {
    page(&panel, Tab::Live, &reader, &wanted).await
}

/// Every key.
pub(super) async fn cache(
    State(panel): State<Arc<Panel>>,
    Reader(reader): Reader,
    Query(wanted): Query<Wanted>,
) -> Markup {
    page(&panel, Tab::Cache, &reader, &wanted).await
}

/// What can be broken on purpose.
pub(super) async fn faults(State(panel): State<Arc<Panel>>, Reader(reader): Reader) -> Markup {
    page(&panel, Tab::Faults, &reader, &Wanted::default()).await
}

/// Who did what.
pub(super) async fn audit(State(panel): State<Arc<Panel>>, Reader(reader): Reader) -> Markup {
    page(&panel, Tab::Audit, &reader, &Wanted::default()).await
}

async fn page(panel: &Panel, tab: Tab, reader: &Session, wanted: &Wanted) -> Markup {
    let moment = panel.live.fresh(panel).await;
    let Gathered { page, keys, audit } = Gathered::of(panel, tab, reader, wanted).await;
    let scene = Scene { panel, tab, moment: &moment, page: &page, wanted, keys: &keys, audit: &audit, reader };
    view::whole(&scene)
}
