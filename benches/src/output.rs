//! The standard output.

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is what the program was called for")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
