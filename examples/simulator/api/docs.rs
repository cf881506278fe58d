//! `/openapi.json`, and a page to try it: Swagger UI, served from this program.

use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::{control, health, inspect, stream, users};
use crate::domain::{Mode, ModeRow, User, UserInput};
use crate::events::ChangeEvent;
use crate::pipeline::PipelineView;

/// Swagger UI sets styles on elements; scripts come from this program only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cachefront simulator",
        description = "Users in a database, read through a cache that is kept right by the database's change log."
    ),
    paths(
        users::list,
        users::create,
        users::read,
        users::update,
        users::delete,
        inspect::show,
        control::mode,
        control::set_mode,
        control::pipeline,
        stream::events,
        health::healthz,
        health::readyz,
        health::metrics,
    ),
    components(schemas(
        User,
        UserInput,
        Mode,
        ModeRow,
        PipelineView,
        ChangeEvent,
        ErrorBody,
        ProblemsBody,
        crate::inspector::CacheView,
    ))
)]
struct Document;

/// The API, described.
pub(crate) fn openapi() -> Ready<Response> {
    static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);
    ready(Json(&*DOCUMENT).into_response())
}

pub(crate) fn redirect() -> Ready<Redirect> {
    ready(Redirect::permanent("/docs/"))
}

pub(crate) fn index() -> Ready<Result<Response, ApiError>> {
    ready(asset("index.html"))
}

pub(crate) fn file(Path(file): Path<String>) -> Ready<Result<Response, ApiError>> {
    ready(asset(&file))
}

fn asset(file: &str) -> Result<Response, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(asset)) => {
            let headers =
                [(header::CONTENT_TYPE, asset.content_type.as_str()), (header::CONTENT_SECURITY_POLICY, POLICY)];
            Ok((headers, asset.bytes.into_owned()).into_response())
        }
        Ok(None) => Err(ApiError::new(StatusCode::NOT_FOUND, "Not Found")),
        Err(_) => Err(ApiError::internal()),
    }
}
