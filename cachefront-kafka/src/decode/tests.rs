//! Tests over the fixtures.
