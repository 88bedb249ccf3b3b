//! "Did you mean": the nearest known word.

/// The candidate nearest to `word`, if it is near enough to have been meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 80 {
        return None;
    }
    let plain = normal(word);
    let allowed = match plain.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        length => length / 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&plain, &normal(candidate)), candidate))
        .filter(|(distance, candidate)| {
            // Nothing of the candidate would be left: then it is another word.
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case, hyphens and blanks are no difference; neither is a plural.
fn normal(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

fn distance(a: &str, b: &str) -> usize {
    if a == b { 0 } else { strsim::osa_distance(a, b).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["temperature", "top_k", "top_p", "max_new_tokens", "do_sample"];
        for (word, want) in [
            ("temprature", Some("temperature")),
            ("Temperature", Some("temperature")),
            ("max-new-tokens", Some("max_new_tokens")),
            ("topk", Some("top_k")),
            ("do_smaple", Some("do_sample")),
            ("learning_rate", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), want, "{word}");
        }
    }
}
