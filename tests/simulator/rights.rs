//! The users that compose.yaml makes in MySQL have the rights that the roles and the connector need, and no more.

use std::fs;
use std::time::Duration;

use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::stack;
use cachefront_testkit::unique::{self, Database};
use cachefront_testkit::wait;
use mysql_async::prelude::Queryable;

use crate::client::Client;

/// How long anything healthy may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The statements of the script that the container runs, for a database and users of a test's own.
fn statements(database: &str, owner: &str, connector: &str) -> Vec<String> {
    let script = fs::read_to_string(stack::workspace_root().join("deploy/compose/mysql/users.sh")).expect("the script");
    let (_, rest) = script.split_once("<<SQL\n").expect("SQL");
    let (sql, _) = rest.split_once("\nSQL\n").expect("its end");
    let sql = sql
        .replace("'cachefront'@", &format!("'{owner}'@"))
        .replace("'debezium'@", &format!("'{connector}'@"))
        .replace("cachefront.*", &format!("`{database}`.*"))
        .replace("EXISTS cachefront;", &format!("EXISTS `{database}`;"))
        .replace("${STACK_MYSQL_PASSWORD:?}", "word")
        .replace("${STACK_DEBEZIUM_PASSWORD:?}", "word");
    assert!(!sql.contains("cachefront") && !sql.contains('$'), "{sql}");
    sql.lines().map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// `url` with another user, and with this database.
fn as_user(url: &str, user: &str, database: &str) -> String {
    let (_, host) = url.rsplit_once('@').expect("a user");
    let host = host.split('/').next().unwrap_or(host);
    format!("mysql://{user}:word@{host}/{database}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_compose_can_do_their_work() {
    let database: Database = unique::database("rights").await;
    let (owner, connector) = (unique::name("own"), unique::name("con"));
    let mut admin = database.connect().await;
    for statement in statements(database.name(), &owner, &connector) {
        admin.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let prefix = unique::name("rights");
    let role = |name: &str, source: &str| -> Launch {
        Simulator::role(name)
            .env("CACHEFRONT_MYSQL_URL", as_user(&stack::mysql_url(), &owner, database.name()))
            .env("CACHEFRONT_CONNECT_MYSQL_URL", as_user(&stack::connect_mysql_url(), &connector, database.name()))
            .env("CACHEFRONT_REDIS_URL", stack::redis_url())
            .env("CACHEFRONT_SOURCE", source)
            .env("CACHEFRONT_KAFKA_BROKERS", stack::kafka_brokers())
            .env("CACHEFRONT_CONNECT_KAFKA_BROKERS", stack::connect_kafka_brokers())
            .env("CACHEFRONT_CONNECT_URL", stack::connect_url())
            .env("CACHEFRONT_TOPIC_PREFIX", &prefix)
            .env("CACHEFRONT_KAFKA_GROUP", &prefix)
            .env("CACHEFRONT_STARTUP_TIMEOUT", "60s")
    };
    let mut bootstrap = role("bootstrap", "kafka").spawn();
    assert!(bootstrap.ended(PATIENCE).await.success(), "{}", bootstrap.log());
    for source in ["kafka", "binlog"] {
        let simulator = role("up", source).start().await;
        let api = Client::new(simulator.api_url());
        wait::until_async("changes are read", PATIENCE, async || {
            let pipeline = api.get("/pipeline").await.expect(200);
            pipeline["applied"].is_string() && pipeline["running"] == true
        })
        .await;
    }
    Connector::adopt(&Servers::shared(), &prefix, &database).remove().await;
    for user in [owner, connector] {
        admin.query_drop(format!("DROP USER '{user}'")).await.expect("the user goes");
    }
}
