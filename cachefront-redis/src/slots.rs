//! Hash slots of Redis Cluster: which slot a key is in.
//!
//! A *place* is what must be on one node: each logical shard is one, and the bus is the last one. All keys of a place share
//! a hash tag, and so a slot.
//!
//! Specification: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>,
//! "Key distribution model", which gives `0x31C3` as the check value of the hash.

use crate::keys::KeySpace;

/// Number of slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of each place: the shards in their order, then the bus.
pub(crate) fn slots_of(keys: &KeySpace) -> Box<[u16]> {
    keys.metas().chain([keys.stream()]).map(slot_of).collect()
}

/// The slot of a key: a hash of the text between the first `{` and the next `}`, if there is any.
fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster says.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("a{}b{c}", slot_of("a{}b{c}")),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_ne!(slot_of("a{}b{c}"), slot_of("c"), "an empty tag is none");
    }

    #[test]
    fn a_shards_keys_are_in_the_slot_of_its_meta() {
        let keys = KeySpace::new("shop", 4);
        let slots = slots_of(&keys);
        assert_eq!(slots.len(), 5);
        assert_eq!(slots[2], slot_of("{cf:shop:2}users:42"));
        assert_eq!(slots[4], slot_of(keys.stream()));
    }
}
