//! Extractors for path, query, headers and body. They validate everything before a handler runs.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use cachefront::{Get, POSITION_TEXT_BYTES_MAX, Position};
use serde_json::Value;
use simulator_model::domain::{CHOSEN_ID_MAX, Mode, Status, UserInput};
use simulator_model::faults::{DELAY_MS_MAX, FaultState};
use simulator_model::server_name::ServerName;
use simulator_model::servers::Servers;

use super::body::{BODY_BYTES_MAX, BodyFault};
use super::error::{ApiError, Place, Problem};

/// Maximum length of a name or an e-mail address, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 255;

/// Header that carries positions: returned by writes, sent with reads.
pub(crate) const TOKEN_HEADER: &str = "cachefront-token";

/// A user's id in the path: a positive u64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserId(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for UserId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let loc = ["path", "id"];
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(ApiError::problem(not_an_integer(&loc)));
        };
        positive(&loc, &text).map(Self).map_err(ApiError::problem)
    }
}

/// Freshness that a read requires of a cached value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    pub at_least: Option<Position>,
    pub max_staleness: Option<Duration>,
}

impl Freshness {
    /// Adds these requirements to `read`.
    pub(crate) fn asked_of<'a, K, V, Q: ?Sized>(&self, read: Get<'a, K, V, Q>) -> Get<'a, K, V, Q> {
        let read = match &self.at_least {
            Some(token) => read.at_least(token),
            None => read,
        };
        match self.max_staleness {
            Some(bound) => read.max_staleness(bound),
            None => read,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Freshness {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let at_least = token(&parts.headers).map_err(ApiError::problem)?;
        let query = Parameters::from_request_parts(parts, state).await?;
        let millis = query.number("max_staleness_ms", 0..=u64::MAX).map_err(ApiError::problem)?;
        Ok(Self { at_least, max_staleness: millis.map(Duration::from_millis) })
    }
}

/// Parses the token of a request. Repeated headers form one list, as everywhere in HTTP.
fn token(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let malformed = |why: String| Problem::new(&["header", "Cachefront-Token"], why, "token_malformed");
    let values: Vec<&HeaderValue> = headers.get_all(TOKEN_HEADER).iter().collect();
    if values.is_empty() {
        return Ok(None);
    }
    if values.iter().map(|value| value.len() + 1).sum::<usize>() > POSITION_TEXT_BYTES_MAX + 1 {
        return Err(malformed(format!("A token has at most {POSITION_TEXT_BYTES_MAX} bytes")));
    }
    let texts: Result<Vec<&str>, _> = values.into_iter().map(HeaderValue::to_str).collect();
    let text = texts.map_err(|_| malformed("A token is ASCII text".into()))?.join(",");
    let position: Position = text.parse().map_err(|error| malformed(format!("Not a GTID set: {error}")))?;
    if let Some((origin, _)) = position.ranges().find(|(origin, _)| !is_uuid(server_of(origin))) {
        return Err(malformed(format!("Not a GTID set: `{origin}` is not a UUID")));
    }
    Ok(Some(position))
}

/// Strips the tag from an origin.
fn server_of(origin: &str) -> &str {
    origin.split(':').next().unwrap_or_default()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The query's parameters. If a name occurs twice, the last value counts. Unknown names were refused before.
#[derive(Clone, Debug)]
pub(crate) struct Parameters(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(_) => Err(ApiError::problem(Problem::new(&["query"], "The query cannot be read", "query_malformed"))),
        }
    }
}

impl Parameters {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let loc = ["query", name];
        let number = integer(&loc, text)?;
        if number < i128::from(*range.start()) {
            let msg = format!("Input should be greater than or equal to {}", range.start());
            return Err(Problem::new(&loc, msg, "greater_than_equal"));
        }
        match u64::try_from(number).ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let msg = format!("Input should be less than or equal to {}", range.end());
                Err(Problem::new(&loc, msg, "less_than_equal"))
            }
        }
    }

    /// Parses `true` or `false`; false if absent.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::new(
                &["query", name],
                "Input should be a valid boolean, unable to interpret input",
                "bool_parsing",
            )),
        }
    }

    /// Returns text of 1 to 255 characters, or `None` if absent.
    pub(crate) fn short_text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.text(name).map(|text| check_length(&["query", name], text).map(|()| text)) {
            None => Ok(None),
            Some(checked) => checked.map(Some),
        }
    }
}

pub(crate) fn positive(loc: &[&str], text: &str) -> Result<u64, Problem> {
    let number = integer(loc, text)?;
    if number <= 0 {
        return Err(Problem::new(loc, "Input should be greater than 0", "greater_than"));
    }
    u64::try_from(number).map_err(|_| {
        Problem::new(loc, format!("Input should be less than or equal to {}", u64::MAX), "less_than_equal")
    })
}

/// Parses digits with an optional minus sign.
fn integer(loc: &[&str], text: &str) -> Result<i128, Problem> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_an_integer(loc));
    }
    // A number that overflows an i128 is reported as too large or too small.
    Ok(text.parse().unwrap_or(if text.starts_with('-') { i128::MIN } else { i128::MAX }))
}

fn not_an_integer(loc: &[&str]) -> Problem {
    Problem::new(loc, "Input should be a valid integer, unable to parse string as an integer", "int_parsing")
}

/// A parsed JSON body, not yet validated.
#[derive(Debug)]
pub(crate) struct JsonBody(Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if let Some(fault) = parts.extensions.get::<BodyFault>() {
            return Err(ApiError::from(*fault));
        }
        let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| BodyFault::Broken)?;
        if bytes.is_empty() {
            return Err(ApiError::problem(Problem::new(&["body"], "Field required", "missing")));
        }
        if !is_json(&parts.headers) {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON: send Content-Type: application/json",
            ));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => {
                let mut problem = Problem::new(&["body"], format!("JSON decode error: {error}"), "json_invalid");
                problem.loc.push(Place::Index(error.column()));
                Err(ApiError::problem(problem))
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

impl JsonBody {
    /// Validates the fields of a user.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub(crate) fn user_input(self) -> Result<UserInput, ApiError> {
        let mut fields = Fields::of(self.0)?;
        let input = fields.user();
        fields.finish().map(|()| input)
    }

    /// Validates the fields of a new user: the chosen id, if there is one, and the others.
    ///
    /// # Errors
    /// As [`JsonBody::user_input`].
    pub(crate) fn new_user(self) -> Result<(Option<u64>, UserInput), ApiError> {
        let mut fields = Fields::of(self.0)?;
        let id = fields.id();
        let input = fields.user();
        fields.finish().map(|()| (id, input))
    }

    /// Validates the switches of the faults; those that are absent are off.
    ///
    /// # Errors
    /// As [`JsonBody::user_input`].
    pub(crate) fn faults(self, servers: &Servers) -> Result<FaultState, ApiError> {
        let mut fields = Fields::of(self.0)?;
        let state = FaultState {
            pause_consumer: fields.switch("pause_consumer"),
            freeze_stream: fields.switch("freeze_stream"),
            drop_events: fields.switch("drop_events"),
            store_delay_ms: fields.number("store_delay_ms", DELAY_MS_MAX),
            store_cut: fields.switch("store_cut"),
            database_delay_ms: fields.number("database_delay_ms", DELAY_MS_MAX),
            replica_lag_ms: fields.number("replica_lag_ms", DELAY_MS_MAX),
            bus_cut: fields.server("bus_cut", servers),
        };
        fields.finish().map(|()| state)
    }

    /// Validates the mode.
    ///
    /// # Errors
    /// As [`JsonBody::user_input`].
    pub(crate) fn mode(self) -> Result<Mode, ApiError> {
        let mut fields = Fields::of(self.0)?;
        let mode = fields.take("mode").and_then(|value| {
            value.as_str().and_then(|text| text.parse().ok()).or_else(|| {
                fields.problems.push(Problem::new(&["body", "mode"], "Input should be 'ttl' or 'cdc'", "enum"));
                None
            })
        });
        fields.finish()?;
        Ok(mode.unwrap_or(Mode::Cdc))
    }
}

/// The fields of an object, taken one by one; those left at the end are not permitted.
struct Fields {
    left: serde_json::Map<String, Value>,
    problems: Vec<Problem>,
}

impl Fields {
    fn of(value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(left) => Ok(Self { left, problems: Vec::new() }),
            _ => Err(ApiError::problem(Problem::new(
                &["body"],
                "Input should be a valid dictionary or object to extract fields from",
                "model_attributes_type",
            ))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.left.remove(name);
        if value.is_none() {
            self.problems.push(Problem::new(&["body", name], "Field required", "missing"));
        }
        value
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let loc = ["body", name];
        match self.take(name)? {
            Value::String(text) => match check_length(&loc, &text) {
                Ok(()) => Some(text),
                Err(problem) => {
                    self.problems.push(problem);
                    None
                }
            },
            _ => {
                self.problems.push(Problem::new(&loc, "Input should be a valid string", "string_type"));
                None
            }
        }
    }

    /// Takes a boolean; false if absent.
    fn switch(&mut self, name: &str) -> bool {
        match self.left.remove(name) {
            None => false,
            Some(Value::Bool(on)) => on,
            Some(_) => {
                let problem = Problem::new(&["body", name], "Input should be a valid boolean", "bool_type");
                self.problems.push(problem);
                false
            }
        }
    }

    fn user(&mut self) -> UserInput {
        let (name, email, status) = (self.text("name"), self.text("email"), self.status());
        UserInput { name: name.unwrap_or_default(), email: email.unwrap_or_default(), status }
    }

    /// Takes the status of a user; `None` if it is absent or null.
    fn status(&mut self) -> Option<Status> {
        let value = self.left.remove("status").filter(|value| !value.is_null())?;
        let status = value.as_str().and_then(|text| text.parse().ok());
        if status.is_none() {
            let names = Status::ALL.map(|status| format!("'{}'", status.as_str())).join(", ");
            self.problems.push(Problem::new(&["body", "status"], format!("Input should be one of {names}"), "enum"));
        }
        status
    }

    /// Takes the id of a new user; `None` if it is absent or null.
    fn id(&mut self) -> Option<u64> {
        match self.left.get("id") {
            None => None,
            Some(Value::Null) => {
                self.left.remove("id");
                None
            }
            Some(_) => Some(self.integer("id", 1, CHOSEN_ID_MAX)),
        }
    }

    /// Takes an integer up to `max`; zero if absent.
    fn number(&mut self, name: &str, max: u64) -> u64 {
        if self.left.contains_key(name) { self.integer(name, 0, max) } else { 0 }
    }

    /// Takes an integer within these bounds; returns `min` if it is wrong.
    fn integer(&mut self, name: &str, min: u64, max: u64) -> u64 {
        let value = self.left.remove(name).unwrap_or_default();
        let loc = ["body", name];
        // As in JSON Schema, 64.0 is an integer. A number that an f64 cannot hold exactly is far beyond `max`.
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
        let problem = match value.as_u64().or(whole.map(|number| number as u64)) {
            Some(number) if number < min => {
                Problem::new(&loc, format!("Input should be greater than or equal to {min}"), "greater_than_equal")
            }
            Some(number) if number <= max => return number,
            Some(_) => Problem::new(&loc, format!("Input should be less than or equal to {max}"), "less_than_equal"),
            None if value.as_f64().is_some_and(|number| number < 0.0) => {
                Problem::new(&loc, format!("Input should be greater than or equal to {min}"), "greater_than_equal")
            }
            None => Problem::new(&loc, "Input should be a valid integer", "int_type"),
        };
        self.problems.push(problem);
        min
    }

    /// Takes the name of one of these servers; `None` if absent or null.
    fn server(&mut self, name: &str, servers: &Servers) -> Option<ServerName> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        let found = value.as_str().and_then(|text| servers.names().find(|name| name.as_str() == text));
        if found.is_none() {
            let all: Vec<&str> = servers.names().map(ServerName::as_str).collect();
            let msg = format!("Input should be null or one of the servers here: {}", all.join(", "));
            self.problems.push(Problem::new(&["body", name], msg, "enum"));
        }
        found
    }

    fn finish(mut self) -> Result<(), ApiError> {
        for name in self.left.keys() {
            self.problems.push(Problem::new(&["body", name], "Extra inputs are not permitted", "extra_forbidden"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::problems(self.problems)) }
    }
}

fn check_length(loc: &[&str], text: &str) -> Result<(), Problem> {
    match text.chars().take(TEXT_CHARS_MAX + 1).count() {
        0 => Err(Problem::new(loc, "String should have at least 1 character", "string_too_short")),
        count if count > TEXT_CHARS_MAX => {
            let msg = format!("String should have at most {TEXT_CHARS_MAX} characters");
            Err(Problem::new(loc, msg, "string_too_long"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn token_of(values: &[&str]) -> Result<Option<Position>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TOKEN_HEADER, value.parse().expect("a header"));
        }
        token(&headers)
    }

    #[test]
    fn a_token_in_several_headers_is_one_set() {
        assert_eq!(token_of(&[]).expect("none"), None);
        let both = token_of(&[&format!("{A}:1-5"), &format!("{B}:7")]).expect("a token").expect("a token");
        assert_eq!(both.to_string(), format!("{A}:1-5,{B}:7"));
        for second in ["x", "a:1", &format!("{A}:0")] {
            let problem = token_of(&[&format!("{A}:1-5"), second]).expect_err(second);
            assert_eq!(problem.kind, "token_malformed");
        }
        let long = format!("{A}:1{}", ":9".repeat(POSITION_TEXT_BYTES_MAX / 4));
        assert!(token_of(&[&long]).is_ok());
        assert!(token_of(&[&long, &long]).is_err(), "16 KiB is the bound of all together");
    }
}
