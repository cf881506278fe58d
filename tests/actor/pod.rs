//! `actor pod`: one process of a service. Its readers judge every answer by the ledger.
//!
//! It says how its invalidator started, then replies with one line for each line on standard input: `report`, `status`,
//! `rest`. It ends in order on `SIGTERM` and at the end of its input.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachefront::binlog::{BinlogSource, MySqlGate, read_fenced_position};
use cachefront::gate::{AllGates, VisibilityGate};
use cachefront::redis::{RedisSettings, RedisStore};
use cachefront::settings::CdcSettings;
use cachefront::store::Store;
use cachefront::{Cache, CacheSettings, Cdc, CdcHandle, Error, LoadCx, Loader, Local, OnLag};
use cachefront_testkit::fleet::{CODES, CacheSpec, Guard, LagPolicy, Ledger, ROWS, Report, Rest, Setup, Tally, now};
use mysql_async::{Opts, OptsBuilder, Pool, PoolOpts, prelude::Queryable};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use crate::crowd::{self, Meter};
use crate::gate::Lag;
use crate::judge::Judge;
use crate::output::say;

/// Loads over connections that are not older than this: an address that moved is followed.
const CONNECTIONS_AGE: Duration = Duration::from_secs(1);

/// A running process.
struct Running {
    caches: Vec<(CacheSpec, Cache<u64, u64>)>,
    pool: Pool,
    tally: Arc<Mutex<Tally>>,
    crowd: Arc<Meter>,
    cdc: Option<CdcHandle>,
    state: Arc<Mutex<(String, u64)>>,
}

/// Loads `item.value` by the column that is the key.
#[derive(Clone)]
struct Values {
    pool: Pool,
    column: String,
    /// A load takes that much longer.
    delay: Duration,
    of_replica: bool,
    /// The log is another server's.
    elsewhere: bool,
    crowd: Arc<Meter>,
}

impl Loader<u64, u64> for Values {
    type Error = mysql_async::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, mysql_async::Error> {
        let _loading = self.crowd.load();
        // sleep: a slow database.
        tokio::time::sleep(self.delay).await;
        let mut conn = self.pool.get_conn().await?;
        let server = read_fenced_position(&mut conn, cx)
            .await
            .map_err(|error| mysql_async::Error::Other(Box::new(error) as Box<dyn std::error::Error + Send + Sync>))?;
        if self.of_replica {
            cx.replica();
        } else if !self.elsewhere {
            cx.origin(&server);
        }
        conn.query_first(format!("SELECT value FROM item WHERE {} = {key}", self.column)).await
    }
}

pub(crate) async fn run(setup: Setup) {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal");
    let (mut running, said) = match start(&setup).await {
        Ok(started) => started,
        Err(error) => return say(&format!("refused: {}", error.chain())),
    };
    if !setup.quiet {
        let judge = Judge {
            ledger: Arc::new(Ledger::open(&setup.ledger).expect("the ledger")),
            mysql: setup.mysql.clone(),
            tally: Arc::clone(&running.tally),
        };
        for (spec, cache) in &running.caches {
            judge.start(&spec.name, added(spec), cache);
        }
    }
    let ledger = Arc::new(Ledger::open(&setup.ledger).expect("the ledger"));
    for (spec, cache) in &running.caches {
        for reader in 0..setup.crowd {
            crowd::read(&running.crowd, &ledger, cache, (added(spec), reader as u64));
        }
    }
    say(&said);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.ok().flatten(),
            _ = terminate.recv() => None,
        };
        match line.as_deref() {
            Some("report") => say(&json(&running.report(true))),
            Some("status") => say(&json(&running.report(false))),
            Some("rest") => say(&json(&running.rest().await)),
            _ => break,
        }
    }
    if let Some(cdc) = running.cdc.take() {
        cdc.shutdown().await;
    }
    std::process::exit(0);
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("JSON")
}

/// What is added to a row's id to make the key.
fn added(spec: &CacheSpec) -> u64 {
    if spec.columns[0] == "code" { CODES } else { 0 }
}

fn pool(url: &str) -> Pool {
    let opts = OptsBuilder::from_opts(Opts::from_url(url).expect("a URL"));
    Pool::new(opts.pool_opts(PoolOpts::default().with_abs_conn_ttl(Some(CONNECTIONS_AGE))))
}

async fn start(setup: &Setup) -> Result<(Running, String), Error> {
    let pool = pool(&setup.mysql);
    let loaders = setup.replica.as_ref().map_or_else(|| pool.clone(), |replica| self::pool(&replica.url));
    let settings = RedisSettings::default().with_wait_replicas(setup.wait_replicas);
    let mut builder = RedisStore::builder(&setup.redis).settings(settings);
    if let Some(namespace) = &setup.namespace {
        builder = builder.namespace(namespace.as_str());
    }
    if let Some(ca) = &setup.redis_ca {
        builder = builder.tls_ca_file(ca);
    }
    let store = builder.connect().await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let (mut caches, crowd) = (Vec::new(), Arc::<Meter>::default());
    for spec in &setup.caches {
        let delay = Duration::from_millis(setup.load_ms);
        let loader = Values {
            pool: loaders.clone(),
            column: spec.columns[0].clone(),
            delay,
            of_replica: setup.replica.is_some(),
            elsewhere: setup.log_of_replica,
            crowd: Arc::clone(&crowd),
        };
        caches.push((spec.clone(), cache(setup, spec, Arc::clone(&store), loader)?));
    }
    let state = Arc::new(Mutex::new(("none".to_owned(), now())));
    let mut running = Running { caches, pool, tally: Arc::default(), crowd, cdc: None, state };
    if setup.bind.as_ref().is_some_and(Vec::is_empty) {
        return Ok((running, "Running".into()));
    }
    let cdc = running.invalidator(setup).await?.spawn()?;
    running.follow(&cdc);
    let said = format!("{:?}", cdc.ready().await?);
    if !setup.drop_handle {
        running.cdc = Some(cdc);
    }
    Ok((running, said))
}

fn cache(setup: &Setup, spec: &CacheSpec, store: Arc<dyn Store>, loader: Values) -> Result<Cache<u64, u64>, Error> {
    let table = format!("{}.{}", setup.database, spec.table.as_deref().unwrap_or("item"));
    let columns: Vec<&str> = spec.columns.iter().map(String::as_str).collect();
    let column = spec.columns[0].clone();
    let mut settings = CacheSettings::default();
    if let Some(LagPolicy { objective_ms, ttl_ms }) = setup.lag {
        settings.freshness_objective = Duration::from_millis(objective_ms);
        settings.on_lag = OnLag::ShortenTtl(Duration::from_millis(ttl_ms));
    }
    if setup.log_of_replica {
        // Its log proves no time.
        settings.on_lag = OnLag::Serve;
    }
    if setup.loads_max > 0 {
        settings.loads_max = setup.loads_max;
    }
    let mut builder = Cache::builder(&spec.name);
    if let Some(replica) = &setup.replica {
        settings.fence_wait = Duration::from_millis(replica.fence_wait_ms);
        settings.lease = Duration::from_millis(replica.lease_ms);
        builder = builder.loads_from("replica");
        if replica.guard == Guard::Fence {
            builder = builder.fenced();
        }
    }
    builder
        .settings(settings)
        .local(Local::max_weight(1 << 20))
        .shared(store)
        .loader(loader)
        .mapping_version(spec.version)
        .depends_on_columns(&table, &columns, move |row| Ok(row.get::<Option<u64>>(&column)?.into_iter().collect()))
        .build()
}

impl Running {
    async fn invalidator(&self, setup: &Setup) -> Result<Cdc, Error> {
        let source = BinlogSource::builder(setup.log.as_ref().unwrap_or(&setup.mysql))
            .allow_missing_tables(setup.allow_missing_tables);
        let source = source.connect().await?;
        let lag = (setup.gate_lag_ms > 0).then(|| Lag::behind(&source, Duration::from_millis(setup.gate_lag_ms)));
        let mut cdc = Cdc::new(source);
        if let Some(lag) = lag {
            cdc = cdc.gate(Arc::new(lag));
        }
        if setup.log_of_replica {
            cdc = cdc.gate(Arc::new(MySqlGate::connect(&setup.mysql).await?));
        }
        if let Some(replica) = setup.replica.as_ref().filter(|replica| replica.guard != Guard::Fence) {
            let mut gates: Vec<Arc<dyn VisibilityGate>> = vec![Arc::new(MySqlGate::connect(&setup.mysql).await?)];
            if replica.guard == Guard::Gate {
                gates.push(Arc::new(MySqlGate::connect(&replica.url).await?));
            }
            cdc = cdc.gate(Arc::new(AllGates::new(gates)));
        }
        for (spec, cache) in &self.caches {
            if setup.bind.as_ref().is_none_or(|names| names.contains(&spec.name)) {
                cdc = cdc.bind(cache);
            }
        }
        let mut settings = CdcSettings::default();
        settings.retry_max = Duration::from_millis(500);
        Ok(cdc.settings(settings))
    }

    /// Notes when the invalidator's state changes.
    fn follow(&self, cdc: &CdcHandle) {
        let (mut statuses, state) = (cdc.watch(), Arc::clone(&self.state));
        tokio::spawn(async move {
            loop {
                let is = format!("{:?}", statuses.borrow_and_update().state);
                {
                    let mut state = state.lock().expect("unpoisoned");
                    if state.0 != is {
                        *state = (is, now());
                    }
                }
                if statuses.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn report(&self, reset: bool) -> Report {
        let (state, since) = self.state.lock().expect("unpoisoned").clone();
        let status = self.cdc.as_ref().map(CdcHandle::status);
        let counts = match reset {
            true => std::mem::take(&mut *self.tally.lock().expect("unpoisoned")),
            false => Tally::default(),
        };
        Report {
            counts,
            crowd: self.crowd.report(reset),
            state,
            since,
            flushes: status.as_ref().map_or(0, |status| status.flushes_total),
            rewinds: status.as_ref().map_or(0, |status| status.rewinds_total),
            invalidations: status.as_ref().map_or(0, |status| status.invalidations_total),
            error: status.as_ref().and_then(|status| status.last_error.as_ref().map(Error::chain)),
            not_covered: status.map(|status| status.not_covered).unwrap_or_default(),
        }
    }

    /// Compares what a plain read would serve with the rows.
    async fn rest(&self) -> Rest {
        let mut conn = self.pool.get_conn().await.expect("a connection");
        let mut rest = Rest::default();
        for (spec, cache) in &self.caches {
            for id in 1..=ROWS {
                let select = format!("SELECT value FROM item WHERE id = {id}");
                let row: u64 = conn.query_first(select).await.expect("an answer").expect("a row");
                match cache.peek(&(id + added(spec))).await {
                    Ok(Some(hit)) if hit.value == Some(row) => rest.fresh += 1,
                    Ok(Some(hit)) => rest.stale.push((spec.name.clone(), id, hit.value, row)),
                    Ok(None) | Err(_) => rest.absent += 1,
                }
            }
        }
        rest
    }
}
