//! Prints the JSON Schema of run files.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{:#}", fidelio_config::json_schema())
}
