//! The load generator next to vegeta: both ask the same server at the same rate, in turns, and must see the same.
//!
//! It is a check and no test: vegeta is built with Go, which the tests do without.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::run::must;
use crate::{
    exec,
    failure::{Context, Failure, Result},
    tools,
};

/// How long the server takes for an answer: as a database does, and as a cache does.
const SERVICE: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(2)];
/// Requests for each second, and for how many.
const RATE: u32 = 200;
const SECONDS: u32 = 3;
/// Number of runs of each, in turns: other work of the machine hits both alike, and medians leave out what hits one.
const ROUNDS: usize = 5;
/// How far the medians may lie apart.
const BAND: f64 = 0.1;
/// What a thread's wake-up may add to a time that is as short as the shortest here.
const WAKE_UP_MS: f64 = 0.2;

/// What one run of one of them saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Responses for each second.
    rate: f64,
    /// Ours from the moment a request was due, vegeta's from the moment it was sent.
    p50_ms: f64,
    p99_ms: f64,
    /// From the moment a request was sent, by both: what lies between is the wake-up of who sends.
    sent_p50_ms: f64,
}

/// Compares rate and p50; the p99 of five short runs is shown, not judged.
pub(super) fn load_generator() -> Result<()> {
    let program = crate::test::build_examples()?;
    let mut wrong = Vec::new();
    for service in SERVICE {
        let server = serve(service)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(vegeta(&server)?);
            ours.push(simulator(&program, &server)?);
        }
        let (ours, theirs) = (median(&ours), median(&theirs));
        eprintln!("       {service:?}: ours   {ours}\n       {service:?}: vegeta {theirs}");
        if (ours.rate - theirs.rate).abs() > BAND * theirs.rate {
            wrong.push(format!("{service:?}: {:.1} responses a second against {:.1}", ours.rate, theirs.rate));
        }
        if (ours.p50_ms - theirs.p50_ms).abs() > BAND * theirs.p50_ms + WAKE_UP_MS {
            wrong.push(format!("{service:?}: p50 {:.2} ms against {:.2} ms", ours.p50_ms, theirs.p50_ms));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "the load generator and vegeta disagree by more than 10 % (medians of {ROUNDS} runs):\n  {}",
            wrong.join("\n  ")
        ))),
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, p50_ms, p99_ms, sent_p50_ms } = self;
        write!(f, "{rate:>6.1}/s  p50 {p50_ms:>6.2} ms (from the sending {sent_p50_ms:.2} ms)  p99 {p99_ms:>6.2} ms")
    }
}

fn median(runs: &[Seen]) -> Seen {
    let of = |number: fn(&Seen) -> f64| {
        let mut numbers: Vec<f64> = runs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Seen {
        rate: of(|seen| seen.rate),
        p50_ms: of(|seen| seen.p50_ms),
        p99_ms: of(|seen| seen.p99_ms),
        sent_p50_ms: of(|seen| seen.sent_p50_ms),
    }
}

fn simulator(program: &Path, server: &str) -> Result<Seen> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command
        .current_dir(dir.path())
        .env("CACHEFRONT_API_URL", server)
        .args(["load", "--probe-rows=0", "--write-ratio=0", "--users=10", "--json=-"])
        .args([format!("--rate={RATE}"), format!("--duration={SECONDS}s")]);
    let result: Value = serde_json::from_str(&exec::text(&mut command)?)?;
    let number = |pointer: &str| {
        let value = result.pointer(pointer).and_then(Value::as_f64);
        value.ok_or_else(|| Failure::new(format!("the load generator's result has no {pointer}")))
    };
    Ok(Seen {
        rate: number("/requests/rate")?,
        p50_ms: number("/latency/all/p50_ms")?,
        p99_ms: number("/latency/all/p99_ms")?,
        sent_p50_ms: number("/latency/service/p50_ms")?,
    })
}

fn vegeta(server: &str) -> Result<Seen> {
    let dir = tempfile::tempdir()?;
    let (targets, results) = (dir.path().join("targets"), dir.path().join("results"));
    let lines: Vec<String> = (1..=10).map(|id| format!("GET {server}/users/{id}")).collect();
    fs::write(&targets, lines.join("\n"))?;
    must(tools::command("vegeta")?.arg("attack").args([
        format!("-targets={}", targets.display()),
        format!("-output={}", results.display()),
        format!("-rate={RATE}"),
        format!("-duration={SECONDS}s"),
    ]))?;
    let report: Value =
        serde_json::from_str(&exec::text(tools::command("vegeta")?.args(["report", "-type=json"]).arg(&results))?)?;
    let number = |pointer: &str| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        value.ok_or_else(|| Failure::new(format!("vegeta's report has no {pointer}")))
    };
    if number("/success")? < 1.0 {
        return Err(Failure::new("requests of vegeta failed"));
    }
    let p50_ms = number("/latencies/50th")? / 1e6;
    Ok(Seen { rate: number("/rate")?, p50_ms, p99_ms: number("/latencies/99th")? / 1e6, sent_p50_ms: p50_ms })
}

/// A server that responds as the API does, always after the same time. It ends with this program.
fn serve(service: Duration) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "no port is free".to_owned())?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A thread for each connection: its sleep is finer than a runtime's timer.
            thread::spawn(move || answer_all(stream, service));
        }
    });
    Ok(url)
}

/// Responds until the client disconnects.
fn answer_all(mut stream: TcpStream, service: Duration) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut created = 0;
    loop {
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.to_ascii_lowercase();
            match line.strip_prefix("content-length:") {
                Some(value) => length = value.trim().parse().ok()?,
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        std::io::Read::read_exact(&mut reader, &mut vec![0; length]).ok()?;
        let (status, body) = match first.split('?').next().unwrap_or_default() {
            "GET /users" => (200, json!([])),
            line if line.starts_with("POST /users") => {
                created += 1;
                (201, user(created))
            }
            line if line.starts_with("GET /users/") => {
                // sleep: the time that an answer takes is what the server is for.
                thread::sleep(service);
                let id = line.split(['/', ' ']).nth(3).and_then(|id| id.parse().ok()).unwrap_or_default();
                (200, user(id))
            }
            _ => (404, json!({ "detail": "Not Found" })),
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok()?;
    }
}

fn user(id: u64) -> Value {
    json!({ "id": id, "name": "stub", "email": format!("{id}@example.org") })
}
