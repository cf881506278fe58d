//! What the project has agreed on and no compiler checks: the size of files, who may import whom, what the shipped
//! programs are built from, and words and paths that no file may hold.

mod circles;
mod configuration;
mod context;
mod docs;
mod errors;
mod language;
mod layers;
mod manifest;
mod metrics;
mod metrics_table;
mod modules;
mod mutants;
mod paths;
mod protocol;
mod ratio;
mod settings_table;
mod size;
mod tree;
mod words;
