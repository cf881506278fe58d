//! The load generator: reads and writes at a steady rate, sent on time whether or not earlier ones were answered.
//!
//! Latency is measured from the moment a request was *due*, so a server that stalls cannot hide it by slowing us down.

mod mix;
mod report;
mod users;

use std::sync::Arc;
use std::time::Duration;

use mix::{Mix, Request};
use report::{Outcome, Report};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::config::{LoadFlags, Settings, duration};
use crate::fatal::Fatal;
use crate::serve::told_to_end;

/// A request that takes longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// # Errors
/// A line that says which flag is wrong, or that the API does not answer.
pub(crate) async fn run(settings: &Settings, flags: &LoadFlags) -> Result<(), Fatal> {
    let length = duration::parse("--duration", &flags.duration)?;
    check(flags)?;
    let mut client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy();
    if let Some(token) = settings.client_token() {
        client = client.default_headers(users::authorization(token)?);
    }
    let client = client.build().map_err(|error| Fatal::new(error.to_string()))?;
    let api = users::Client::new(client, settings.api_url.clone());
    let mix = Mix::new(api.prepare(flags.users).await?, flags);
    let report = drive(api, mix, flags, length).await;
    report.print(flags.json);
    Ok(())
}

fn check(flags: &LoadFlags) -> Result<(), Fatal> {
    let wrong = |flag: &str, range: &str| Err(Fatal::new(format!("--{flag} is out of range: give {range}")));
    match flags {
        _ if !(flags.rate > 0.0 && flags.rate <= 1e6) => wrong("rate", "above 0, up to 1000000"),
        _ if !(0.0..=1.0).contains(&flags.writes) => wrong("writes", "0 to 1"),
        _ if !(0.0..=10.0).contains(&flags.skew) => wrong("skew", "0 to 10"),
        _ if !(1..=100_000).contains(&flags.users) => wrong("users", "1 to 100000"),
        _ if !(1..=100_000).contains(&flags.in_flight) => wrong("in-flight", "1 to 100000"),
        _ => Ok(()),
    }
}

async fn drive(api: users::Client, mut mix: Mix, flags: &LoadFlags, length: Duration) -> Report {
    let permits = Arc::new(Semaphore::new(flags.in_flight));
    let (outcomes, mut collected) = mpsc::channel(flags.in_flight);
    let interval = Duration::from_secs_f64(1.0 / flags.rate);
    let started = Instant::now();
    let collector = tokio::spawn(async move {
        let mut report = Report::new();
        while let Some(outcome) = collected.recv().await {
            report.add(&outcome);
        }
        report
    });
    let told = told_to_end();
    tokio::pin!(told);
    let (mut sent, mut dropped) = (0_u32, 0_u64);
    loop {
        let due = started + interval.saturating_mul(sent);
        if due.duration_since(started) >= length {
            break;
        }
        tokio::select! {
            () = &mut told => break,
            () = tokio::time::sleep_until(due) => {}
        }
        sent = sent.saturating_add(1);
        let request = mix.next();
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            dropped += 1;
            continue;
        };
        let (api, outcomes) = (api.clone(), outcomes.clone());
        tokio::spawn(async move {
            let outcome = perform(&api, &request, due).await;
            // The collector lives until the last sender is gone.
            let _ = outcomes.send(outcome).await;
            drop(permit);
        });
    }
    drop(outcomes);
    let mut report = collector.await.unwrap_or_else(|_| Report::new());
    report.finish(started.elapsed(), u64::from(sent), dropped);
    report
}

async fn perform(api: &users::Client, request: &Request, due: Instant) -> Outcome {
    let status = match request {
        Request::Read { id } => api.read(*id).await,
        Request::Write { user, name } => api.write(user, name).await,
    };
    Outcome { write: matches!(request, Request::Write { .. }), status, took: due.elapsed() }
}
