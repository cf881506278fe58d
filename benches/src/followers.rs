//! Followers of one bus: other processes of a service, which have the same caches, read a little and then only listen.

use crate::child::{Child, serve};
use crate::shop::{cache, connect};
use crate::world::cpu_seconds;

/// Starts a follower with this many caches; returns when it follows.
pub(crate) async fn start(url: &str, namespace: &str, caches: u64) -> Child {
    Child::start(&["--follow", url, namespace, &caches.to_string()]).await
}

/// CPU time of all followers, in seconds.
pub(crate) async fn cpu_of(followers: &mut [Child]) -> f64 {
    let mut sum = 0.0;
    for follower in followers {
        follower.send("cpu").await;
        sum += follower.line().await.parse::<f64>().expect("seconds");
    }
    sum
}

/// Is a follower: prints the CPU time used so far for each line of the input, and returns at the end of the input.
pub(crate) async fn follow(url: &str, namespace: &str, caches: u64) {
    let store = connect(url, namespace).await;
    let mut followed = Vec::new();
    for number in 0..caches {
        let cache = cache(&store, number, true);
        cache.get(&number).await.expect("a value");
        followed.push(cache);
    }
    serve(async |_| cpu_seconds().to_string()).await;
}
