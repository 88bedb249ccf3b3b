//! YAML text to a tree in which every key and value knows its bytes.
//!
//! The parser is `saphyr-parser` (YAML 1.2); anchors and merge keys (`<<`) are settled here, under
//! limits that keep a small hostile file small. Scalars stay text: only the key they belong to
//! knows whether `1` is a number or a label.

mod tree;

pub(crate) use tree::parse;

use crate::source::Span;

/// Most nodes that a run file may have, aliases expanded.
const MAX_NODES: usize = 16_384;
/// Most bytes of text that aliases may copy.
const MAX_COPIED: usize = 1 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Largest run file in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) shape: Shape,
}

/// What a value looks like, before anyone knows what it should be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar's text; `plain` ones (no quotes, no block) may be null, a bool, or a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: Box<str>,
    pub(crate) plain: bool,
}

/// One key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Scalar {
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match &*self.text {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        if !self.plain {
            return None;
        }
        if let Some(hex) = self.text.strip_prefix("0x") {
            return i64::from_str_radix(hex, 16).ok();
        }
        if let Some(octal) = self.text.strip_prefix("0o") {
            return i64::from_str_radix(octal, 8).ok();
        }
        self.text.parse().ok()
    }

    /// A float of YAML 1.2's core schema: `1`, `1.`, `.5`, `1e-4`, `.inf`, `.nan`.
    pub(crate) fn as_float(&self) -> Option<f64> {
        if !self.plain {
            return None;
        }
        match &*self.text {
            ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" => return Some(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
            _ => {}
        }
        let digits = self.text.trim_start_matches(['+', '-']);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None; // Rust would also read `inf` and `nan`
        }
        self.as_int().map(|int| int as f64).or_else(|| self.text.parse().ok())
    }

    /// Whether it is text without doubt: quoted, or plain and neither null, bool, nor number.
    pub(crate) fn is_text(&self) -> bool {
        !self.plain || !(self.is_null() || self.as_bool().is_some() || self.as_float().is_some())
    }
}

impl Node {
    /// What it is, in words for an error.
    pub(crate) fn describe(&self) -> String {
        match &self.shape {
            Shape::List(_) => "a list".to_owned(),
            Shape::Map(_) => "a section".to_owned(),
            Shape::Scalar(it) if it.is_null() => "nothing".to_owned(),
            Shape::Scalar(it) if it.as_bool().is_some() => format!("`{}`", it.text),
            Shape::Scalar(it) if it.as_float().is_some() => format!("the number {}", it.text),
            Shape::Scalar(it) => {
                let mut short: String = it.text.chars().take(40).collect();
                if short.len() < it.text.len() {
                    short.push('…');
                }
                format!("the text `{}`", short.replace('\n', "\\n"))
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.shape, Shape::Scalar(it) if it.is_null())
    }
}
