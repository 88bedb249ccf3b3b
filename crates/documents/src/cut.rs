//! Cutting documents into passages: at headings first, then between blocks, then inside them.

use std::borrow::Cow;
use std::error::Error;

use crate::document::newlines;
use crate::pieces::{pieces, sentences};
use crate::{Block, Document, DocumentError, Kind, Place, Unit};

/// The fewest tokens that a passage may be limited to.
const LEAST: usize = 16;
/// Tokens that what stands between two blocks may have.
const BETWEEN: usize = 2;

/// Counts the tokens of a text.
pub type Count<'a> = &'a dyn Fn(&str) -> Result<usize, Box<dyn Error + Send + Sync>>;

/// How documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutting {
    /// Most tokens of a passage, its headings included; at least 16.
    pub max_tokens: usize,
    /// Most tokens of whole sentences that a passage repeats from the end of the one before it, where
    /// both stand under the same heading; at most half of `max_tokens`.
    pub overlap: usize,
}

/// A part of a document that can be read by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The headings that it stands under, the highest first.
    pub heading: Vec<String>,
    /// Its text without them. Empty for a heading that has nothing below it.
    pub body: String,
    /// Bytes of the body that repeat the passage before.
    pub repeated: usize,
    /// Where the body stands.
    pub place: Place,
    /// Tokens of [`Self::text`].
    pub tokens: usize,
}

impl Passage {
    /// The headings on a line, and the body below.
    pub fn text(&self) -> String {
        written(&self.heading.join(" > "), &self.body).into_owned()
    }
}

fn written<'a>(heading: &str, body: &'a str) -> Cow<'a, str> {
    match (heading, body) {
        ("", body) => Cow::Borrowed(body),
        (heading, "") => Cow::Owned(heading.to_owned()),
        (heading, body) => Cow::Owned(format!("{heading}\n{body}")),
    }
}

impl Cutting {
    /// The passages of a document, in its order. None has more than [`Self::max_tokens`], none stands
    /// under two headings, and together they hold all its text.
    ///
    /// # Errors
    /// [`DocumentError::Limits`], [`DocumentError::Count`], and [`DocumentError::Character`] where a
    /// single character is over the limit.
    pub fn cut(
        &self,
        document: &Document,
        count: Count<'_>,
    ) -> Result<Vec<Passage>, DocumentError> {
        let Self { max_tokens, overlap } = *self;
        if max_tokens < LEAST || overlap > max_tokens / 2 {
            return Err(DocumentError::Limits { max_tokens, overlap });
        }
        let counter = Counter { how: *self, count };
        let mut cutter = Cutter::new(counter, document.unit);
        for (order, block) in document.blocks.iter().enumerate() {
            match block.kind {
                Kind::Heading(level) if counter.tokens(&block.text)? <= max_tokens / 2 => {
                    cutter.end_section()?;
                    cutter.heading(order, level, block);
                }
                _ => cutter.section.push((order, block)),
            }
        }
        cutter.end_section()?;
        cutter.headings_alone()?;
        cutter.passages.sort_by_key(|(order, _)| *order);
        Ok(cutter.passages.into_iter().map(|(_, passage)| passage).collect())
    }
}

#[derive(Clone, Copy)]
struct Counter<'a> {
    how: Cutting,
    count: Count<'a>,
}

impl Counter<'_> {
    fn tokens(&self, text: &str) -> Result<usize, DocumentError> {
        (self.count)(text).map_err(|source| DocumentError::Count { source })
    }
}

struct Cutter<'a> {
    counter: Counter<'a>,
    unit: Unit,
    /// All headings so far, and whether a passage shows them.
    headings: Vec<Heading<'a>>,
    /// The levels and numbers of those that are open, the highest first.
    open: Vec<(u8, usize)>,
    /// The blocks below the last heading, with their numbers in the document.
    section: Vec<(usize, &'a Block)>,
    /// With the number of the block that each begins in.
    passages: Vec<(usize, Passage)>,
}

struct Heading<'a> {
    order: usize,
    block: &'a Block,
    shown: bool,
}

/// A block, or a piece of one that is too long.
#[derive(Clone, Copy)]
struct Part<'a> {
    order: usize,
    text: &'a str,
    tokens: usize,
    kind: Kind,
    /// Whether a block begins here.
    begins: bool,
    line: usize,
    lines: bool,
}

impl Part<'_> {
    fn last_line(&self) -> usize {
        self.line + if self.lines { newlines(self.text.trim_end()) } else { 0 }
    }
}

/// A body under construction.
#[derive(Clone, Default)]
struct Body {
    text: String,
    repeated: usize,
    /// Where lines are known: a byte of the text, its line, and whether line breaks count from there.
    marks: Vec<(usize, usize, bool)>,
    last: usize,
}

impl Body {
    fn push(&mut self, part: &Part<'_>) {
        if part.begins && !self.text.is_empty() {
            self.text.truncate(self.text.trim_end().len());
            self.text.push_str("\n\n");
        }
        self.marks.push((self.text.len(), part.line, part.lines));
        self.text.push_str(part.text);
        self.last = part.last_line();
    }

    /// The line of a byte.
    fn line(&self, at: usize) -> usize {
        let known = self.marks.iter().rev().find(|mark| mark.0 <= at).or(self.marks.first());
        let Some(&(from, line, lines)) = known else { return self.last };
        line + if lines && from <= at { newlines(&self.text[from..at]) } else { 0 }
    }

    /// The whole sentences at its end, as the beginning of the next body.
    fn tail(&self, counter: Counter<'_>) -> Result<Body, DocumentError> {
        let most = counter.how.overlap;
        let text = self.text.as_str();
        let mut begin = text.len();
        if most > 0 {
            for sentence in sentences(text).into_iter().rev() {
                let earlier = begin - sentence.len();
                if earlier == 0 || counter.tokens(text[earlier..].trim_end())? > most {
                    break;
                }
                begin = earlier;
            }
        }
        let text = text[begin..].to_owned();
        let marks = if text.is_empty() { vec![] } else { vec![(0, self.line(begin), false)] };
        Ok(Body { repeated: text.trim_end().len(), text, marks, last: self.last })
    }
}

impl<'a> Cutter<'a> {
    fn new(counter: Counter<'a>, unit: Unit) -> Self {
        let (headings, open, section, passages) = (vec![], vec![], vec![], vec![]);
        Self { counter, unit, headings, open, section, passages }
    }

    fn heading(&mut self, order: usize, level: u8, block: &'a Block) {
        while self.open.last().is_some_and(|(open, _)| *open >= level) {
            self.open.pop();
        }
        self.open.push((level, self.headings.len()));
        self.headings.push(Heading { order, block, shown: false });
    }

    /// The headings that passages here stand under: as many of the innermost as half of the room holds.
    fn path(&mut self) -> Result<Vec<String>, DocumentError> {
        let mut path: Vec<String> = Vec::new();
        for &(_, number) in self.open.iter().rev() {
            let heading = &mut self.headings[number];
            path.insert(0, heading.block.text.clone());
            if self.counter.tokens(&path.join(" > "))? > self.counter.how.max_tokens / 2 {
                path.remove(0);
                break;
            }
            heading.shown = true;
        }
        Ok(path)
    }

    fn end_section(&mut self) -> Result<(), DocumentError> {
        let blocks = std::mem::take(&mut self.section);
        if blocks.is_empty() {
            return Ok(());
        }
        let path = self.path()?;
        let shown = path.join(" > ");
        let taken = match shown.as_str() {
            "" => 0,
            shown => self.counter.tokens(&format!("{shown}\n"))? + 1,
        };
        let room = self.counter.how.max_tokens.saturating_sub(taken).max(1);
        let mut parts = Vec::new();
        for (order, block) in blocks {
            self.divide(order, block, room, &mut parts)?;
        }
        self.pack(&path, &shown, parts)
    }

    /// A block as parts that have room in a passage.
    fn divide(
        &self,
        order: usize,
        block: &'a Block,
        room: usize,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<(), DocumentError> {
        let Block { kind, text, at, lines } = block;
        let mut line = *at;
        for (number, piece) in pieces(text, *kind, room, self.counter.count)?.iter().enumerate() {
            parts.push(Part {
                order,
                text: piece.text,
                tokens: piece.tokens,
                kind: *kind,
                begins: number == 0,
                line,
                lines: *lines,
            });
            line += if *lines { newlines(piece.text) } else { 0 };
        }
        Ok(())
    }

    /// Fills passages with parts.
    fn pack(
        &mut self,
        path: &[String],
        shown: &str,
        mut parts: Vec<Part<'a>>,
    ) -> Result<(), DocumentError> {
        let mut at = 0;
        let mut begun = Body::default();
        while at < parts.len() {
            if parts[at].text.trim().is_empty() {
                at += 1;
                continue;
            }
            let end = self.fill(shown, &begun, &parts, at)?;
            let (body, end) = match self.fitting(shown, &begun, &parts[at..end])? {
                Some((body, taken)) => (body, at + taken),
                None if !begun.text.is_empty() => {
                    begun = Body::default();
                    continue;
                }
                None => {
                    self.halve(&mut parts, at)?;
                    continue;
                }
            };
            let text = body.text.trim_end().to_owned();
            let first = body.line(0);
            let tokens = self.counter.tokens(&written(shown, &text))?;
            begun = body.tail(self.counter)?;
            self.passages.push((
                parts[at].order,
                Passage {
                    heading: path.to_vec(),
                    repeated: body.repeated.min(text.len()),
                    body: text,
                    place: Place { unit: self.unit, first, last: body.last.max(first) },
                    tokens,
                },
            ));
            at = end;
        }
        Ok(())
    }

    /// The end of the parts that a passage takes from `at` on, by their own tokens.
    fn fill(
        &self,
        shown: &str,
        begun: &Body,
        parts: &[Part<'_>],
        at: usize,
    ) -> Result<usize, DocumentError> {
        let most = self.counter.how.max_tokens;
        let mut body = begun.clone();
        let mut sum = self.counter.tokens(&written(shown, &body.text))?;
        // The last place between two blocks, and the tokens before it.
        let mut between = None;
        let mut end = at;
        while let Some(part) = parts.get(end) {
            if part.begins && end > at {
                between = Some((end, sum));
            }
            let estimate = sum + part.tokens + BETWEEN;
            body.push(part);
            let sure = end == at || estimate <= most * 9 / 10;
            if !sure && self.counter.tokens(&written(shown, body.text.trim_end()))? > most {
                break;
            }
            sum = estimate;
            end += 1;
        }
        match between {
            // Rather between two blocks than inside one, unless the passage would be short.
            Some((place, before))
                if parts.get(end).is_some_and(|part| !part.begins) && before * 2 >= most =>
            {
                Ok(place)
            }
            _ => Ok(end),
        }
    }

    /// As many of the parts as fit together, and how many these are; none if the first does not.
    fn fitting(
        &self,
        shown: &str,
        begun: &Body,
        parts: &[Part<'_>],
    ) -> Result<Option<(Body, usize)>, DocumentError> {
        for taken in (1..=parts.len()).rev() {
            let mut body = begun.clone();
            parts[..taken].iter().for_each(|part| body.push(part));
            let tokens = self.counter.tokens(&written(shown, body.text.trim_end()))?;
            if tokens <= self.counter.how.max_tokens {
                return Ok(Some((body, taken)));
            }
        }
        Ok(None)
    }

    /// Divides a part that has more tokens behind its headings than it has by itself.
    fn halve(&self, parts: &mut Vec<Part<'a>>, at: usize) -> Result<(), DocumentError> {
        let part = parts[at];
        let mut line = part.line;
        let room = (part.tokens / 2).max(1);
        let mut finer = Vec::new();
        for piece in pieces(part.text, part.kind, room, self.counter.count)? {
            let begins = part.begins && finer.is_empty();
            finer.push(Part { text: piece.text, tokens: piece.tokens, begins, line, ..part });
            line += if part.lines { newlines(piece.text) } else { 0 };
        }
        if finer.len() < 2 {
            let max_tokens = self.counter.how.max_tokens;
            return Err(DocumentError::Character { tokens: part.tokens, max_tokens });
        }
        parts.splice(at..=at, finer);
        Ok(())
    }

    /// Headings that no passage shows, having nothing below them, are passages themselves.
    fn headings_alone(&mut self) -> Result<(), DocumentError> {
        for heading in self.headings.iter().filter(|heading| !heading.shown) {
            let Block { text, at, .. } = heading.block;
            let tokens = self.counter.tokens(text)?;
            let place = Place { unit: self.unit, first: *at, last: *at };
            let (heading, order) = (vec![text.clone()], heading.order);
            let passage = Passage { heading, body: String::new(), repeated: 0, place, tokens };
            self.passages.push((order, passage));
        }
        Ok(())
    }
}
