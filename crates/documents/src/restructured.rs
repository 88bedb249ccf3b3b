//! reStructuredText: headings are found by the lines below them, the source is kept as it is.

use crate::plain::trimmed;
use crate::{Block, Kind};

/// The blocks of a text.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut reader =
        Reader { levels: Vec::new(), blocks: Vec::new(), open: String::new(), begin: 1 };
    let mut at = 0;
    while at < lines.len() {
        let after_empty = at == 0 || lines[at - 1].trim().is_empty();
        if let Some(Heading { style, title, lines }) = heading(&lines[at..], after_empty) {
            reader.close(at + 1);
            reader.heading(style, title, at + 1);
            at += lines;
            reader.begin = at + 1;
            continue;
        }
        reader.open.push_str(lines[at]);
        at += 1;
        if lines[at - 1].trim().is_empty() {
            reader.close(at + 1);
        }
    }
    reader.close(at + 1);
    reader.blocks
}

/// How a heading is marked: the mark, and whether it stands above it too.
type Style = (char, bool);

struct Heading<'a> {
    style: Style,
    title: &'a str,
    /// How many lines it takes.
    lines: usize,
}

/// The heading with which lines begin.
fn heading<'a>(lines: &[&'a str], after_empty: bool) -> Option<Heading<'a>> {
    if let [over, title, under, ..] = lines
        && let (Some(mark), Some((below, length))) = (marks(over), marks(under))
        && mark.0 == below
        && length >= width(title)
        && !title.trim().is_empty()
        && marks(title).is_none()
    {
        return Some(Heading { style: (below, true), title: title.trim(), lines: 3 });
    }
    let [title, under, ..] = lines else { return None };
    let (mark, length) = marks(under)?;
    let is_title = !title.trim().is_empty()
        && !title.starts_with(char::is_whitespace)
        && marks(title).is_none()
        && length >= width(title);
    (after_empty && is_title).then(|| Heading {
        style: (mark, false),
        title: title.trim(),
        lines: 2,
    })
}

/// The mark that a line is made of, and how often.
fn marks(line: &str) -> Option<(char, usize)> {
    let line = line.trim_end();
    let mark = line.chars().next().filter(char::is_ascii_punctuation)?;
    let length = line.chars().count();
    (length >= 2 && line.chars().all(|c| c == mark)).then_some((mark, length))
}

fn width(title: &str) -> usize {
    title.trim().chars().count()
}

struct Reader {
    /// The styles in the order in which they were met: the first is the highest.
    levels: Vec<Style>,
    blocks: Vec<Block>,
    /// The paragraph being read, and the line where it begins.
    open: String,
    begin: usize,
}

impl Reader {
    fn heading(&mut self, style: Style, title: &str, at: usize) {
        let level = self.levels.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.levels.push(style);
            self.levels.len() - 1
        });
        let kind = Kind::Heading((level + 1).min(u8::MAX.into()) as u8);
        self.blocks.push(Block { kind, text: title.to_owned(), at, lines: false });
    }

    /// Ends the paragraph; the next one begins at line `next`.
    fn close(&mut self, next: usize) {
        let (_, text) = trimmed(&self.open);
        if !text.trim().is_empty() && !text.lines().all(|line| marks(line).is_some()) {
            let alone = |line: &str| {
                let begin = line.trim_start();
                line.starts_with(char::is_whitespace)
                    || ["- ", "* ", "+ ", "| ", "+-", "==", ".. "]
                        .iter()
                        .any(|it| begin.starts_with(it))
            };
            let lines = text.lines().all(alone);
            let kind = if lines { Kind::Lines } else { Kind::Prose };
            let text = text.to_owned();
            self.blocks.push(Block { kind, text, at: self.begin, lines: true });
        }
        self.open.clear();
        self.begin = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_level_of_their_style() {
        let text = "=====\nTitle\n=====\n\nText one\ngoes on.\n\nPart\n----\n\n::\n\n    code\n    --\n\n\
                    Sub\n~~~\nText two.\n\nPart 2\n------\n\n----\n\nEnd.\n";
        let found: Vec<_> = blocks(text).into_iter().map(|it| (it.at, it.kind, it.text)).collect();
        let found: Vec<_> = found.iter().map(|it| (it.0, it.1, it.2.as_str())).collect();
        assert_eq!(
            found,
            [
                (2 - 1, Kind::Heading(1), "Title"),
                (5, Kind::Prose, "Text one\ngoes on."),
                (8, Kind::Heading(2), "Part"),
                (13, Kind::Lines, "    code\n    --"),
                (16, Kind::Heading(3), "Sub"),
                (18, Kind::Prose, "Text two."),
                (20, Kind::Heading(2), "Part 2"),
                (25, Kind::Prose, "End."),
            ]
        );
    }
}
