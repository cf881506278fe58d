//! The name of this process, which tells its figures from those of another process behind the same address.

use std::sync::LazyLock;

use cachefront::Entropy;
use cachefront::clock::SystemEntropy;

/// 64 random bits as hexadecimal digits: a host's name and process number are the same in many containers.
static NAME: LazyLock<String> = LazyLock::new(|| format!("{:016x}", SystemEntropy.random_u128() as u64));

/// Returns the name of this process, the same until it ends.
pub fn name() -> &'static str {
    &NAME
}
