//! Kills, losses and outages on real servers: each costs latency or hit rate, none leaves a stale entry.

mod consumer;
mod load;
mod observed;
mod store;
