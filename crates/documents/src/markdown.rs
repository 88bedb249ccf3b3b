//! Markdown: headings and blocks are found, their source is kept as it is.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::document::LineCounter;
use crate::plain::trimmed;
use crate::{Block, Kind};

/// The blocks of a text.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut source = Blocks { text, lines: LineCounter::new(text), end: 0, blocks: Vec::new() };
    for (range, kind) in top_level(text) {
        source.between(range.start);
        match kind {
            Found::Heading(level, title) => source.heading(range, level, &title),
            Found::Text(kind) => source.text(range, kind),
        }
    }
    source.between(text.len());
    source.blocks
}

enum Found {
    Heading(u8, String),
    Text(Kind),
}

/// The blocks that stand in no other block.
fn top_level(text: &str) -> Vec<(Range<usize>, Found)> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let (mut found, mut depth, mut title) = (Vec::new(), 0_usize, None::<String>);
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    title = matches!(tag, Tag::Heading { .. }).then(String::new);
                    let kind = match tag {
                        Tag::Paragraph | Tag::BlockQuote(_) => Kind::Prose,
                        _ => Kind::Lines,
                    };
                    if title.is_none() {
                        found.push((range, Found::Text(kind)));
                    }
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                if let (0, TagEnd::Heading(level), Some(title)) =
                    (depth, tag, title.take_if(|_| depth == 0))
                {
                    found.push((range, Found::Heading(level as u8, title)));
                }
            }
            Event::Rule if depth == 0 => {}
            Event::Text(text) | Event::Code(text) | Event::InlineHtml(text) | Event::Html(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(title) = &mut title {
                    title.push(' ');
                }
            }
            _ => {}
        }
    }
    found
}

struct Blocks<'a> {
    text: &'a str,
    lines: LineCounter<'a>,
    /// Up to here everything stands in a block.
    end: usize,
    blocks: Vec<Block>,
}

impl Blocks<'_> {
    /// What belongs to no block, such as definitions of links.
    fn between(&mut self, until: usize) {
        if self.end < until {
            self.push(self.end..until, Kind::Lines);
        }
    }

    fn text(&mut self, range: Range<usize>, kind: Kind) {
        // A range begins behind the indentation; lines are kept whole.
        let start = range.start.max(self.end);
        self.push(start..range.end, kind);
        self.end = self.end.max(range.end);
    }

    fn heading(&mut self, range: Range<usize>, level: u8, title: &str) {
        let at = self.lines.line(range.start);
        let text = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            self.blocks.push(Block { kind: Kind::Heading(level), text, at, lines: false });
        }
        self.end = self.end.max(range.end);
    }

    fn push(&mut self, range: Range<usize>, kind: Kind) {
        let Some(whole) = self.text.get(range.clone()) else { return };
        let (before, text) = trimmed(whole);
        if text.trim().is_empty() || is_rule(text) {
            return;
        }
        let at = self.lines.line(range.start + before.len());
        self.blocks.push(Block { kind, text: text.to_owned(), at, lines: true });
    }
}

/// Whether a text is nothing but lines that divide.
fn is_rule(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || matches!(c, '-' | '*' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, Kind, String)> {
        blocks(text).into_iter().map(|it| (it.at, it.kind, it.text)).collect()
    }

    #[test]
    fn blocks_keep_their_source_and_lines() {
        let text = "Intro *text*\nover two lines.\n\n# A `b` [c](d)\n\n- x\n- y\n\n```sh\n# no heading\n```\n\
                    Title\n=====\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[c]: d.html\n";
        let kinds = found(text);
        let texts: Vec<_> =
            kinds.iter().map(|(at, kind, text)| (*at, *kind, text.as_str())).collect();
        assert_eq!(
            texts,
            [
                (1, Kind::Prose, "Intro *text*\nover two lines."),
                (4, Kind::Heading(1), "A b c"),
                (6, Kind::Lines, "- x\n- y"),
                (9, Kind::Lines, "```sh\n# no heading\n```"),
                (12, Kind::Heading(1), "Title"),
                (15, Kind::Lines, "| a | b |\n|---|---|\n| 1 | 2 |"),
                (19, Kind::Lines, "[c]: d.html"),
            ]
        );
    }

    #[test]
    fn front_matter_is_a_block_and_rules_are_none() {
        let kinds = found("---\ntitle: x\n---\n\nText.\n\n---\n\nMore.\n");
        assert_eq!(kinds[0].2, "---\ntitle: x\n---");
        assert_eq!(
            kinds[1..].iter().map(|it| it.2.as_str()).collect::<Vec<_>>(),
            ["Text.", "More."]
        );
    }

    #[test]
    fn a_heading_inside_a_quote_or_list_is_text() {
        let kinds = found("> # quoted\n> text\n\n1. # listed\n");
        assert_eq!(kinds.iter().map(|it| it.1).collect::<Vec<_>>(), [Kind::Prose, Kind::Lines]);
    }
}
