//! A buffer for each thread, in which values are encoded: a fill allocates none unless several run at once.

use std::cell::Cell;

/// Maximum room that a thread keeps, in bytes: a large value leaves nothing behind.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns an empty buffer with at least this much room: the thread's own, or a new one while that is in use.
pub(super) fn take(room: usize) -> Vec<u8> {
    let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    buffer.reserve(room);
    buffer
}

/// Keeps a buffer for the next fill of this thread. One that is never returned is dropped, and costs the next fill an allocation.
pub(super) fn give(buffer: Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        return;
    }
    // A thread that ends keeps none.
    let _ = SPARE.try_with(|spare| {
        let kept = spare.take();
        spare.set(if kept.capacity() < buffer.capacity() { buffer } else { kept });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_a_large_one_is_not_kept() {
        let mut buffer = take(100);
        buffer.extend_from_slice(&[7; 100]);
        let place = buffer.as_ptr();
        give(buffer);
        let again = take(50);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        let other = take(10);
        assert!(other.as_ptr() != place, "the first one is in use");
        give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(take(0).capacity(), 0);
    }
}
