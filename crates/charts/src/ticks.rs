//! Axes: where the ticks stand, and how numbers are written.

/// An axis from `low` to `high` with ticks at round numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Vec<f64>,
    /// Digits after the point that tell the ticks apart.
    decimals: usize,
}

impl Scale {
    /// An axis that covers the values, with about `wanted` ticks; its ends are ticks.
    pub(crate) fn covering(low: f64, high: f64, wanted: usize) -> Self {
        let (low, high) = apart(low, high);
        let step = nice((high - low) / wanted.max(1) as f64);
        // A value that is a tick but for rounding is that tick.
        Self::of(step, (low / step + 1e-9).floor(), (high / step - 1e-9).ceil())
    }

    /// The same with ends at the values themselves, and ticks at whole numbers: for counts.
    pub(crate) fn counting(low: f64, high: f64, wanted: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 1.0, low + 1.0) };
        let step = nice((high - low) / wanted.max(1) as f64).max(1.0);
        let ticks = Self::of(step, (low / step).ceil(), (high / step).floor());
        Self { low, high, ..ticks }
    }

    fn of(step: f64, first: f64, last: f64) -> Self {
        let decimals = (-step.log10() - 1e-9).ceil().clamp(0.0, 15.0) as usize;
        // Multiples of the step, so that no error adds up.
        let count = (last - first).max(0.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
        Self { low: first * step, high: last * step, ticks, decimals }
    }

    /// Where a value stands between 0 and 1.
    pub(crate) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// A tick's number.
    pub(crate) fn label(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        if !(1e-4..1e9).contains(&largest) {
            return format!("{tick:.1e}");
        }
        thousands(&format!("{tick:.*}", self.decimals))
    }
}

/// The next of 1, 2, 5, 10, ... that is not smaller.
fn nice(rough: f64) -> f64 {
    let magnitude = 10.0_f64.powf(rough.log10().floor());
    let rest = rough / magnitude;
    let factor = [1.0, 2.0, 5.0].into_iter().find(|it| rest <= it + 1e-9).unwrap_or(10.0);
    factor * magnitude
}

/// Two values with something between them.
fn apart(low: f64, high: f64) -> (f64, f64) {
    let least = low.abs().max(high.abs()).max(1e-6) * 1e-6;
    if high - low > least {
        return (low, high);
    }
    let half = low.abs().max(1e-3) / 10.0;
    (low - half, high + half)
}

/// A number as a reader wants it beside a bar: three digits after the point, fewer where it is
/// large.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{value:.2e}"),
        size if size >= 1000.0 => thousands(&format!("{value:.0}")),
        size if size >= 100.0 => thousands(&format!("{value:.1}")),
        size if size >= 10.0 => thousands(&format!("{value:.2}")),
        size if size > 1e-12 && size < 5e-4 => format!("{value:.1e}"),
        _ => thousands(&format!("{value:.3}")),
    }
}

/// Digits in groups of three; what follows the point is left alone. A minus is a minus sign.
pub(crate) fn thousands(number: &str) -> String {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) if rest.bytes().any(|b| (b'1'..=b'9').contains(&b)) => ("\u{2212}", rest),
        Some(rest) => ("", rest),
        None => ("", number),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks.iter().map(|tick| scale.label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (low, high, expected) in [
            (0.0, 1.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"][..]),
            (0.31, 2.47, &["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]),
            (-0.12, 0.3, &["\u{2212}0.2", "\u{2212}0.1", "0.0", "0.1", "0.2", "0.3"]),
            (0.0, 20_000.0, &["0", "5,000", "10,000", "15,000", "20,000"]),
            (0.701, 0.704, &["0.701", "0.702", "0.703", "0.704"]),
        ] {
            assert_eq!(labels(&Scale::covering(low, high, 5)), expected);
        }
    }

    #[test]
    fn counts_have_whole_ticks_and_no_room_beside_them() {
        let scale = Scale::counting(1.0, 47.0, 8);
        assert_eq!((scale.low, scale.high), (1.0, 47.0));
        assert_eq!(labels(&scale), ["10", "20", "30", "40"]);
        assert_eq!(labels(&Scale::counting(1.0, 3.0, 8)), ["1", "2", "3"]);
        assert_eq!(labels(&Scale::counting(5.0, 5.0, 8)), ["4", "5", "6"]);
    }

    #[test]
    fn a_single_value_still_has_an_axis() {
        for value in [0.0, 0.5, -3.0, 1e12] {
            let scale = Scale::covering(value, value, 5);
            assert!(scale.low < value && value < scale.high, "{scale:?}");
            assert!((0.0..=1.0).contains(&scale.share(value)));
        }
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        let cases = [
            (0.8421, "0.842"),
            (0.0, "0.000"),
            (12.345, "12.35"),
            (123.45, "123.5"),
            (12_345.6, "12,346"),
            (0.000_012, "1.2e-5"),
            (-0.1, "\u{2212}0.100"),
            (-1e-17, "0.000"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_value_lies_on_its_axis(a in -1e15_f64..1e15, b in -1e15_f64..1e15) {
            let scale = Scale::covering(a.min(b), a.max(b), 5);
            proptest::prop_assert!(scale.ticks.len() >= 2 && scale.ticks.len() <= 12);
            for value in [a, b] {
                proptest::prop_assert!((-1e-9..=1.0 + 1e-9).contains(&scale.share(value)));
            }
        }
    }
}
