//! Prints the reference page of all keys.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    write!(std::io::stdout().lock(), "{}", fidelio_config::reference_page())
}
