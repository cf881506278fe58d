//! file
/// A file.
#[derive(Debug)]
pub struct BinlogFile;
