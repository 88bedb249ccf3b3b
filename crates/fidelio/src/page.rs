//! Writing a page of HTML that stands alone.

use std::fmt::Write as _;

use fidelio_charts::{DARK_CSS, Svg, escape};

const CSS: &str = "\
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --muted: #59636e;
  --edge: #d8dce1; --soft: #f5f6f8; --warn: #9a3b00 }
body { background: var(--paper); color: var(--ink); margin: 0 auto; padding: 24px 20px 80px;
  max-width: 920px; font: 15px/1.5 system-ui, 'Noto Sans', Helvetica, Arial, sans-serif }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere }
h2 { font-size: 19px; margin: 40px 0 8px; padding-bottom: 4px; border-bottom: 1px solid var(--edge) }
p { margin: 6px 0; overflow-wrap: anywhere } .muted { color: var(--muted) }
.warning { color: var(--warn); border-left: 4px solid var(--warn); padding: 4px 12px }
.cards { display: flex; flex-wrap: wrap; gap: 12px }
.card { display: inline-block; background: var(--soft); border: 1px solid var(--edge);
  border-radius: 8px; padding: 12px 18px; margin: 12px 12px 0 0 }
.card b { display: block; font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; margin: 10px 0 }
td, th { border-bottom: 1px solid var(--edge); padding: 5px 14px 5px 0; text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
th { color: var(--muted); font-weight: 600 }
figure { margin: 12px 0; overflow-x: auto } svg.chart { max-width: 100%; height: auto }
pre { background: var(--soft); border: 1px solid var(--edge); border-radius: 6px; padding: 10px 14px;
  overflow-x: auto; font-size: 13px; line-height: 1.45 }
.row { border: 1px solid var(--edge); border-radius: 8px; padding: 10px 16px; margin: 12px 0 }
.row dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 6px 0 0 }
.row dt { color: var(--muted) } .row dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }
summary { cursor: pointer; padding: 4px 0 }
";

const DARK: &str = ":root { --paper: #14171c; --ink: #e6e8eb; --muted: #a3abb5; --edge: #333a44;
  --soft: #1c2128; --warn: #f0a070 }\n";

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    html: String,
}

impl Page {
    /// A page with a heading. Nothing in it may load anything or run.
    pub(crate) fn new(title: &str) -> Self {
        let title = escape(title);
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{CSS}@media (prefers-color-scheme: dark) {{\n{DARK}\
             {DARK_CSS}}}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        Self { html }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.html.write_fmt(text).expect("a string takes everything");
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.put(format_args!("<h2>{}</h2>\n", escape(text)));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.put(format_args!("<p class=\"muted\">{}</p>\n", escape(text)));
    }

    pub(crate) fn warning(&mut self, text: &str) {
        self.put(format_args!("<p class=\"warning\">{}</p>\n", escape(text)));
    }

    /// A figure that is to be seen first.
    pub(crate) fn card(&mut self, name: &str, value: &str, of: &str, note: &str) {
        let (name, value, of, note) = (escape(name), escape(value), escape(of), escape(note));
        self.put(format_args!(
            "<div class=\"card\"><span class=\"muted\">{name}, {of}</span><b>{value}</b>\
             <span class=\"muted\">{note}</span></div>\n"
        ));
    }

    pub(crate) fn picture(&mut self, svg: &Svg) {
        self.put(format_args!("<figure>\n{svg}</figure>\n"));
    }

    pub(crate) fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        self.put(format_args!("<table>\n"));
        if heads.iter().any(|head| !head.is_empty()) {
            let heads = heads.iter().map(|head| format!("<th>{}</th>", escape(head)));
            self.put(format_args!("<tr>{}</tr>\n", heads.collect::<String>()));
        }
        for row in rows {
            let cells = row.iter().map(|cell| format!("<td>{}</td>", escape(cell)));
            self.put(format_args!("<tr>{}</tr>\n", cells.collect::<String>()));
        }
        self.put(format_args!("</table>\n"));
    }

    /// A row of the data with what belongs to it.
    pub(crate) fn row(&mut self, title: &str, parts: &[(String, String)]) {
        self.put(format_args!("<div class=\"row\"><b>{}</b><dl>\n", escape(title)));
        for (name, text) in parts {
            self.put(format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(text)));
        }
        self.put(format_args!("</dl></div>\n"));
    }

    /// A long text that is shown when it is wanted.
    pub(crate) fn folded(&mut self, title: &str, text: &str) {
        let (title, text) = (escape(title), escape(text));
        self.put(format_args!(
            "<details><summary>{title}</summary>\n<pre>{text}</pre></details>\n"
        ));
    }

    pub(crate) fn finish(mut self) -> String {
        self.html.push_str("</body>\n</html>\n");
        self.html
    }
}

/// A figure with three digits after the point, or more where they would all be 0.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "not defined".to_owned(),
        size if size > 0.0 && size < 5e-4 => format!("{value:.1e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// A count with its digits in groups of three.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
