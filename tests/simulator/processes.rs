//! Several processes of the API behind one address, as behind a Kubernetes Service: figures of one are not those of another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_testkit::process::Simulator;
use cachefront_testkit::{unique, wait};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::load::{finish, load, with};
use crate::panel::{Reader, start_alone, with_accounts};
use crate::world::{PATIENCE, on_servers};

/// Listens on a port of its own and passes one connection after the other to the next of `targets`.
async fn in_turn(targets: Vec<SocketAddr>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = targets[next.fetch_add(1, Ordering::Relaxed) % targets.len()];
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_several_processes_are_not_shown_as_those_of_one() {
    let database = unique::database("sim").await;
    let role = |name: &str| with_accounts(on_servers(Simulator::role(name), &database));
    let (first, second) = (role("api").start().await, role("api").start().await);
    let at = |api: &Simulator| api.api_url().trim_start_matches("http://").parse().expect("an address");
    let names = [&first, &second].map(|api| Client::new(api.api_url()));
    let names = [
        names[0].get("/metrics").await.header("x-process").to_owned(),
        names[1].get("/consistency").await.header("x-process").to_owned(),
    ];
    assert_ne!(names[0], names[1]);
    let url = in_turn(vec![at(&first), at(&second)]).await;

    let (_ui, panel) = start_alone(role("ui").env("CACHEFRONT_API_URL", &url)).await;
    let reader = Reader::log_in(&panel, "viewer", "v secret").await;
    wait::until_async("the panel says that it measures nothing", PATIENCE, async || {
        let page = reader.get("/").await.text;
        page.contains("data-unmeasured") && page.contains("2 processes respond as the API")
    })
    .await;
    // A panel with one process to ask shows its figures.
    let (_ui, panel) = start_alone(role("ui").env("CACHEFRONT_API_URL", first.api_url())).await;
    let reader = Reader::log_in(&panel, "viewer", "v secret").await;
    assert!(!reader.get("/").await.text.contains("data-unmeasured"));

    // As fast as needed for requests to overlap: one after another they would share a connection, and so a process.
    let plan = ["--duration=2s", "--rate=600", "--users=5", "--probe-rows=0"];
    let (_, result, log) = finish(with(load(&url), &plan)).await;
    assert_eq!(result["cache"]["database_loads"], serde_json::Value::Null, "{log}");
    let why = result["cache"]["not_measured"].as_str().expect("a reason");
    assert!(why.contains("more than one process"), "{why}");
    let (_, result, log) = finish(with(load(&first.api_url()), &plan)).await;
    assert!(result["cache"]["database_loads"].is_u64() && result["cache"]["not_measured"].is_null(), "{log}");
}
