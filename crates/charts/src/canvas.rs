//! Writing SVG.

use std::fmt::{self, Write as _};

use crate::{
    letters::{FAMILY, Weight},
    palette::{INK, MUTED, PAPER},
};

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg {
    text: String,
    width: u32,
    height: u32,
}

impl Svg {
    /// The SVG document: to be written to a file, or to stand in a page as it is.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text fit for XML and HTML, between tags and inside quotes. What XML does not allow at all
/// becomes a replacement character.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Where a text stands in relation to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text's looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    /// Class and colour.
    pub(crate) color: (&'static str, &'static str),
    pub(crate) anchor: Anchor,
    /// Degrees, clockwise.
    pub(crate) turned: f64,
}

impl Type {
    pub(crate) const fn ink(size: f64) -> Self {
        let color = ("ink", INK);
        Self { size, weight: Weight::Regular, color, anchor: Anchor::Start, turned: 0.0 }
    }

    pub(crate) const fn muted(size: f64) -> Self {
        Self { color: ("muted", MUTED), ..Self::ink(size) }
    }

    pub(crate) const fn bold(self) -> Self {
        Self { weight: Weight::Bold, ..self }
    }

    pub(crate) const fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    pub(crate) const fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }

    pub(crate) const fn turned(self, degrees: f64) -> Self {
        Self { turned: degrees, ..self }
    }
}

/// A picture under construction.
#[derive(Debug)]
pub(crate) struct Canvas {
    title: String,
    width: f64,
    height: f64,
    body: String,
}

/// Tenths of a pixel are as fine as eyes are, and make the text short and the same everywhere.
#[derive(Clone, Copy)]
pub(crate) struct Px(pub(crate) f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round();
        write!(f, "{}", if tenths == 0.0 { 0.0 } else { tenths / 10.0 })
    }
}

impl Canvas {
    pub(crate) fn new(title: &str, width: f64, height: f64) -> Self {
        Self { title: title.to_owned(), width, height, body: String::new() }
    }

    /// Elements as they are written; what comes from outside must be escaped.
    pub(crate) fn raw(&mut self, element: fmt::Arguments<'_>) {
        self.body.write_fmt(element).expect("a string takes everything");
        self.body.push('\n');
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, how: Type) {
        let anchor = match how.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if how.weight == Weight::Bold { " font-weight=\"bold\"" } else { "" };
        let turn = match how.turned {
            0.0 => String::new(),
            degrees => format!(" transform=\"rotate({} {} {})\"", Px(degrees), Px(x), Px(y)),
        };
        let (class, color) = how.color;
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{color}\"{weight}{anchor}{turn}>{}</text>",
            Px(x),
            Px(y),
            Px(how.size),
            escape(text)
        ));
    }

    /// A straight line of a class.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str, color: &str) {
        self.raw(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{color}\"/>",
            Px(from.0),
            Px(from.1),
            Px(to.0),
            Px(to.1)
        ));
    }

    pub(crate) fn finish(self) -> Svg {
        let (width, height) = (self.width.ceil() as u32, self.height.ceil() as u32);
        let title = escape(&self.title);
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" \
             aria-label=\"{title}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"{FAMILY}, system-ui, Helvetica, Arial, sans-serif\">\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" fill=\"{PAPER}\"/>\n\
             {}</svg>\n",
            self.body
        );
        Svg { text, width, height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        assert_eq!(escape("a\u{0}b\u{1b}"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn pixels_are_written_short() {
        let written = [1.0, 0.04, -0.04, 12.349, -3.26].map(|it| Px(it).to_string());
        assert_eq!(written, ["1", "0", "0", "12.3", "-3.3"]);
    }
}
