//! What kinds of files are read as documents.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text without marks: paragraphs stand between empty lines.
    Plain,
    /// CommonMark with tables; what is shown is the source.
    Markdown,
    /// A page of the web; what is shown is its text.
    Html,
    /// reStructuredText; what is shown is the source.
    Restructured,
    /// Pages; what is shown is their text.
    Pdf,
}

impl Format {
    /// What a file's name says that it is; none for names that are not known.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "txt" | "text" => Self::Plain,
            "md" | "markdown" | "mdown" | "mkd" => Self::Markdown,
            "html" | "htm" | "xhtml" => Self::Html,
            "rst" | "rest" => Self::Restructured,
            "pdf" => Self::Pdf,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(of("a/README.MD"), Some(Format::Markdown));
        assert_eq!(of("page.htm"), Some(Format::Html));
        assert_eq!(of("a.tar.gz"), None);
        assert_eq!(of("LICENSE"), None);
    }
}
