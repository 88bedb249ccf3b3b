//! The parser's events to a tree: anchors, merge keys, limits, and the parser's errors in words.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{Entry, MAX_BYTES, MAX_COPIED, MAX_DEPTH, MAX_NODES, Node, Scalar, Shape};
use crate::problem::{Kind, Problem};
use crate::source::{Source, Span};

/// Parses one text as one YAML document. `number` is the source's index, `from` the byte where its
/// YAML begins (an override's value begins after the `=`). None is an empty document.
pub(crate) fn parse(
    sources: &[Source],
    number: usize,
    from: usize,
) -> Result<Option<Node>, Problem> {
    let Some(source) = sources.get(number) else { return Ok(None) };
    let text = source.text().get(from..).unwrap_or("");
    if text.len() > MAX_BYTES {
        return Err(Problem::new(
            Kind::Syntax,
            "",
            format!("the file has {} bytes; a run file may have {MAX_BYTES}", text.len()),
        ));
    }
    let mut tree = Tree::new(text, number, from);
    match tree.read() {
        Ok(root) => Ok(root),
        Err(Fault { at, message, hint, earlier }) => {
            let mut problem =
                Problem::new(Kind::Syntax, "", message).at(sources, at, "").hint_if(hint);
            if let Some((span, text)) = earlier {
                problem = problem.related(sources, span, text);
            }
            Err(problem)
        }
    }
}

impl Problem {
    fn hint_if(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

struct Fault {
    at: Span,
    message: String,
    hint: Option<String>,
    earlier: Option<(Span, String)>,
}

impl Fault {
    fn new(at: Span, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None, earlier: None }
    }
}

/// A collection that is still open, with its anchor.
enum Open {
    List(Span, usize, Vec<Node>),
    Map(Span, usize, Vec<Entry>, Option<(Box<str>, Span)>),
}

struct Tree<'a> {
    text: &'a str,
    source: usize,
    from: usize,
    ascii: bool,
    /// Character and byte of the last position asked for; questions come in rising order.
    walked: (usize, usize),
    nodes: usize,
    copied: usize,
    anchors: HashMap<usize, Node>,
}

impl<'a> Tree<'a> {
    fn new(text: &'a str, source: usize, from: usize) -> Self {
        let ascii = text.is_ascii();
        Self {
            text,
            source,
            from,
            ascii,
            walked: (0, 0),
            nodes: 0,
            copied: 0,
            anchors: HashMap::new(),
        }
    }

    fn read(&mut self) -> Result<Option<Node>, Fault> {
        let mut open: Vec<Open> = Vec::new();
        let mut root = None;
        let mut documents = 0;
        for event in Parser::new_from_str(self.text) {
            let (event, mark) = event.map_err(|error| self.scan_fault(&error))?;
            let span = self.span(mark.start.index(), mark.end.index());
            let (node, anchor) = match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Fault::new(
                            span,
                            "a run file is one YAML document, not several",
                        ));
                    }
                    continue;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_tag(tag.as_deref(), span, "seq")?;
                    open.push(Open::List(span, anchor, Vec::new()));
                    self.check_depth(open.len(), span)?;
                    continue;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(tag.as_deref(), span, "map")?;
                    open.push(Open::Map(span, anchor, Vec::new(), None));
                    self.check_depth(open.len(), span)?;
                    continue;
                }
                Event::SequenceEnd => match open.pop() {
                    Some(Open::List(start, anchor, items)) => {
                        let span = join(start, items.last().map(|item| item.span), span);
                        (Node { span, shape: Shape::List(items) }, anchor)
                    }
                    _ => continue,
                },
                Event::MappingEnd => match open.pop() {
                    Some(Open::Map(start, anchor, entries, _)) => {
                        let last = entries.last().map(|entry| entry.value.span);
                        let span = join(start, last, span);
                        let entries = self.merge(entries)?;
                        (Node { span, shape: Shape::Map(entries) }, anchor)
                    }
                    _ => continue,
                },
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = self.is_plain(style, tag.as_deref(), span)?;
                    let text = text.into_owned().into_boxed_str();
                    let span = self.trim(span, style, &text);
                    (Node { span, shape: Shape::Scalar(Scalar { text, plain }) }, anchor)
                }
                Event::Alias(anchor) => {
                    let Some(target) = self.anchors.get(&anchor).cloned() else {
                        return Err(Fault::new(span, "an alias inside the value it names"));
                    };
                    let (nodes, bytes) = size(&target);
                    self.nodes += nodes;
                    self.copied += bytes;
                    if self.copied > MAX_COPIED {
                        return Err(Fault::new(span, "aliases expand to more than 1 MiB of text"));
                    }
                    (Node { span, ..target }, 0)
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {
                    continue;
                }
            };
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return Err(Fault::new(node.span, format!("more than {MAX_NODES} values")));
            }
            if anchor > 0 {
                let (nodes, bytes) = size(&node);
                self.nodes += nodes;
                self.copied += bytes;
                if self.copied > MAX_COPIED {
                    return Err(Fault::new(node.span, "anchors hold more than 1 MiB of text"));
                }
                self.anchors.insert(anchor, node.clone());
            }
            match open.last_mut() {
                None => root = Some(node),
                Some(Open::List(_, _, items)) => items.push(node),
                Some(Open::Map(_, _, entries, waiting)) => match waiting.take() {
                    None => *waiting = Some(as_key(node)?),
                    Some((key, key_span)) => {
                        refuse_duplicate(entries, &key, key_span)?;
                        entries.push(Entry { key, key_span, value: node });
                    }
                },
            }
        }
        Ok(root)
    }

    /// Settles `<<`: what the map itself says goes before what it merges in.
    fn merge(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, Fault> {
        if !entries.iter().any(|entry| &*entry.key == "<<") {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| &*entry.key == "<<");
        for merge in merges {
            let span = merge.value.span;
            let maps = match merge.value.shape {
                Shape::List(maps) => maps,
                shape => vec![Node { span, shape }],
            };
            for map in maps {
                let Shape::Map(entries) = map.shape else {
                    return Err(Fault::new(span, "`<<` merges maps, and this is not one"));
                };
                for entry in entries {
                    if !own.iter().any(|have| have.key == entry.key) {
                        own.push(entry);
                    }
                }
            }
        }
        self.nodes += own.len();
        Ok(own)
    }

    /// Whether a scalar may be something else than text; tags other than YAML's own are refused.
    fn is_plain(&self, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<bool, Fault> {
        match tag {
            None => Ok(style == ScalarStyle::Plain),
            Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
                "str" => Ok(false),
                "int" | "float" | "bool" | "null" => Ok(true),
                _ => self.refuse_tag(Some(tag), span, "").map(|()| false),
            },
            Some(tag) => self.refuse_tag(Some(tag), span, "").map(|()| false),
        }
    }

    #[expect(clippy::unused_self, reason = "reads as the builder's checks do")]
    fn refuse_tag(&self, tag: Option<&Tag>, span: Span, fine: &str) -> Result<(), Fault> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == fine) => {
                let mut fault = Fault::new(span, format!("the tag `{tag}` means nothing here"));
                fault.hint = Some("a value that begins with `!` needs quotes".to_owned());
                Err(fault)
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::unused_self, reason = "reads as the builder's checks do")]
    fn check_depth(&self, depth: usize, span: Span) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// The parser counts characters; we count bytes.
    fn span(&mut self, start: usize, end: usize) -> Span {
        let start = self.byte(start);
        let end = self.byte(end).max(start);
        Span::new(self.source, self.from + start..self.from + end)
    }

    fn byte(&mut self, character: usize) -> usize {
        if self.ascii {
            return character.min(self.text.len());
        }
        if character < self.walked.0 {
            self.walked = (0, 0);
        }
        let (chars, bytes) = self.walked;
        let rest = self.text.get(bytes..).unwrap_or("");
        let more =
            rest.char_indices().nth(character - chars).map_or(rest.len(), |(offset, _)| offset);
        self.walked = (character, bytes + more);
        bytes + more
    }

    /// Spans of empty and multi-line plain scalars reach over blanks that follow; cut those off.
    fn trim(&self, span: Span, style: ScalarStyle, text: &str) -> Span {
        if style != ScalarStyle::Plain {
            return span;
        }
        let start = span.start as usize - self.from;
        if text.is_empty() {
            return Span::new(self.source, self.from + start..self.from + start);
        }
        let end = span.end as usize - self.from;
        let kept = self.text.get(start..end).map_or(0, |written| written.trim_end().len());
        Span::new(self.source, self.from + start..self.from + start + kept)
    }

    /// The parser's own sentence, with what usually leads to it.
    fn scan_fault(&mut self, error: &saphyr_parser::ScanError) -> Fault {
        let at = error.marker().index();
        let mut span = self.span(at, at + 1);
        let start = span.start as usize - self.from;
        let info = error.info();
        let before = self.text.get(..start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
        let next = self.text.get(start..).and_then(|rest| rest.lines().nth(1)).unwrap_or("");
        let tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
        let (message, hint) = if tab(line) || (tab(next) && info.contains("tab")) {
            if tab(line) {
                let tab = line_start + line.find('\t').unwrap_or(0);
                span = Span::new(self.source, self.from + tab..self.from + tab + 1);
            } else {
                let offset = start + self.text.get(start..).and_then(|r| r.find('\n')).unwrap_or(0);
                span = Span::new(self.source, self.from + offset + 1..self.from + offset + 2);
            }
            ("a tab in the indentation", Some("YAML indents with spaces only"))
        } else if info.contains("did not find expected key") {
            (
                "this line fits none of the sections above it",
                Some(
                    "give it the indentation of the keys it belongs to; text after a closing quote or brace also ends here",
                ),
            )
        } else if info.contains("mapping values are not allowed") {
            (
                "a second `: ` in one value, or a key indented deeper than the one before",
                Some(
                    "put a text that holds `: ` in quotes; write keys of one section in one column",
                ),
            )
        } else if info.contains("quoted scalar") {
            ("the quote that opens here is never closed", None)
        } else if info.contains("unknown anchor") {
            (
                "no anchor of this name stands above",
                Some("a text that begins with `*` needs quotes"),
            )
        } else if info.contains("unexpected character") || info.contains("cannot start any token") {
            ("a text cannot begin with this character", Some("put the text in quotes"))
        } else {
            (info, None)
        };
        let mut fault = Fault::new(span, message);
        fault.hint = hint.map(str::to_owned);
        fault
    }
}

/// The span from an opening to the end of its last part, or of its own closing bracket.
fn join(start: Span, last: Option<Span>, close: Span) -> Span {
    let inner = last.filter(|last| last.source == start.source).map_or(start.end, |last| last.end);
    let flow = start.end > start.start; // block collections have no opening character
    Span { end: if flow { close.end } else { inner }.max(start.end), ..start }
}

fn as_key(node: Node) -> Result<(Box<str>, Span), Fault> {
    if let Shape::Scalar(scalar) = node.shape {
        Ok((scalar.text, node.span))
    } else {
        let mut fault = Fault::new(node.span, "a key must be a plain word, not a collection");
        fault.hint = Some("a text that begins with `{` or `[` needs quotes".to_owned());
        Err(fault)
    }
}

fn refuse_duplicate(entries: &[Entry], key: &str, at: Span) -> Result<(), Fault> {
    let Some(first) = entries.iter().find(|entry| &*entry.key == key && key != "<<") else {
        return Ok(());
    };
    let mut fault = Fault::new(at, format!("the key `{key}` is given twice in one section"));
    fault.earlier = Some((first.key_span, "first here".to_owned()));
    fault.hint = Some("remove one of the two".to_owned());
    Err(fault)
}

/// Number of nodes and bytes of text below and with a node.
fn size(node: &Node) -> (usize, usize) {
    match &node.shape {
        Shape::Scalar(scalar) => (1, scalar.text.len()),
        Shape::List(items) => sum(items.iter().map(size)),
        Shape::Map(entries) => sum(entries.iter().map(|entry| {
            let (nodes, bytes) = size(&entry.value);
            (nodes, bytes + entry.key.len())
        })),
    }
}

fn sum(parts: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    parts.fold((1, 0), |(n, b), (nodes, bytes)| (n + nodes, b + bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(&[Source::new("t", text)], 0, 0).unwrap().unwrap()
    }

    fn fault(text: &str) -> Problem {
        parse(&[Source::new("t", text)], 0, 0).unwrap_err()
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Shape::Map(entries) = &node.shape else { panic!("not a map") };
        &entries.iter().find(|entry| &*entry.key == key).unwrap().value
    }

    #[test]
    fn spans_are_bytes_of_the_text() {
        let text = "é: ü\nlist:\n  - {a: 'x'}\n  - b\nlast: [1, 2]\n";
        let node = tree(text);
        let cut = |node: &Node| text[node.span.range()].to_owned();
        assert_eq!(cut(get(&node, "é")), "ü");
        assert_eq!(cut(get(&node, "list")), "- {a: 'x'}\n  - b");
        assert_eq!(cut(get(&node, "last")), "[1, 2]");
    }

    #[test]
    fn scalars_follow_yaml_1_2() {
        let scalar = |text: &str| Scalar { text: text.into(), plain: true };
        assert_eq!(scalar("1e-4").as_float(), Some(1e-4));
        assert_eq!(scalar(".5").as_float(), Some(0.5));
        assert_eq!(scalar("0x10").as_int(), Some(16));
        assert!(scalar("~").is_null());
        for text in ["yes", "no", "on", "inf", "nan", "1_000", "0b1", "e5", "-"] {
            assert!(scalar(text).is_text(), "{text}");
        }
    }

    #[test]
    fn merge_keys_yield_to_what_the_map_says_itself() {
        let node = tree("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n");
        let Shape::Scalar(x) = &get(get(&node, "b"), "x").shape else { panic!() };
        let Shape::Scalar(y) = &get(get(&node, "b"), "y").shape else { panic!() };
        assert_eq!((&*x.text, &*y.text), ("1", "3"));
    }

    #[test]
    fn hostile_texts_are_refused() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs = format!("{laughs}a{level}: &a{level} [{alias}]\n");
        }
        assert!(fault(&laughs).message.contains("more than"));
        assert!(fault(&"- ".repeat(100_000)).message.contains("nested"));
        assert!(!fault(&"[".repeat(100_000)).message.is_empty());
        assert!(fault("a: &a [*a]").message.contains("alias inside"));
        assert!(fault("a: !!python/object:os.system x").message.contains("tag"));
        assert!(fault("--- 1\n--- 2\n").message.contains("one YAML document"));
    }
}
