//! Pages of the web: the text that a reader sees, with its headings.

use html5gum::{DefaultEmitter, Token, Tokenizer};

use crate::document::LineCounter;
use crate::{Block, Kind};

/// Elements whose text no reader sees.
const UNSEEN: [&str; 5] = ["script", "style", "template", "noscript", "svg"];
/// Elements that stand within a line; every other one begins a new block.
const INLINE: [&str; 36] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "button", "cite", "code", "data", "del",
    "dfn", "em", "font", "i", "img", "input", "ins", "kbd", "label", "mark", "q", "s", "samp",
    "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
];

/// The blocks of a page.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    let mut page = Page::new(text);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).into_owned();
                page.open(&name, tag.span.start, tag.self_closing);
            }
            Token::EndTag(tag) => page.close(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) => {
                page.text(&String::from_utf8_lossy(&text.value), text.span.start);
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    page.finish()
}

struct Page<'a> {
    lines: LineCounter<'a>,
    blocks: Vec<Block>,
    title: String,
    /// The block being read, and where it begins in the file.
    text: String,
    begin: Option<usize>,
    kind: Kind,
    /// The unseen element that is open, and how many of its kind.
    unseen: Option<(String, usize)>,
    preformatted: bool,
    in_title: bool,
    /// Levels of the lists that are open.
    lists: usize,
}

impl<'a> Page<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            lines: LineCounter::new(text),
            blocks: Vec::new(),
            title: String::new(),
            text: String::new(),
            begin: None,
            kind: Kind::Prose,
            unseen: None,
            preformatted: false,
            in_title: false,
            lists: 0,
        }
    }

    fn open(&mut self, name: &str, at: usize, empty: bool) {
        if let Some((unseen, depth)) = &mut self.unseen {
            *depth += usize::from(unseen == name && !empty);
            return;
        }
        match name {
            name if UNSEEN.contains(&name) => self.unseen = (!empty).then(|| (name.to_owned(), 1)),
            "title" => self.in_title = true,
            "br" => self.text.push('\n'),
            "td" | "th" => self.cell(),
            name if INLINE.contains(&name) => {}
            _ => self.begin_block(name, at),
        }
    }

    fn begin_block(&mut self, name: &str, at: usize) {
        // The items of a list and the rows of a table are lines of one block.
        if matches!(name, "li" | "tr") {
            self.kind = Kind::Lines;
            if !self.text.trim().is_empty() {
                self.text.push('\n');
            }
            if name == "li" {
                self.begin.get_or_insert(at);
                self.text.push_str(&"  ".repeat(self.lists.saturating_sub(1)));
                self.text.push_str("- ");
            }
            return;
        }
        let of_table = matches!(name, "thead" | "tbody" | "tfoot" | "colgroup" | "col");
        let in_list = self.lists > 0 && matches!(name, "ul" | "ol" | "p" | "div");
        self.lists += usize::from(matches!(name, "ul" | "ol"));
        if of_table || in_list {
            return;
        }
        self.end_block();
        self.preformatted = name == "pre";
        self.kind = match name.as_bytes() {
            [b'h', level @ b'1'..=b'6'] => Kind::Heading(level - b'0'),
            b"pre" | b"ul" | b"ol" | b"table" | b"dl" => Kind::Lines,
            _ => Kind::Prose,
        };
    }

    fn cell(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push_str(" | ");
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((unseen, depth)) = &mut self.unseen {
            *depth -= usize::from(unseen == name);
            if *depth == 0 {
                self.unseen = None;
            }
            return;
        }
        match name {
            "title" => self.in_title = false,
            "br" | "td" | "th" | "li" | "tr" | "thead" | "tbody" | "tfoot" => {}
            name if INLINE.contains(&name) => {}
            "p" | "div" if self.lists > 0 => {}
            "ul" | "ol" => {
                self.lists = self.lists.saturating_sub(1);
                if self.lists == 0 {
                    self.end_block();
                }
            }
            _ => self.end_block(),
        }
    }

    fn text(&mut self, text: &str, at: usize) {
        if self.unseen.is_some() {
            return;
        }
        if self.in_title {
            self.title.push_str(text);
            return;
        }
        if self.preformatted {
            self.begin.get_or_insert(at);
            self.text.push_str(text);
            return;
        }
        if self.text.is_empty() || self.text.ends_with(char::is_whitespace) {
            let shown = text.trim_start();
            if shown.is_empty() {
                return;
            }
            self.begin.get_or_insert(at + text.len() - shown.len());
        }
        if text.starts_with(char::is_whitespace) && !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            self.text.push_str(word);
            if words.peek().is_some() || text.ends_with(char::is_whitespace) {
                self.text.push(' ');
            }
        }
    }

    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.text);
        let begin = self.begin.take();
        let (kind, preformatted) = (self.kind, self.preformatted);
        (self.kind, self.preformatted) = (Kind::Prose, false);
        if text.trim().is_empty() || text.trim() == "-" {
            return;
        }
        let (text, begin) = if preformatted {
            let shown = text.trim_start_matches('\n');
            (shown.trim_end().to_owned(), begin.map(|at| at + text.len() - shown.len()))
        } else if matches!(kind, Kind::Heading(_)) {
            (text.split_whitespace().collect::<Vec<_>>().join(" "), begin)
        } else {
            (
                text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned(),
                begin,
            )
        };
        let at = self.lines.line(begin.unwrap_or(0));
        self.blocks.push(Block { kind, text, at, lines: preformatted });
    }

    /// The blocks. A page without headings stands under its title.
    fn finish(mut self) -> Vec<Block> {
        self.end_block();
        let title = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        let headed = self.blocks.iter().any(|block| matches!(block.kind, Kind::Heading(_)));
        if !headed && !title.is_empty() {
            let block = Block { kind: Kind::Heading(1), text: title, at: 1, lines: false };
            self.blocks.insert(0, block);
        }
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, Kind, String)> {
        blocks(text).into_iter().map(|it| (it.at, it.kind, it.text)).collect()
    }

    #[test]
    fn what_a_reader_sees_is_kept_with_its_lines() {
        let text = "<!doctype html><html><head><title>T</title><style>p{}</style>\n\
            <script>if (a < b) { document.write('<p>x</p>') }</script></head><body>\n\
            <h1>One &amp;\n two</h1>\n<p>Some <b>bold</b>\n  text.<br>New line</p>\n\
            <svg><text>no</text><svg></svg>no</svg><div>tail</div></body></html>";
        let kinds = found(text);
        let texts: Vec<_> = kinds.iter().map(|it| (it.0, it.1, it.2.as_str())).collect();
        assert_eq!(
            texts,
            [
                (3, Kind::Heading(1), "One & two"),
                (5, Kind::Prose, "Some bold text.\nNew line"),
                (7, Kind::Prose, "tail"),
            ]
        );
    }

    #[test]
    fn lists_tables_and_code_are_lines() {
        let text = "<ul>\n<li>a\n<li><p>b</p><ul><li>c</li></ul></li>\n</ul>\n\
            <table><tr><th>x</th><th>y</th></tr>\n<tr><td>1<td>2</table><pre>\n  code\nmore</pre>";
        let kinds = found(text);
        let texts: Vec<_> = kinds.iter().map(|it| (it.0, it.1, it.2.as_str())).collect();
        assert_eq!(
            texts,
            [
                (2, Kind::Lines, "- a\n- b\n  - c"),
                (5, Kind::Lines, "x | y\n1 | 2"),
                (7, Kind::Lines, "  code\nmore"),
            ]
        );
    }

    #[test]
    fn a_page_without_headings_stands_under_its_title() {
        let kinds = found("<title>About\n tea</title>Boil <i>water</i>");
        assert_eq!(kinds[0], (1, Kind::Heading(1), "About tea".to_owned()));
        assert_eq!(kinds[1].2, "Boil water");
    }
}
