//! What holds for every document and every limit.

use fidelio_documents::{Block, Cutting, Document, Format, Kind, Passage, Unit};
use proptest::prelude::*;

/// Not additive, as tokenizers are not: a word costs one for each begun four bytes, and line breaks
/// beside each other count once.
#[expect(clippy::unnecessary_wraps, reason = "tokenizers can fail")]
fn tokens(text: &str) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let words: usize = text.split_whitespace().map(|word| word.len().div_ceil(4)).sum();
    Ok(words + text.split("\n\n").count() - 1)
}

fn cut(document: &Document, max_tokens: usize, overlap: usize) -> Vec<Passage> {
    Cutting { max_tokens, overlap }.cut(document, &tokens).unwrap()
}

fn solid(text: &str) -> String {
    text.split_whitespace().collect()
}

fn lines() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-zé你]{1,9}",
        2 => "[A-Z][a-z]{1,5}[.!?]",
        1 => "[a-z]{40,90}",
    ];
    let line = proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    let heading = (1_usize..4, "[A-Z][a-z]{1,9}( [a-z]{1,9}){0,3}")
        .prop_map(|(level, text)| format!("\n{} {text}\n", "#".repeat(level)));
    let item = "[a-z]{1,8}".prop_map(|text| format!("- {text}"));
    let any = prop_oneof![6 => line, 1 => heading, 1 => item, 2 => Just(String::new())];
    proptest::collection::vec(any, 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// No text is lost between passages, none is made up, and none of them is too long.
    #[test]
    fn passages_hold_all_text_within_the_limit(
        text in lines(), max in 16_usize..70, overlap in 0_usize..8, plain: bool,
    ) {
        let format = if plain { Format::Plain } else { Format::Markdown };
        let document = Document::read(text.as_bytes(), format).unwrap();
        let passages = cut(&document, max, overlap);
        for passage in &passages {
            prop_assert!(passage.tokens <= max);
            prop_assert_eq!(passage.tokens, tokens(&passage.text()).unwrap());
        }
        let body = |passage: &Passage| solid(&passage.body[passage.repeated..]);
        let found: String = passages.iter().map(body).collect();
        let short = |block: &&Block| {
            matches!(block.kind, Kind::Heading(_)) && tokens(&block.text).unwrap() <= max / 2
        };
        let blocks = document.blocks.iter().filter(|block| !short(block));
        prop_assert_eq!(found, blocks.map(|block| solid(&block.text)).collect::<String>());
        for heading in document.blocks.iter().filter(short) {
            prop_assert!(passages.iter().any(|passage| passage.heading.contains(&heading.text)));
        }
    }

    /// What is repeated is what the passage before ends with.
    #[test]
    fn an_overlap_repeats_the_end_of_the_passage_before(text in lines(), overlap in 0_usize..12) {
        let document = Document::read(text.as_bytes(), Format::Markdown).unwrap();
        let passages = cut(&document, 24, overlap);
        for pair in passages.windows(2) {
            let repeated = pair[1].body[..pair[1].repeated].trim_end();
            prop_assert!(pair[0].body.ends_with(repeated));
            prop_assert!(tokens(repeated).unwrap() <= overlap);
            prop_assert!(repeated.is_empty() || pair[0].heading == pair[1].heading);
        }
    }

    /// A passage stands on the lines that it names: its words are there, in their order.
    #[test]
    fn places_are_right(text in lines(), max in 16_usize..70, overlap in 0_usize..8) {
        let document = Document::read(text.as_bytes(), Format::Plain).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        for passage in cut(&document, max, overlap) {
            let place = passage.place;
            prop_assert_eq!(place.unit, Unit::Line);
            let there = solid(&lines[place.first - 1..place.last].join("\n"));
            prop_assert!(there.contains(&solid(&passage.body)), "{place}: {passage:?}");
            // And on no more lines than it takes.
            let inner = lines.get(place.first..place.last - 1).unwrap_or_default().join("\n");
            prop_assert!(solid(&inner).len() <= solid(&passage.body).len());
        }
    }
}

#[test]
fn sections_are_passages_and_blocks_stay_whole_where_they_can() {
    let text = "Intro.\n\n# A\n\nOne two three four five.\n\nSix seven.\n\n## B\n\n```\nx = 1\ny = 2\n```\n\n# C\n\n# D\n\nEnd.\n";
    let document = Document::read(text.as_bytes(), Format::Markdown).unwrap();
    let passages = cut(&document, 16, 0);
    let found: Vec<_> = passages.iter().map(|it| (it.place.to_string(), it.text())).collect();
    let found: Vec<_> = found.iter().map(|(place, text)| (place.as_str(), text.as_str())).collect();
    assert_eq!(
        found,
        [
            ("line 1", "Intro."),
            ("lines 5–7", "A\nOne two three four five.\n\nSix seven."),
            ("lines 11–14", "A > B\n```\nx = 1\ny = 2\n```"),
            ("line 16", "C"),
            ("line 20", "D\nEnd."),
        ]
    );
}

#[test]
fn a_long_paragraph_is_cut_between_sentences() {
    let text = "One two three four five six. Seven eight nine ten eleven. Twelve thirteen fourteen fifteen.";
    let document = Document::row([text], 7, Unit::Row);
    let bodies: Vec<_> = cut(&document, 16, 0).into_iter().map(|it| it.body).collect();
    assert_eq!(
        bodies,
        [
            "One two three four five six. Seven eight nine ten eleven.",
            "Twelve thirteen fourteen fifteen."
        ]
    );
    let overlapping = cut(&document, 16, 8);
    assert_eq!(
        overlapping[1].body,
        "Seven eight nine ten eleven. Twelve thirteen fourteen fifteen."
    );
    assert_eq!(overlapping[1].place.to_string(), "row 7");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let document = Document::row(["x"], 1, Unit::Row);
    for (max_tokens, overlap) in [(15, 0), (32, 17)] {
        let error = Cutting { max_tokens, overlap }.cut(&document, &tokens).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
    }
}
