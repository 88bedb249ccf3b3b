//! Streams of text: the pieces are the decoding of the whole.

use fidelio_generate::{Passed, StopStrings, TextStream};
use proptest::prelude::*;

use crate::tokenizer;

/// Streams ids and checks every piece against the decoding of all.
fn check(name: &str, ids: &[u32]) -> Result<(), TestCaseError> {
    let tokenizer = tokenizer(name);
    let whole = tokenizer.decode(ids, true).unwrap();
    let mut stream = TextStream::new(tokenizer.clone());
    let mut text = String::new();
    for (i, &id) in ids.iter().enumerate() {
        let piece = stream.push(id).unwrap();
        prop_assert!(!piece.contains('\u{fffd}') || whole.contains('\u{fffd}'), "{piece:?}");
        text += &piece;
        prop_assert!(whole.starts_with(&text), "{name}: {text:?} begins not {whole:?}");
        // Ending at any moment gives the decoding of what came so far.
        let so_far = tokenizer.decode(&ids[..=i], true).unwrap();
        prop_assert_eq!(text.clone() + stream.held(), so_far, "after {} tokens", i + 1);
    }
    text += &stream.finish();
    prop_assert_eq!(text, whole, "{}", name);
    Ok(())
}

proptest! {
    #[test]
    fn any_tokens_of_any_kind_of_tokenizer(
        bytes in prop::collection::vec(0_u32..340, 0..40),
        pieces in prop::collection::vec(prop_oneof![0_u32..281, 256_u32..281], 0..40),
        words in prop::collection::vec(0_u32..23, 0..40),
    ) {
        check("byte_level.json", &bytes)?;
        check("sentence_piece.json", &pieces)?;
        check("word_piece.json", &words)?;
    }

    #[test]
    fn real_text_byte_by_byte(text in "[a-zé日🙂\u{1f469}\u{200d} ]{0,12}") {
        // Tokens of a whole text, and the same text as single bytes.
        let tokenizer = tokenizer("byte_level.json");
        let ids = tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
        check("byte_level.json", &ids)?;
        let bytes: Vec<u32> = text.bytes().map(|byte| 3 + u32::from(byte)).collect();
        check("sentence_piece.json", &bytes)?;
    }

    #[test]
    fn stop_strings_do_not_see_where_pieces_are_cut(
        text in "[abé]{0,16}",
        stops in prop::collection::vec("[abé]{1,4}", 1..4),
        cuts in prop::collection::vec(any::<bool>(), 16),
    ) {
        let mut search = StopStrings::new(&stops);
        let mut got = String::new();
        let mut stopped = None;
        let mut piece = String::new();
        for (c, cut) in text.chars().zip(cuts.into_iter().chain([true].into_iter().cycle())) {
            piece.push(c);
            if !cut {
                continue;
            }
            match search.push(&std::mem::take(&mut piece), "") {
                Passed::On(more) => got += &more,
                Passed::Stop { text: more, stop } => {
                    got += &more;
                    stopped = Some(stop);
                    break;
                }
            }
        }
        if stopped.is_none() {
            match search.push(&piece, "") {
                Passed::On(more) => got = got + &more + &search.finish(),
                Passed::Stop { text: more, stop } => {
                    got += &more;
                    stopped = Some(stop);
                }
            }
        }

        // The shortest beginning of the text that ends with a stop string.
        let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let first = ends.find_map(|end| {
            let found = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str()));
            found.map(|stop| end - stop.len()).min()
        });
        prop_assert_eq!(got.as_str(), &text[..first.unwrap_or(text.len())]);
        prop_assert_eq!(stopped.is_some(), first.is_some());
    }
}

#[test]
fn half_a_character_is_held() {
    let tokenizer = tokenizer("byte_level.json");
    let ids = tokenizer.encode("🦀", false).unwrap().get_ids().to_vec();
    assert!(ids.len() > 1, "no token is the whole character");
    let mut stream = TextStream::new(tokenizer);
    let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces.pop().unwrap(), "🦀");
    assert!(pieces.iter().all(String::is_empty));
}

#[test]
fn special_tokens_are_skipped() {
    let tokenizer = tokenizer("sentence_piece.json");
    let id = |token| tokenizer.token_to_id(token).unwrap();
    let mut stream = TextStream::new(tokenizer.clone());
    let ids = ["<s>", "▁the", "</s>", "▁answer"].map(id);
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces, ["", "the", "", " answer"]);
}
