//! Colours. Elements carry their light colour and a class; a page's style sheet may give the
//! class another one, since a presentation attribute yields to it.

/// Colours of Okabe and Ito, which people with any colour blindness tell apart, without the
/// yellow that vanishes on white.
pub(crate) const SERIES: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d"];

pub(crate) const PAPER: &str = "#ffffff";
pub(crate) const INK: &str = "#1f2328";
pub(crate) const MUTED: &str = "#59636e";
pub(crate) const GRID: &str = "#e1e4e8";
/// What a cell's share is laid over the paper with.
pub(crate) const SHADE: [u8; 3] = [0x08, 0x4c, 0x8d];

/// Rules for a page that shows pictures dark; they belong into
/// `@media (prefers-color-scheme: dark) { ... }`.
pub const DARK_CSS: &str = "\
svg.chart .paper { fill: #14171c }
svg.chart .ink { fill: #e6e8eb }
svg.chart .muted { fill: #a3abb5 }
svg.chart .grid { stroke: #333a44 }
svg.chart .axis { stroke: #7d8590 }
svg.chart .whisker { stroke: #e6e8eb }
svg.chart .shade { fill: #2b76c8 }
svg.chart .s0 { --c: #3d9be0 } svg.chart .s1 { --c: #f0803c } svg.chart .s2 { --c: #2bbf93 }
svg.chart .s3 { --c: #d98fb8 } svg.chart .s4 { --c: #e8ac2a } svg.chart .s5 { --c: #7cc4f0 }
svg.chart .s6 { --c: #b5bac1 }
svg.chart .stroke { stroke: var(--c) }
svg.chart .faint { stroke-opacity: 0.8 }
svg.chart .fill { fill: var(--c) }
";

/// The colour of a series, by its number.
pub(crate) fn series(number: usize) -> &'static str {
    SERIES[number % SERIES.len()]
}

/// Its class, by its number.
pub(crate) fn class(number: usize) -> String {
    format!("s{}", number % SERIES.len())
}

/// Dashes that tell series apart which share a colour.
pub(crate) fn dashes(number: usize) -> &'static str {
    ["", "6 3", "2 3", "8 3 2 3"][number / SERIES.len() % 4]
}

/// Whether white letters are easier to read than dark ones on a cell of this share.
pub(crate) fn is_dark(share: f64) -> bool {
    let over = SHADE.map(|part| 255.0 - share * (255.0 - f64::from(part)));
    let ground = luminance(over);
    let (white, ink) = (contrast(1.0, ground), contrast(luminance([31.0, 35.0, 40.0]), ground));
    white > ink
}

/// Relative luminance as WCAG 2 defines it.
fn luminance(color: [f64; 3]) -> f64 {
    let linear = color.map(|part| {
        let part = part / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(a: f64, b: f64) -> f64 {
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_readable_on_every_shade() {
        for percent in 0..=100 {
            let share = f64::from(percent) / 100.0;
            let ground = luminance(SHADE.map(|part| 255.0 - share * (255.0 - f64::from(part))));
            let letters = if is_dark(share) { 1.0 } else { luminance([31.0, 35.0, 40.0]) };
            let found = contrast(letters, ground);
            // Where both inks read alike, neither can do better than this.
            assert!(found > 3.9, "{percent} %: {found}");
        }
    }

    #[test]
    fn every_series_is_told_apart() {
        let looks: std::collections::BTreeSet<_> =
            (0..28).map(|number| (series(number), dashes(number))).collect();
        assert_eq!(looks.len(), 28);
    }
}
