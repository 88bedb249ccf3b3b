//! Python's fixed-point number formats: `.2f`, `+8,.1f`, `*>10f`.

/// A parsed format of the kind `[[fill]align][sign][z][#][0][width][grouping][.precision]f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatSpec {
    written: String,
    fill: char,
    align: Align,
    sign: Sign,
    no_negative_zero: bool,
    point: bool,
    width: usize,
    grouping: Option<char>,
    precision: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Center,
    AfterSign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    OnlyMinus,
    Always,
    Space,
}

/// Wider results than this are a slip, and would let a template eat the memory.
const LIMIT: usize = 1_000;

/// The format that `spec` is, or none if it is of another kind.
pub(crate) fn parse(spec: &str) -> Option<FormatSpec> {
    let mut rest: Vec<char> = spec.chars().rev().collect(); // popped from the front of the text
    let align_of = |c: &char| match c {
        '<' => Some(Align::Left),
        '>' => Some(Align::Right),
        '^' => Some(Align::Center),
        '=' => Some(Align::AfterSign),
        _ => None,
    };
    let n = rest.len();
    let (mut fill, mut align) = (' ', None);
    if n >= 2 && align_of(&rest[n - 2]).is_some() {
        fill = rest.pop()?;
        align = align_of(&rest.pop()?);
    } else if let Some(found) = rest.last().and_then(align_of) {
        align = Some(found);
        rest.pop();
    }
    let sign = match rest.last() {
        Some('+') => Sign::Always,
        Some(' ') => Sign::Space,
        _ => Sign::OnlyMinus,
    };
    rest.pop_if(|c| matches!(c, '+' | '-' | ' '));
    let no_negative_zero = rest.pop_if(|c| *c == 'z').is_some();
    let point = rest.pop_if(|c| *c == '#').is_some();
    if rest.pop_if(|c| *c == '0').is_some() && align.is_none() {
        (fill, align) = ('0', Some(Align::AfterSign));
    }
    let width = number(&mut rest)?.unwrap_or(0);
    let grouping = rest.pop_if(|c| matches!(c, ',' | '_'));
    let precision = match rest.pop_if(|c| *c == '.') {
        Some(_) => number(&mut rest)??,
        None => 6,
    };
    if rest != ['f'] {
        return None;
    }
    let align = align.unwrap_or(Align::Right);
    Some(FormatSpec {
        written: spec.to_owned(),
        fill,
        align,
        sign,
        no_negative_zero,
        point,
        width,
        grouping,
        precision,
    })
}

/// Digits at the front: none, a number, or (outer none) one that is too large.
#[expect(clippy::option_option, reason = "absent and impossible are different answers")]
fn number(rest: &mut Vec<char>) -> Option<Option<usize>> {
    let mut value = None;
    while let Some(digit) = rest.last().and_then(|c| c.to_digit(10)) {
        rest.pop();
        let next = value.unwrap_or(0) * 10 + digit as usize;
        if next > LIMIT {
            return None;
        }
        value = Some(next);
    }
    Some(value)
}

impl FormatSpec {
    /// The format as it was written, without the colon.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The number as Python's `format(value, spec)` writes it.
    pub fn apply(&self, value: f64) -> String {
        let mut digits = if value.is_nan() {
            "nan".to_owned()
        } else if value.is_infinite() {
            "inf".to_owned()
        } else {
            format!("{:.*}", self.precision, value.abs())
        };
        let zero = !digits.chars().any(|c| c.is_ascii_alphanumeric() && c != '0');
        let negative =
            value.is_sign_negative() && !value.is_nan() && !(self.no_negative_zero && zero);
        if self.point && self.precision == 0 && value.is_finite() {
            digits.push('.');
        }
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Sign::Always) => "+",
            (false, Sign::Space) => " ",
            (false, Sign::OnlyMinus) => "",
        };
        if let Some(mark) = self.grouping.filter(|_| value.is_finite()) {
            let zeros = self.fill == '0' && self.align == Align::AfterSign;
            let room = if zeros { self.width.saturating_sub(sign.len()) } else { 0 };
            digits = group(&digits, mark, room);
        }
        self.pad(sign, &digits)
    }

    fn pad(&self, sign: &str, digits: &str) -> String {
        let missing = self.width.saturating_sub(sign.len() + digits.len());
        let fill = |n: usize| self.fill.to_string().repeat(n);
        match self.align {
            Align::Left => format!("{sign}{digits}{}", fill(missing)),
            Align::Right => format!("{}{sign}{digits}", fill(missing)),
            Align::AfterSign => format!("{sign}{}{digits}", fill(missing)),
            Align::Center => {
                let left = missing / 2;
                format!("{}{sign}{digits}{}", fill(left), fill(missing - left))
            }
        }
    }
}

/// Groups of three before the point, with zeros in front until `room` is filled.
fn group(digits: &str, mark: char, room: usize) -> String {
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut whole: Vec<char> = whole.chars().collect();
    let grouped = |n: usize| n + (n - 1) / 3 + fraction.len();
    while grouped(whole.len()) < room {
        whole.insert(0, '0');
    }
    let mut out = String::new();
    for (i, c) in whole.iter().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(mark);
        }
        out.push(*c);
    }
    out.push_str(fraction);
    out
}

/// The number that Python's `float(text)` reads.
pub(crate) fn read_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    for (i, c) in text.char_indices() {
        if c == '_' {
            // An underscore stands between two digits.
            let after = text[i + 1..].chars().next().unwrap_or(' ');
            if !before.is_ascii_digit() || !after.is_ascii_digit() {
                return None;
            }
        } else {
            plain.push(c);
        }
        before = c;
    }
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are what CPython 3.11 prints.
    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let cases = include_str!("../tests/prompting/fixtures/formats.tsv");
        for line in cases.lines().skip(1) {
            let [spec, value, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("`{line}` is no case")
            };
            let parsed = parse(spec).unwrap_or_else(|| panic!("`{spec}` is a format"));
            let value: f64 = value.parse().unwrap();
            assert_eq!(parsed.apply(value), expected, "format({value}, '{spec}')");
        }
    }

    #[test]
    fn other_formats_are_none() {
        for spec in
            ["d", ".2", ">10", "e", "%", "f<10", ".f", "5.2fx", "99999f", ".9999999999f", "F"]
        {
            assert_eq!(parse(spec), None, "{spec}");
        }
    }

    #[test]
    fn floats_are_read_as_python_reads_them() {
        for (text, value) in [
            (" 1871 ", 1871.0),
            ("1_000.5", 1000.5),
            ("-1e3", -1000.0),
            (".5", 0.5),
            ("Infinity", f64::INFINITY),
        ] {
            assert_eq!(read_float(text), Some(value), "{text}");
        }
        for text in ["", "_1", "1__0", "1_", "0x10", "1,5", "Ontario"] {
            assert_eq!(read_float(text), None, "{text}");
        }
    }
}
