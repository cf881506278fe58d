//! A service with two caches, tokens over HTTP, and readiness: `cargo run --example axum_service`.
//!
//! | request | response |
//! |---|---|
//! | `GET /users/{id}`, `GET /users/{id}/orders` | a value; with the header `x-consistency-token` of a write it contains that write |
//! | `PUT /users/{id}` with a name | the header `x-consistency-token` |
//! | `GET /readyz` | 200 once the invalidator has run or stood by, also while a server is away: reads are served then, too |
//! | `GET /status` | what the invalidator does, for people and alerts |
//!
//! `CACHEFRONT_MYSQL_URL` (with a database), `CACHEFRONT_REDIS_URL` and `EXAMPLE_ADDR` name the servers.

#![expect(clippy::print_stdout, reason = "it shows where it listens")]
#![expect(dead_code, reason = "it uses a part of what the examples share")]

#[path = "wiring/mod.rs"]
mod wiring;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use cachefront::binlog::{BinlogSource, own_commit_token, read_position};
use cachefront::{BoxError, Cache, Cdc, CdcHandle, CdcStatus, ErrorKind, LoadCx, Loader, Position};
use mysql_async::prelude::Queryable;
use mysql_async::{Pool, params};
use wiring::{Outcome, cache, database_of, prepare, setting};

const TOKEN: &str = "x-consistency-token";
#[derive(Clone)]
struct App {
    pool: Pool,
    names: Cache<u64, String>,
    orders: Cache<u64, Vec<u64>>,
    cdc: CdcHandle,
    /// Set once, and never unset: an outage of MySQL or Redis reaches all processes alike, and each of them still serves what it
    /// can. Taking all of them out of the load balancer would help no client.
    is_ready: Arc<AtomicBool>,
}

/// A client that has written nothing brings no token: its reads are plain ones.
fn token(headers: &HeaderMap) -> Result<Option<Position>, StatusCode> {
    let Some(text) = headers.get(TOKEN) else { return Ok(None) };
    text.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or(StatusCode::BAD_REQUEST)
}

fn status(error: &cachefront::Error) -> StatusCode {
    match error.kind() {
        // The client may try again: the database lags, is slow or away, or this process shuts down.
        ErrorKind::Unproven
        | ErrorKind::Overloaded
        | ErrorKind::Timeout
        | ErrorKind::Load
        | ErrorKind::Unavailable
        | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn name(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Result<String, StatusCode> {
    let name = app.names.get(&id).at_least(token(&headers)?).await.map_err(|error| status(&error))?;
    name.ok_or(StatusCode::NOT_FOUND)
}

async fn orders(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Result<Json<Vec<u64>>, StatusCode> {
    let orders = app.orders.get(&id).at_least(token(&headers)?).await.map_err(|error| status(&error))?;
    Ok(Json(orders.unwrap_or_default()))
}

async fn rename(
    State(app): State<App>,
    Path(id): Path<u64>,
    name: String,
) -> Result<[(&'static str, String); 1], StatusCode> {
    let write = async {
        let mut conn = app.pool.get_conn().await?;
        conn.exec_drop("REPLACE INTO example_users VALUES (:id, :name)", params! { "id" => id, "name" => name })
            .await?;
        Ok::<_, BoxError>(own_commit_token(&mut conn).await?)
    };
    let token = write.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok([(TOKEN, token.to_string())])
}

/// Loads the orders of a user. An empty list is a value as well: the user's first order invalidates it.
struct OrdersOfUser(Pool);

impl Loader<u64, Vec<u64>> for OrdersOfUser {
    type Error = BoxError;

    async fn load(&self, user: &u64, cx: &LoadCx) -> Result<Option<Vec<u64>>, BoxError> {
        let mut conn = self.0.get_conn().await?;
        // Before the SELECT and on the same connection, as every loader of a cache that follows a log.
        let (position, server) = read_position(&mut conn).await?;
        cx.position(position);
        cx.origin(&server);
        let query = "SELECT id FROM example_orders WHERE user_id = :user ORDER BY id";
        Ok(Some(conn.exec(query, params! { "user" => user }).await?))
    }
}

async fn ready(State(app): State<App>) -> StatusCode {
    if app.is_ready.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn invalidator(State(app): State<App>) -> Json<CdcStatus> {
    Json(app.cdc.status())
}

/// Reports the service ready once its invalidator is. Returns only if the set-up has a mistake, which the error explains.
async fn mistake(cdc: &CdcHandle, is_ready: &AtomicBool) -> cachefront::Error {
    match cdc.ready().await {
        Ok(_) => {
            is_ready.store(true, Ordering::Relaxed);
            std::future::pending().await
        }
        Err(error) => error,
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let (database, pool) = (database_of(&url)?, Pool::from_url(&url)?);
    prepare(&pool).await?;
    let orders_table =
        "CREATE TABLE IF NOT EXISTS example_orders (id BIGINT UNSIGNED PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL)";
    pool.get_conn().await?.query_drop(orders_table).await?;
    let names = cache(&pool, &database).await?;
    let orders: Cache<u64, Vec<u64>> = Cache::builder("orders-of-user")
        .shared(names.store())
        .loader(OrdersOfUser(pool.clone()))
        .depends_on_columns(&format!("{database}.example_orders"), &["user_id"], |row| Ok(vec![row.get("user_id")?]))
        .build()?;
    let cdc = Cdc::new(BinlogSource::connect(&url).await?).bind(&names).bind(&orders).spawn()?;
    let is_ready = Arc::new(AtomicBool::new(false));
    let app =
        App { pool, names: names.clone(), orders: orders.clone(), cdc: cdc.clone(), is_ready: Arc::clone(&is_ready) };
    let routes = Router::new()
        .route("/users/{id}", get(name).put(rename))
        .route("/users/{id}/orders", get(self::orders))
        .route("/readyz", get(ready))
        .route("/status", get(invalidator))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(setting("EXAMPLE_ADDR", "127.0.0.1:8080")).await?;
    println!("listening on {}", listener.local_addr()?);
    let signal = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    tokio::select! {
        served = axum::serve(listener, routes).with_graceful_shutdown(signal).into_future() => served?,
        error = mistake(&cdc, &is_ready) => return Err(error.into()),
    }
    // Loads in progress are stored for other processes; then another invalidator takes over at once.
    let _ = (names.shutdown().await, orders.shutdown().await);
    cdc.shutdown().await;
    Ok(())
}
