//! `/openapi.json`, and a page to try it: Swagger UI, served from this program.

use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::Config;

use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::{control, faults, health, inspect, stream, users};
use crate::domain::{Mode, ModeRow, User};
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
        inspect::page,
        inspect::invalidate,
        inspect::empty,
        inspect::consistency,
        faults::show,
        faults::set,
        faults::clear,
        control::mode,
        control::set_mode,
        control::history,
        control::pipeline,
        stream::events,
        health::healthz,
        health::readyz,
        health::metrics,
    ),
    components(schemas(
        User,
        Mode,
        ModeRow,
        PipelineView,
        ChangeEvent,
        ErrorBody,
        ProblemsBody,
    )),
    modifiers(&Bearer)
)]
struct Document;

/// The description as it is committed: a program that is built against it must notice every change.
pub(crate) fn openapi_text() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    say_exactly(&mut document);
    document
});

/// What the macros say too loosely: a parameter may be left out and is never `null`; numbers are unsigned, of 64 bits.
fn say_exactly(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(say_exactly),
        Value::Object(fields) => {
            if fields.contains_key("in")
                && let Some(Value::Array(kinds)) = fields.get_mut("schema").and_then(|schema| schema.get_mut("type"))
            {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    fields["schema"]["type"] = only.clone();
                }
            }
            if fields.get("format").is_some_and(|format| format == "int64") {
                fields.insert("format".into(), "uint64".into());
                fields.entry("minimum").or_insert_with(|| 0.into());
                fields.entry("maximum").or_insert_with(|| u64::MAX.into());
            }
            fields.values_mut().for_each(say_exactly);
        }
        _ => {}
    }
}

/// Tokens are optional: without any the API is open.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
        openapi.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", [""; 0])]);
    }
}

/// The API, described.
pub(crate) fn openapi() -> Ready<Response> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let committed = include_str!("openapi.json");
        assert!(
            committed == openapi_text(),
            "openapi.json has drifted: cargo run --example simulator -- openapi > examples/simulator/api/openapi.json"
        );
    }
}
