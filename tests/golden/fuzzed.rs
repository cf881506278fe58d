//! The corpus of the fuzz targets: inputs that reach different code, and those that once failed. Each is read within a time and
//! a size.

use std::sync::mpsc;
use std::time::Duration;

#[path = "../fuzz/src/logs.rs"]
pub(crate) mod logs;

/// The most memory that reading one input may take at once.
const BYTES_MAX: u64 = 8 << 20;

/// What a fuzz target does with its input.
type Target = fn(&[u8]);

#[test]
fn every_input_of_the_corpus_ends_in_bounded_time_and_memory() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets: [(&str, Target); 5] = [
        ("events", logs::events),
        ("rows", logs::rows),
        ("statements", logs::statements),
        ("json", logs::json),
        ("payload", logs::payload),
    ];
    for (target, read) in targets {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus.join(target)).expect("a folder") {
            let path = entry.expect("a file").path();
            let data = std::fs::read(&path).expect("an input");
            let (done, ended) = mpsc::channel();
            std::thread::spawn(move || {
                let used = allocation_counter::measure(|| read(&data)).bytes_max;
                let _ = done.send(used);
            });
            let used = ended.recv_timeout(Duration::from_secs(60));
            let used = used.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(used <= BYTES_MAX, "{}: {used} bytes", path.display());
            inputs += 1;
        }
        assert!(inputs >= 5, "{target} has {inputs}");
    }
}
