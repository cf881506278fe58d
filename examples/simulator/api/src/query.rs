//! Refuses query parameters that a route does not take: a misspelt `max_staleness_ms` would otherwise be ignored, and
//! the read would silently promise less than the client asked for.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::docs::DOCUMENT;
use super::error::ApiError;

/// Maximum length of a parameter's name in an error.
const NAME_CHARS_MAX: usize = 64;

/// The query parameters of each operation, by path and method in lower case, as the API's description lists them.
type Operations = HashMap<(String, String), Vec<String>>;

static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| operations(&DOCUMENT));

/// Middleware that returns 400 for a parameter that the operation does not take. Operations that are not described,
/// such as the files of `/docs/`, accept everything.
pub(super) async fn refuse_unknown(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(request: &Request) -> Result<(), ApiError> {
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
    // HEAD is served as GET.
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let operation = (path.as_str().to_owned(), method.as_str().to_ascii_lowercase());
    let Some(known) = OPERATIONS.get(&operation) else { return Ok(()) };
    // A query that cannot be parsed is reported by the handler's own extractor.
    let Ok(Query(given)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else { return Ok(()) };
    match given.into_iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::new(StatusCode::BAD_REQUEST, message(&name, known))),
    }
}

fn message(name: &str, known: &[String]) -> String {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    match known {
        [] => format!("Unknown query parameter `{name}`: this route takes none"),
        known => format!("Unknown query parameter `{name}`: this route takes {}", known.join(", ")),
    }
}

fn operations(document: &Value) -> Operations {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| methods.as_object().into_iter().flatten().map(move |method| (path, method)))
        .map(|(path, (method, operation))| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter(|parameter| parameter["in"] == "query").filter_map(|it| it["name"].as_str());
            ((path.clone(), method.clone()), names.map(str::to_owned).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_an_operation_are_those_of_its_description() {
        let of = |path: &str, method: &str| OPERATIONS.get(&(path.to_owned(), method.to_owned())).cloned();
        assert_eq!(
            of("/users/{id}", "get"),
            Some(["max_staleness_ms", "revalidate", "ttl_ms"].map(str::to_owned).to_vec())
        );
        assert_eq!(of("/users/{id}", "put"), Some(vec![]));
        assert_eq!(of("/docs/{file}", "get"), None);
        let known = ["limit".to_owned(), "after".to_owned()];
        assert_eq!(message("page", &known), "Unknown query parameter `page`: this route takes limit, after");
        assert_eq!(message("page", &[]), "Unknown query parameter `page`: this route takes none");
    }
}
