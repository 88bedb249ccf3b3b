//! The letters of this crate: how wide a text is, and what fits.

use std::sync::LazyLock;

use skrifa::{
    FontRef, MetadataProvider as _,
    instance::{LocationRef, Size},
};

/// The family that pictures name first; it is part of this crate.
pub(crate) const FAMILY: &str = "Noto Sans";

/// The font files: regular and bold.
pub(crate) const FILES: [&[u8]; 2] = [ttf_noto_sans::REGULAR, ttf_noto_sans::BOLD];

static FONTS: LazyLock<[FontRef<'static>; 2]> =
    LazyLock::new(|| FILES.map(|file| FontRef::new(file).expect("the crate's fonts are whole")));

/// How heavy letters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// The width of a text in pixels. A letter that the font lacks counts as wide as it is high.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let font = &FONTS[weight as usize];
    let (glyphs, metrics) =
        (font.charmap(), font.glyph_metrics(Size::new(size as f32), LocationRef::default()));
    let advance = |c| glyphs.map(c).and_then(|glyph| metrics.advance_width(glyph));
    text.chars().map(|c| advance(c).map_or(size, f64::from)).sum()
}

/// Whether the crate's own fonts have every letter.
pub(crate) fn covers(text: &str) -> bool {
    let glyphs = FONTS[0].charmap();
    text.chars().all(|c| c.is_control() || glyphs.map(c).is_some())
}

/// The text on one line, cut with an ellipsis where it is wider than `room`.
pub(crate) fn fit(text: &str, size: f64, weight: Weight, room: f64) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if width(&line, size, weight) <= room {
        return line;
    }
    let room = room - width("…", size, weight);
    let mut kept = String::new();
    let mut taken = 0.0;
    for c in line.chars() {
        taken += width(c.encode_utf8(&mut [0; 4]), size, weight);
        if taken > room {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_the_room_ends() {
        let text = "a label that goes on and on";
        let cut = fit(text, 12.0, Weight::Regular, 80.0);
        assert!(cut.ends_with('…') && text.starts_with(cut.trim_end_matches('…')), "{cut}");
        let found = width(&cut, 12.0, Weight::Regular);
        assert!(found <= 80.0 && found > 60.0, "{found}");
        assert_eq!(fit("two\n lines", 12.0, Weight::Regular, 80.0), "two lines");
        assert_eq!(fit("猫が好き猫が好き", 10.0, Weight::Regular, 40.0), "猫が好…");
    }

    #[test]
    fn bold_is_wider_and_missing_letters_are_known() {
        assert!(width("Width", 10.0, Weight::Bold) > width("Width", 10.0, Weight::Regular));
        assert!(covers("Größe, Ζευς, Мир") && !covers("猫"));
    }
}
