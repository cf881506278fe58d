//! Lists that depend on several tables, kept correct by tags: `cargo run --example lists_and_tags`.
//!
//! The products of a category, with the names of their makers: a value that is made from two tables and many rows.
//! `CACHEFRONT_MYSQL_URL` (with a database) and `CACHEFRONT_REDIS_URL` name the servers.

#![expect(clippy::print_stdout, reason = "it shows what it does")]
#![expect(dead_code, reason = "it uses a part of what the examples share")]

#[path = "wiring/mod.rs"]
mod wiring;

use cachefront::binlog::{BinlogSource, own_commit_token, read_position};
use cachefront::redis::RedisStore;
use cachefront::{BoxError, Cache, Cdc, LoadCx, Loader, Position};
use mysql_async::prelude::Queryable;
use mysql_async::{Pool, params};
use wiring::{Outcome, database_of, setting};

type Lists = Cache<u64, Vec<String>>;

/// Loads the list of a category.
struct Products(Pool);

impl Loader<u64, Vec<String>> for Products {
    type Error = BoxError;

    async fn load(&self, category: &u64, cx: &LoadCx) -> Result<Option<Vec<String>>, BoxError> {
        let mut conn = self.0.get_conn().await?;
        let (executed, server) = read_position(&mut conn).await?;
        cx.position(executed);
        cx.origin(&server);
        let rows: Vec<(String, u64, String)> = conn
            .exec(
                "SELECT p.name, m.id, m.name FROM example_products p JOIN example_makers m ON m.id = p.maker_id
                 WHERE p.category_id = :category ORDER BY p.id",
                params! { "category" => *category },
            )
            .await?;
        // The makers are known only now: the list is loaded once more if it has one that it had not before.
        rows.iter().for_each(|(_, maker, _)| cx.tag(&format!("maker:{maker}")));
        Ok(Some(rows.into_iter().map(|(product, _, maker)| format!("{product} by {maker}")).collect()))
    }
}

/// Every process builds the cache by this function.
async fn lists(pool: &Pool, database: &str) -> Outcome<Lists> {
    let redis = setting("CACHEFRONT_REDIS_URL", "redis://127.0.0.1/");
    let store = RedisStore::builder(&redis).namespace(format!("lists-{database}")).connect().await?;
    let lists = Lists::builder("products-of-category")
        .shared(store)
        .loader(Products(pool.clone()))
        .tags_of(|category| vec![format!("category:{category}")])
        .depends_on_tags((database, "example_products"), &["category_id"], |row| {
            Ok(vec![format!("category:{}", row.get::<u64>("category_id")?)])
        })
        .depends_on_tags((database, "example_makers"), &["id"], |row| {
            Ok(vec![format!("maker:{}", row.get::<u64>("id")?)])
        });
    Ok(lists.build()?)
}

async fn prepare(pool: &Pool) -> Outcome {
    let mut conn = pool.get_conn().await?;
    for statement in [
        "CREATE TABLE IF NOT EXISTS example_makers (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(50) NOT NULL)",
        "CREATE TABLE IF NOT EXISTS example_products (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(50) NOT NULL,
         category_id BIGINT UNSIGNED NOT NULL, maker_id BIGINT UNSIGNED NOT NULL)",
        "REPLACE INTO example_makers VALUES (7, 'Ada'), (8, 'Grace')",
        "REPLACE INTO example_products VALUES (1, 'lamp', 1, 7), (2, 'desk', 1, 8), (3, 'chair', 2, 8)",
    ] {
        conn.query_drop(statement).await?;
    }
    Ok(())
}

/// Changes the database; returns the token of the change.
async fn change(pool: &Pool, statement: &str) -> Outcome<Position> {
    let mut conn = pool.get_conn().await?;
    conn.query_drop(statement).await?;
    Ok(own_commit_token(&mut conn).await?)
}

#[tokio::main]
async fn main() -> Outcome {
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let pool = Pool::from_url(&url)?;
    prepare(&pool).await?;
    let lists = lists(&pool, &database_of(&url)?).await?;
    let cdc = Cdc::new(BinlogSource::connect(&url).await?).bind(&lists).spawn()?;
    cdc.ready().await?;
    println!("{:?}", lists.get_many([1, 2]).await?);
    for (what, statement) in [
        ("a product moves, which changes two lists", "UPDATE example_products SET category_id = 2 WHERE id = 2"),
        ("a maker is renamed, on all lists", "UPDATE example_makers SET name = 'Grace Hopper' WHERE id = 8"),
        ("a product is new, and on no list yet", "REPLACE INTO example_products VALUES (4, 'shelf', 1, 8)"),
    ] {
        let token = change(&pool, statement).await?;
        println!("{what}: {:?}", lists.get_many([1, 2]).at_least(&token).await?);
    }
    // By hand, for a change that the log does not have.
    lists.invalidate_tag("category:1").await?;
    println!("{}", lists.explain(&1).await?);
    cdc.shutdown().await;
    pool.disconnect().await?;
    Ok(())
}
