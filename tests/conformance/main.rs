//! Every store keeps the same laws: the store suite over Redis, and what only a server of its own can show.

mod admin;
mod allocations;
mod cluster;
mod connection;
mod election;
mod failover;
mod fixture;
mod full;
mod login;
mod sentinel;
mod writer;

/// The suite over one logical shard, the default for a single server.
mod one_shard {
    cachefront_core::store_suite!(crate::fixture::redis(1));
}

/// The suite over several: every operation on the meta and on many keys goes to each of them.
mod several_shards {
    cachefront_core::store_suite!(crate::fixture::redis(5));
}

/// The suite over a cluster, whose shards are on three nodes.
mod in_a_cluster {
    cachefront_core::store_suite!(crate::fixture::cluster(7));
}

/// The suite over Valkey.
mod in_valkey {
    cachefront_core::store_suite!(crate::fixture::valkey(3));
}

/// The suite over a cluster of Valkey.
mod in_a_cluster_of_valkey {
    cachefront_core::store_suite!(crate::fixture::valkey_cluster(7));
}
