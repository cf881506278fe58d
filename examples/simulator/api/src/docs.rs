//! `/openapi.json`, and Swagger UI under `/docs`, with all files served from this program.

use std::future::{Ready, ready};
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cachefront::POSITION_TEXT_BYTES_MAX;
use serde_json::Value;
use simulator_model::domain::{Mode, ModeRow, User};
use simulator_model::events::ChangeEvent;
use simulator_model::pipeline::PipelineView;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::{control, faults, health, inspect, servers, stream, users, writes};

/// Content security policy of Swagger UI, which sets inline styles. Scripts come from this program only.
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
        servers::list,
        servers::read,
        faults::show,
        faults::set,
        faults::clear,
        control::mode,
        control::set_mode,
        control::history,
        control::pipeline,
        stream::events,
        writes::list,
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

/// Returns the description in the form in which it is committed as `openapi.json`. A test compares the two, so that no
/// change of the API goes unnoticed by the programs that are built against it.
pub fn openapi_text() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

/// The description as JSON.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    say_exactly(&mut document);
    describe_tokens(&mut document);
    document
});

/// Pattern of a token: a GTID set, with optional white space around every separator.
fn token_pattern() -> String {
    let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
    let tag = "[a-zA-Z_][a-zA-Z0-9_]{0,31}";
    let range = r"[1-9][0-9]{0,18}(\s*-\s*[1-9][0-9]{0,18})?";
    let of_server = format!(r"{uuid}(\s*:\s*({tag}\s*:\s*)?{range})+");
    format!(r"^\s*({of_server}(\s*,\s*{of_server})*)?\s*$")
}

fn describe_tokens(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(describe_tokens),
        Value::Object(fields) if fields.get("name").is_some_and(|name| name == "Cachefront-Token") => {
            if let Some(Value::Object(schema)) = fields.get_mut("schema") {
                schema.insert("pattern".into(), token_pattern().into());
                schema.insert("maxLength".into(), POSITION_TEXT_BYTES_MAX.into());
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(describe_tokens),
        _ => {}
    }
}

/// Tightens what the macros generate: a parameter may be absent but is never `null`, and numbers are unsigned 64-bit
/// integers.
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

/// Adds the bearer scheme. It is optional: without tokens the API is open.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
        openapi.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", [""; 0])]);
    }
}

/// Returns the OpenAPI description.
pub(crate) fn openapi() -> Ready<Response> {
    ready(Json(&*DOCUMENT).into_response())
}

/// Returns the page. Its links are rewritten to absolute paths, so that it works with and without a trailing slash.
pub(crate) fn index() -> Ready<Result<Response, ApiError>> {
    ready(served("index.html").and_then(|asset| {
        let page = String::from_utf8(asset.bytes.into_owned()).map_err(|_| ApiError::internal())?;
        let mut rooted = page;
        for attribute in ["href", "src"] {
            rooted = rooted
                .replace(&format!("{attribute}=\"./"), &format!("{attribute}=\""))
                .replace(&format!("{attribute}=\""), &format!("{attribute}=\"/docs/"));
        }
        Ok(answer(&asset.content_type, rooted))
    }))
}

pub(crate) fn file(Path(file): Path<String>) -> Ready<Result<Response, ApiError>> {
    ready(asset(&file))
}

fn asset(file: &str) -> Result<Response, ApiError> {
    served(file).map(|asset| answer(&asset.content_type, asset.bytes.into_owned()))
}

fn served(file: &str) -> Result<SwaggerFile<'static>, ApiError> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    match utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) {
        Ok(Some(asset)) => Ok(asset),
        Ok(None) => Err(ApiError::new(StatusCode::NOT_FOUND, "Not Found")),
        Err(_) => Err(ApiError::internal()),
    }
}

fn answer(content_type: &str, body: impl IntoResponse) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use cachefront::Position;
    use regex_lite::Regex;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn the_pattern_of_tokens_is_what_is_accepted() {
        let pattern = Regex::new(&token_pattern()).expect("a pattern");
        for good in
            ["", A_EXAMPLE, "{A}:5", "{A}:1-5:7:9-11", "{A}:sale:1-2", "{A}:1-5:sale:7 , {A}:9", " {A} : 1 - 5 "]
        {
            let token = good.replace("{A}", A);
            assert!(pattern.is_match(&token) && token.parse::<Position>().is_ok(), "{token}");
        }
        for bad in ["x", "{A}", "{A}:0", "{A}:", "{A}:1-", "{A}:sale", "{A}:1 {A}:2"] {
            let token = bad.replace("{A}", A);
            assert!(!pattern.is_match(&token), "{token}");
        }
        let described = DOCUMENT.to_string();
        assert_eq!(described.matches("\"name\":\"Cachefront-Token\"").count(), 2);
        assert_eq!(described.matches("\"maxLength\":16384").count(), 2, "of each of them");
    }

    const A_EXAMPLE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";

    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let committed = include_str!("../openapi.json");
        assert!(
            committed == openapi_text(),
            "openapi.json has drifted: cargo run --example simulator -- openapi > examples/simulator/api/openapi.json"
        );
    }
}
