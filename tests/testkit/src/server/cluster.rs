//! A Redis Cluster: one of a test's own, whose nodes may be killed and whose slots may be moved, or one that all tests of a
//! program share.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use cachefront_stack::redis::arguments;
use tokio::sync::OnceCell;

use super::folder::temporary_dir;
use super::redis::{BUS_PORT_OFFSET, Redis, raw_command};
use super::tls;
use crate::{port, stack, wait};

/// How long a cluster may take to form, or to elect a primary.
const FORMED: Duration = Duration::from_secs(30);

/// Arguments that make a server a node. Failures are noticed after a second, and a node that is away costs its own slots.
const NODE: [&str; 12] = [
    "--cluster-enabled",
    "yes",
    "--cluster-config-file",
    "nodes.conf",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-replica-validity-factor",
    "0",
    "--repl-diskless-sync-delay",
    "0",
];

/// A cluster of one test's own: three primaries, and a replica for each.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; dropped, they are killed.
    pub nodes: Vec<Redis>,
    ids: Vec<String>,
    /// The nodes' ports for TLS, if they have any.
    tls_ports: Vec<u16>,
}

/// One line of `CLUSTER NODES`.
#[derive(Debug)]
struct Line {
    id: String,
    port: u16,
    flags: String,
    primary: String,
    slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// Starts six nodes and forms the cluster with `redis-cli --cluster create`.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(Redis::start_with(&NODE).await);
        }
        Self::form(nodes, Vec::new()).await
    }

    /// The same over TLS, between nodes too, under the host name that the certificates have. `extra` are further arguments.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn start_with_tls(extra: &[&str]) -> Self {
        let (mut nodes, mut tls_ports) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let port = port::free_with(BUS_PORT_OFFSET);
            let tls = tls::arguments(port);
            let named = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
            let arguments = NODE.iter().copied().chain(tls.iter().map(String::as_str));
            let arguments = arguments.chain(["--tls-cluster", "yes"]).chain(named).chain(extra.iter().copied());
            nodes.push(Redis::start_with(&arguments.collect::<Vec<_>>()).await);
            tls_ports.push(port);
        }
        Self::form(nodes, tls_ports).await
    }

    async fn form(nodes: Vec<Redis>, tls_ports: Vec<u16>) -> Self {
        let ports: Vec<u16> = nodes.iter().map(Redis::port).collect();
        create(&ports, &tls_ports, 1).await;
        let mut ids = Vec::new();
        for port in &ports {
            let reply = raw_command(*port, "CLUSTER MYID").await.expect("a reply");
            ids.push(reply.lines().nth(1).expect("an id").to_owned());
        }
        let cluster = Self { nodes, ids, tls_ports };
        wait::until_async("every replica is in step", FORMED, async || {
            for node in &cluster.nodes {
                let info = node.command("INFO replication").await.unwrap_or_default();
                if !info.contains("master_link_status:up") && !info.contains("connected_slaves:1") {
                    return false;
                }
            }
            true
        })
        .await;
        cluster
    }

    /// The URL `redis+cluster://…` of all nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}/", hosts.join(","))
    }

    /// The URL `rediss+cluster://…` of all nodes, with this login.
    pub fn tls_url(&self, user: &str, password: &str) -> String {
        let hosts: Vec<String> = self.tls_ports.iter().map(|port| format!("localhost:{port}")).collect();
        format!("rediss+cluster://{user}:{password}@{}/", hosts.join(","))
    }

    /// The slot of a key.
    ///
    /// # Panics
    /// If the first node that is asked does not reply.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let line = format!("CLUSTER KEYSLOT {key}");
        let reply = wait::until_some("a node replies", FORMED, async || {
            for node in &self.nodes {
                if let Ok(reply) = node.command(&line).await {
                    return Some(reply);
                }
            }
            None
        });
        reply.await.trim_start_matches(':').trim_end().parse().expect("a slot")
    }

    /// Index of the node that has the slot of a key, as the nodes say that run.
    ///
    /// # Panics
    /// If they do not agree in time.
    pub async fn owner_of(&self, key: &str) -> usize {
        let slot = self.slot_of(key).await;
        wait::until_some("the nodes agree who has a slot", FORMED, async || {
            let mut owners = Vec::new();
            for node in &self.nodes {
                let Ok(reply) = node.command("CLUSTER NODES").await else { continue };
                let lines = parse(&reply);
                let owner = lines.iter().find(|line| {
                    !line.flags.contains("fail")
                        && line.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
                });
                owners.push(owner?.id.clone());
            }
            owners.dedup();
            let [owner] = &owners[..] else { return None };
            self.ids.iter().position(|id| id == owner)
        })
        .await
    }

    /// Index of the replica of a node, which the node may learn of later than others do.
    ///
    /// # Panics
    /// If it has none in time.
    pub async fn replica_of(&self, primary: usize) -> usize {
        wait::until_some("the node has a replica", FORMED, async || {
            let reply = self.nodes[primary].command("CLUSTER NODES").await.ok()?;
            let line = parse(&reply).into_iter().find(|line| line.primary == self.ids[primary])?;
            self.ids.iter().position(|id| *id == line.id)
        })
        .await
    }

    /// Makes a replica a primary without slots, and returns its index.
    ///
    /// # Panics
    /// If a node refuses, or if it takes too long.
    pub async fn empty_node(&self) -> usize {
        let node = self.replica_of(0).await;
        self.ok(node, "CLUSTER RESET").await;
        self.ok(0, &format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[node].port())).await;
        wait::until_async("the node is part of the cluster", FORMED, async || {
            let reply = self.nodes[node].command("CLUSTER NODES").await.unwrap_or_default();
            let knows_all = self.ids.iter().all(|id| reply.contains(id.as_str())) && !reply.contains("handshake");
            let info = self.nodes[node].command("CLUSTER INFO").await.unwrap_or_default();
            let mut known = knows_all && info.contains("cluster_state:ok");
            for other in &self.nodes {
                let reply = other.command("CLUSTER NODES").await.unwrap_or_default();
                known &= parse(&reply).iter().any(|line| line.id == self.ids[node] && line.flags.contains("master"));
            }
            known
        })
        .await;
        node
    }

    /// Begins to move a slot: from now on, keys that the old node does not have are asked for at the new one.
    ///
    /// # Panics
    /// If a node refuses.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        self.ok(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.ids[from])).await;
        self.ok(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.ids[to])).await;
    }

    /// Moves up to `count` keys of a slot; returns how many there were.
    ///
    /// # Panics
    /// If a node refuses.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let reply = self.nodes[from].command(&format!("CLUSTER GETKEYSINSLOT {slot} {count}")).await.expect("keys");
        let keys: Vec<&str> = reply.lines().skip(1).filter(|line| !line.starts_with('$')).collect();
        for key in &keys {
            let line = format!("MIGRATE 127.0.0.1 {} {key} 0 5000", self.nodes[to].port());
            let moved = self.nodes[from].command(&line).await.expect("a reply");
            assert!(moved.starts_with("+OK") || moved.starts_with("+NOKEY"), "{line}: {moved}");
        }
        keys.len()
    }

    /// Ends a move: the new node has the slot.
    ///
    /// # Panics
    /// If a node refuses.
    pub async fn end_move(&self, slot: u16, to: usize) {
        let line = format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[to]);
        self.ok(to, &line).await;
        for (index, node) in self.nodes.iter().enumerate() {
            let info = node.command("INFO replication").await.unwrap_or_default();
            if index != to && info.contains("role:master") {
                self.ok(index, &line).await;
            }
        }
    }

    /// Gives up a move of which no key was moved.
    ///
    /// # Panics
    /// If a node refuses.
    pub async fn give_up_move(&self, slot: u16, from: usize, to: usize) {
        self.ok(from, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
        self.ok(to, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
    }

    /// Moves a slot with all its keys.
    ///
    /// # Panics
    /// If a node refuses.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to).await;
        while self.move_keys(slot, from, to, 100).await > 0 {}
        self.end_move(slot, to).await;
    }

    async fn ok(&self, node: usize, line: &str) {
        let reply = self.nodes[node].command(line).await.expect("a reply");
        assert!(reply.starts_with("+OK"), "{line}: {reply}");
    }
}

/// Forms a cluster of nodes that run. With TLS they reach each other at a port that is derived from the one for TLS.
async fn create(ports: &[u16], tls_ports: &[u16], replicas: usize) {
    let bus = |index: usize| tls_ports.get(index).map(|port| format!("@{}", port + BUS_PORT_OFFSET));
    let node = |(index, port): (usize, &u16)| format!("127.0.0.1:{port}{}", bus(index).unwrap_or_default());
    let nodes: Vec<String> = ports.iter().enumerate().map(node).collect();
    let mut command = tokio::process::Command::new(stack::redis_cli());
    command.args(["--cluster", "create"]).args(&nodes);
    command.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]);
    let output = tokio::time::timeout(FORMED, command.output()).await.expect("in time").expect("redis-cli runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    wait::until_async("the cluster is formed", FORMED, async || {
        for port in ports {
            let info = raw_command(*port, "CLUSTER INFO").await.unwrap_or_default();
            if !info.contains("cluster_state:ok") {
                return false;
            }
        }
        true
    })
    .await;
}

fn parse(nodes: &str) -> Vec<Line> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, primary, _, _, _, _, slots @ ..] = &words[..] else { return None };
        let range = |slots: &&str| {
            let (first, last) = slots.trim_end().split_once('-').unwrap_or((slots.trim_end(), slots.trim_end()));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(Line {
            id: (*id).to_owned(),
            port: address.split_once('@')?.0.rsplit_once(':')?.1.parse().ok()?,
            flags: (*flags).to_owned(),
            primary: (*primary).to_owned(),
            slots: slots.iter().filter_map(range).collect(),
        })
    };
    nodes.lines().filter_map(line).filter(|line| line.port > 0).collect()
}

/// A cluster of three primaries that all tests of a program share. It ends with the program, however that ends: its nodes
/// belong to a shell that kills them when its input is closed.
///
/// # Panics
/// If it does not form in time.
pub async fn shared_cluster() -> String {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_init(|| Shared::cluster(stack::redis_server())).await.url.clone()
}

/// The same of Valkey.
///
/// # Panics
/// If it does not form in time.
pub async fn shared_valkey_cluster() -> String {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_init(|| Shared::cluster(stack::valkey_server())).await.url.clone()
}

/// One Valkey that all tests of a program share, and that ends with it.
///
/// # Panics
/// If it does not serve in time.
pub async fn shared_valkey() -> String {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    let start = || async {
        let port = port::free();
        let shell = Shared::start(&stack::valkey_server(), &[port], &[]).await;
        Shared { url: format!("redis://127.0.0.1:{port}"), _shell: shell }
    };
    SHARED.get_or_init(start).await.url.clone()
}

/// Servers that all tests of a program share.
struct Shared {
    url: String,
    /// Its input is a pipe of this program's, and closed with it.
    _shell: Child,
}

impl Shared {
    async fn cluster(program: PathBuf) -> Self {
        let ports = [(); 3].map(|()| port::free_with(BUS_PORT_OFFSET));
        let shell = Self::start(&program, &ports, &NODE).await;
        create(&ports, &[], 0).await;
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Self { url: format!("redis+cluster://{}/", hosts.join(",")), _shell: shell }
    }

    /// Starts a server on each port, and waits until all of them serve.
    async fn start(program: &Path, ports: &[u16], extra: &[&str]) -> Child {
        let dir = temporary_dir("shared").keep();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script(&dir, program, ports, extra)).stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = shell.spawn().expect("a shell");
        wait::until_async("the servers reply", FORMED, async || {
            for port in ports {
                if !raw_command(*port, "PING").await.is_ok_and(|reply| reply.starts_with("+PONG")) {
                    return false;
                }
            }
            true
        })
        .await;
        shell
    }
}

/// A shell script that runs the servers until its input is closed.
fn script(dir: &Path, program: &Path, ports: &[u16], extra: &[&str]) -> String {
    let mut script = "trap '' INT\n".to_owned();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    for port in ports {
        let dir = dir.join(port.to_string());
        std::fs::create_dir_all(&dir).expect("a folder for the server");
        let words: Vec<String> = [program.display().to_string()]
            .into_iter()
            .chain(arguments(&dir, *port))
            .chain(extra.iter().map(|word| (*word).to_owned()))
            .map(|word| quoted(&word))
            .collect();
        script += &format!("{} >/dev/null 2>&1 </dev/null & pids=\"$pids $!\"\n", words.join(" "));
    }
    let dir = quoted(&dir.display().to_string());
    script + &format!("read -r _\nkill -9 $pids\nwait $pids 2>/dev/null\nrm -rf {dir}\n")
}
