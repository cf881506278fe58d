//! The law over the binary log: a committed row change makes its key miss, at the right time and no other key.

mod consistent;
mod invalidation;
mod not_promised;
mod race;
mod row_image;
mod stampede;
mod tags;
