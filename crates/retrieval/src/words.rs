//! What two texts have in common: words, whatever their case and the white space between them.

use unicode_segmentation::UnicodeSegmentation as _;

/// The words of a text in lower case, in order: what Unicode calls a word, so that scripts without
/// spaces have words too. Punctuation is none.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.unicode_words().map(str::to_lowercase)
}

/// A text in lower case with single spaces.
pub(crate) fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for part in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(&part.to_lowercase());
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_script() {
        let found = |text| words(text).collect::<Vec<_>>();
        assert_eq!(found("Isn't it 3.5 EUR?"), ["isn't", "it", "3.5", "eur"]);
        assert_eq!(found("Straße, ÉTÉ"), ["straße", "été"]);
        assert_eq!(found("你好"), ["你", "好"]);
        assert_eq!(found(" -- "), [""; 0]);
    }

    #[test]
    fn white_space_and_case_do_not_make_texts_differ() {
        assert_eq!(normal(" Great\n\tFOOD! "), "great food!");
        assert_eq!(normal(" "), "");
    }
}
