//! The simulator as other programs drive it: over HTTP, with rows changed by programs that know nothing of it.
//!
//! What holds on servers holds embedded, so most scenarios are written once and run on both; see [`world`].

mod addresses;
mod bodies;
mod bootstrap;
mod client;
mod connector;
mod contract;
mod demos;
mod events;
mod experiment;
mod export;
mod fairness;
mod faults;
mod guard;
mod idle;
mod in_place;
mod input;
mod inspect;
mod load;
mod modes;
mod outages;
mod panel;
mod panel_keys;
mod panel_truth;
mod processes;
mod race;
mod replica;
mod rest;
mod rights;
mod roles;
mod runs;
mod sample;
mod servers;
mod silence;
mod startup;
mod stub;
mod tokens;
mod world;
mod writes;
