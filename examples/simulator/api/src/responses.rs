//! Responses that many routes share, for the OpenAPI description.

use std::collections::BTreeMap;

use utoipa::openapi::response::Response;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::error::{ErrorBody, ProblemsBody};

type Responses = BTreeMap<String, RefOr<Response>>;

fn json<T: ToSchema + PartialSchema>(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build();
    RefOr::T(ResponseBuilder::new().description(description).content("application/json", content).build())
}

fn errors(statuses: &[(u16, &str)]) -> Responses {
    statuses.iter().map(|(status, words)| (status.to_string(), json::<ErrorBody>(words))).collect()
}

/// Responses of every route.
pub(crate) struct Any;

impl IntoResponses for Any {
    fn responses() -> Responses {
        errors(&[
            (400, "A query parameter is unknown"),
            (401, "Tokens are set, and none of them was given"),
            (421, "The API is open, and was asked for by a name that is not this machine's"),
            (500, "A defect: the log says more"),
            (503, "Something that is needed is away, or too much is asked for at once: see `Retry-After`"),
        ])
    }
}

/// Responses of a route that takes parameters.
pub(crate) struct Checked;

impl IntoResponses for Checked {
    fn responses() -> Responses {
        let mut all = Any::responses();
        all.insert("422".into(), json::<ProblemsBody>("The request is wrong, and where"));
        all
    }
}

/// Responses of a route that changes something.
pub(crate) struct Changing;

impl IntoResponses for Changing {
    fn responses() -> Responses {
        let mut all = Any::responses();
        all.extend(errors(&[(403, "The token's role may only look")]));
        all
    }
}

/// Responses of a route that changes something and takes parameters.
pub(crate) struct ChangingChecked;

impl IntoResponses for ChangingChecked {
    fn responses() -> Responses {
        Checked::responses().into_iter().chain(Changing::responses()).collect()
    }
}

/// Responses of a route that takes a body.
pub(crate) struct WithBody;

impl IntoResponses for WithBody {
    fn responses() -> Responses {
        let mut all = ChangingChecked::responses();
        all.extend(errors(&[
            (400, "The body could not be read, or a query parameter is unknown"),
            (408, "The body was not there in time"),
            (413, "The body is too large"),
            (415, "The body is not JSON"),
        ]));
        all
    }
}

/// Responses of a route that names a user, who may not exist.
pub(crate) struct NoSuchUser;

impl IntoResponses for NoSuchUser {
    fn responses() -> Responses {
        errors(&[(404, "There is no such user")])
    }
}

/// Responses of a route that names an app server, which may not exist.
pub(crate) struct NoSuchServer;

impl IntoResponses for NoSuchServer {
    fn responses() -> Responses {
        errors(&[(404, "There is no such server")])
    }
}

/// Responses of the route that adds a user.
pub(crate) struct NoIdLeft;

impl IntoResponses for NoIdLeft {
    fn responses() -> Responses {
        errors(&[(507, "There is no id left for a new user")])
    }
}

/// Responses of the route that adds a user, whose id may be chosen.
pub(crate) struct IdOrEmailTaken;

impl IntoResponses for IdOrEmailTaken {
    fn responses() -> Responses {
        errors(&[(409, "The id or the e-mail address is taken: the text says which")])
    }
}

/// Responses of a route that writes a user.
pub(crate) struct EmailTaken;

impl IntoResponses for EmailTaken {
    fn responses() -> Responses {
        errors(&[(409, "The e-mail address is taken")])
    }
}
