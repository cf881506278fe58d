//! Debezium's events on Kafka as the change source: real MySQL, Debezium, Connect and Kafka.

mod emitted;
mod gate;
mod live;
mod losses;
mod members;
mod servers;
mod suite;
mod traffic;
mod uncounted;
