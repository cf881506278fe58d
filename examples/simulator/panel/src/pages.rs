//! The pages as they are first loaded. From then on, parts that change are pushed.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::Markup;
use simulator_access::Session;

use super::login::CurrentUser;
use super::page_data::PageData;
use super::panel::Panel;
use super::query::QueryParameters;
use super::refresh;
use super::tab::Tab;
use super::view::{self, PageContext};

/// The live page.
pub(super) async fn home(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Query(wanted): Query<QueryParameters>,
) -> Markup {
    page(&panel, Tab::Live, &reader, &wanted).await
}

/// The cache browser.
pub(super) async fn cache(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Query(wanted): Query<QueryParameters>,
) -> Markup {
    page(&panel, Tab::Cache, &reader, &wanted).await
}

/// The app servers side by side.
pub(super) async fn servers(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Query(wanted): Query<QueryParameters>,
) -> Markup {
    page(&panel, Tab::Servers, &reader, &wanted).await
}

/// The page of the faults.
pub(super) async fn faults(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Markup {
    page(&panel, Tab::Faults, &reader, &QueryParameters::default()).await
}

/// The audit page.
pub(super) async fn audit(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Markup {
    page(&panel, Tab::Audit, &reader, &QueryParameters::default()).await
}

async fn page(panel: &Panel, tab: Tab, reader: &Session, wanted: &QueryParameters) -> Markup {
    refresh::fresh(panel).await;
    let gathered = PageData::of(panel, tab, reader, wanted).await;
    view::whole(&PageContext::of(panel, tab, reader, wanted, &gathered))
}

/// Renders a page of races around its content.
pub(super) async fn race_page(panel: &Panel, reader: &Session, content: Markup) -> Markup {
    refresh::fresh(panel).await;
    let wanted = QueryParameters::default();
    let gathered = PageData::of(panel, Tab::Race, reader, &wanted).await;
    view::whole_race(&PageContext::of(panel, Tab::Race, reader, &wanted, &gathered), content)
}

/// Renders a page of kept runs; `content` is given what the page is rendered for.
pub(super) async fn runs_page(
    panel: &Panel,
    reader: &Session,
    content: impl FnOnce(&PageContext<'_>) -> Markup + Send,
) -> Markup {
    on_runs(panel, reader, |context| view::whole_runs(context, content(context))).await
}

/// Renders the page that says why there is no such run.
pub(super) async fn without_run(panel: &Panel, reader: &Session, content: Markup) -> Markup {
    on_runs(panel, reader, |context| view::without_run(context, content)).await
}

async fn on_runs(panel: &Panel, reader: &Session, whole: impl FnOnce(&PageContext<'_>) -> Markup + Send) -> Markup {
    refresh::fresh(panel).await;
    let wanted = QueryParameters::default();
    let gathered = PageData::of(panel, Tab::Runs, reader, &wanted).await;
    whole(&PageContext::of(panel, Tab::Runs, reader, &wanted, &gathered))
}
