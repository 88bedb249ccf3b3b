//! EBNF as the W3C writes it, and its relative GBNF of llama.cpp, translated to Lark.
//!
//! A rule is `name ::= ...`, and `root` is the first to be followed. `"text"` and `'text'`, `[a-z]`,
//! `[^a-z]`, `.`, `#x20`, names, `( )`, `|`, `*`, `+`, `?` and `{2,5}` mean what they mean in both.
//! Comments are `# ...` and `/* ... */`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{GrammarError, error::place};

/// Where a grammar begins.
const ROOT: &str = "root";

/// Whether a text is EBNF rather than Lark.
pub(super) fn is_ebnf(text: &str) -> bool {
    text.contains("::=")
}

/// The same grammar in Lark's notation.
///
/// Rules that never come back to themselves become terminals, which are regular expressions: of
/// those the longest text does not hide a shorter one.
pub(super) fn to_lark(text: &str) -> Result<String, GrammarError> {
    let mut parser = Parser { text, at: 0, rules: BTreeMap::new() };
    while parser.skip_blanks()? {
        parser.rule()?;
    }
    let Parser { rules, .. } = parser;
    if !rules.contains_key(ROOT) {
        return Err(wrong(text, 0, format!("there is no rule `{ROOT}`")));
    }
    for rule in rules.values() {
        let unknown = rule.names.iter().find(|(name, _)| !rules.contains_key(name));
        if let Some((name, at)) = unknown {
            return Err(wrong(text, *at, format!("there is no rule `{name}`")));
        }
    }
    let names: Vec<&String> = rules.keys().collect();
    let numbered = |name: &str| {
        let number = names.iter().position(|it| *it == name).unwrap_or_default();
        let kind = if is_regular(&rules, name) { "T" } else { "r" };
        format!("{kind}{number}")
    };
    let mut lark = format!("start: {}\n", numbered(ROOT));
    for (name, rule) in &rules {
        let _ = writeln!(lark, "{}: {}", numbered(name), written(&rule.body, &numbered));
    }
    Ok(lark)
}

#[derive(Debug)]
struct Rule {
    body: Node,
    /// The rules that it names, and where.
    names: Vec<(String, usize)>,
}

#[derive(Debug)]
enum Node {
    Text(String),
    /// Characters, as a regular expression.
    Class(String),
    Name(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, usize, Option<usize>),
}

/// Whether a rule and all that it leads to never come back to themselves.
fn is_regular(rules: &BTreeMap<String, Rule>, name: &str) -> bool {
    let reached = reached(rules, name);
    !reached.contains(&name)
        && reached.iter().all(|other| !self::reached(rules, other).contains(other))
}

/// The rules that a rule leads to, through others too.
fn reached<'a>(rules: &'a BTreeMap<String, Rule>, name: &str) -> Vec<&'a str> {
    let direct = |name: &str| rules.get(name).into_iter().flat_map(|rule| &rule.names);
    let mut found: Vec<&str> = Vec::new();
    let mut left: Vec<&str> = direct(name).map(|(name, _)| name.as_str()).collect();
    while let Some(next) = left.pop() {
        if !found.contains(&next) {
            found.push(next);
            left.extend(direct(next).map(|(name, _)| name.as_str()));
        }
    }
    found
}

fn written(node: &Node, numbered: &dyn Fn(&str) -> String) -> String {
    let all = |nodes: &[Node], between: &str| {
        let nodes: Vec<String> = nodes.iter().map(|node| written(node, numbered)).collect();
        format!("({})", nodes.join(between))
    };
    match node {
        Node::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Node::Class(class) => format!("/{class}/"),
        Node::Name(name) => numbered(name),
        Node::Sequence(nodes) if nodes.is_empty() => "\"\"".to_owned(),
        Node::Sequence(nodes) => all(nodes, " "),
        Node::Choice(nodes) => all(nodes, " | "),
        Node::Repeat(node, least, most) => {
            let node = written(node, numbered);
            match (least, most) {
                (0, None) => format!("({node})*"),
                (1, None) => format!("({node})+"),
                (0, Some(1)) => format!("({node})?"),
                (least, None) => format!("({node}){{{least},}}"),
                (least, Some(most)) => format!("({node}){{{least},{most}}}"),
            }
        }
    }
}

fn wrong(text: &str, at: usize, problem: String) -> GrammarError {
    let (line, column) = place(text, at);
    GrammarError::Grammar { line, column, problem }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    rules: BTreeMap<String, Rule>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, GrammarError> {
        Err(wrong(self.text, self.at, problem.into()))
    }

    fn take(&mut self, token: &str) -> bool {
        let is_there = self.rest().starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    /// Goes over blanks and comments; false at the end.
    fn skip_blanks(&mut self) -> Result<bool, GrammarError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            if blanks > 0 {
                self.at += blanks;
            } else if rest.starts_with('#') && !rest.starts_with("#x") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.fail("the comment has no end"),
                }
            } else {
                return Ok(!rest.is_empty());
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..len].to_owned();
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins.then(|| {
            self.at += len;
            name
        })
    }

    fn rule(&mut self) -> Result<(), GrammarError> {
        let begin = self.at;
        let Some(name) = self.name() else { return self.fail("a rule should begin here") };
        self.skip_blanks()?;
        if !self.take("::=") {
            return self.fail("`::=` should stand here");
        }
        if self.rules.contains_key(&name) {
            return Err(wrong(self.text, begin, format!("the rule `{name}` stands twice")));
        }
        let mut names = Vec::new();
        let body = self.choice(&mut names)?;
        self.rules.insert(name, Rule { body, names });
        Ok(())
    }

    fn choice(&mut self, names: &mut Vec<(String, usize)>) -> Result<Node, GrammarError> {
        let mut options = vec![self.sequence(names)?];
        while self.take("|") {
            options.push(self.sequence(names)?);
        }
        Ok(if options.len() == 1 { options.remove(0) } else { Node::Choice(options) })
    }

    fn sequence(&mut self, names: &mut Vec<(String, usize)>) -> Result<Node, GrammarError> {
        let mut nodes = Vec::new();
        while self.skip_blanks()? && !self.rest().starts_with(['|', ')']) && !self.at_rule()? {
            let node = self.atom(names)?;
            nodes.push(self.repeated(node)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Sequence(nodes) })
    }

    /// Whether the next rule begins here.
    fn at_rule(&mut self) -> Result<bool, GrammarError> {
        let begin = self.at;
        let is_rule = self.name().is_some() && self.skip_blanks()? && self.take("::=");
        self.at = begin;
        Ok(is_rule)
    }

    fn atom(&mut self, names: &mut Vec<(String, usize)>) -> Result<Node, GrammarError> {
        let begin = self.at;
        if let Some(name) = self.name() {
            names.push((name.clone(), begin));
            return Ok(Node::Name(name));
        }
        if self.take("(") {
            let inner = self.choice(names)?;
            return if self.take(")") { Ok(inner) } else { self.fail("`)` should stand here") };
        }
        if self.take(".") {
            return Ok(Node::Class("(?s:.)".to_owned()));
        }
        if self.take("[") {
            return self.class();
        }
        if self.take("#x") {
            return Ok(Node::Text(self.hexadecimal(8)?.to_string()));
        }
        for quote in ['"', '\''] {
            if self.take(quote.encode_utf8(&mut [0; 4])) {
                return self.quoted(quote);
            }
        }
        self.fail("a text, a class, a name or `(` should stand here")
    }

    fn repeated(&mut self, node: Node) -> Result<Node, GrammarError> {
        let mut node = node;
        loop {
            let (least, most) = match self.rest().chars().next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    let begin = self.at;
                    let Some((counts, _)) = self.rest()[1..].split_once('}') else {
                        return self.fail("`}` is missing");
                    };
                    let counts = counts.to_owned();
                    self.at += counts.len() + 1;
                    let Some(range) = range(&counts) else {
                        return Err(wrong(self.text, begin, format!("`{{{counts}}}` is no count")));
                    };
                    range
                }
                _ => return Ok(node),
            };
            self.at += 1;
            node = Node::Repeat(Box::new(node), least, most);
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Node, GrammarError> {
        let mut text = String::new();
        while !self.take(quote.encode_utf8(&mut [0; 4])) {
            text.push(self.character("the text has no end")?);
        }
        Ok(Node::Text(text))
    }

    fn class(&mut self) -> Result<Node, GrammarError> {
        let mut class = if self.take("^") { "[^".to_owned() } else { "[".to_owned() };
        let mut is_empty = true;
        while !self.take("]") {
            const OPEN: &str = "the class has no end";
            let begin = self.at;
            let from = self.character(OPEN)?;
            let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let to = if is_range && self.take("-") { self.character(OPEN)? } else { from };
            if to < from {
                return Err(wrong(self.text, begin, format!("`{to}` comes before `{from}`")));
            }
            let _ = write!(class, "\\x{{{:X}}}-\\x{{{:X}}}", u32::from(from), u32::from(to));
            is_empty = false;
        }
        if is_empty {
            return self.fail("the class before this is empty");
        }
        class.push(']');
        Ok(Node::Class(class))
    }

    /// A character of a text or class, with the escapes of llama.cpp; `open` is said at the end.
    fn character(&mut self, open: &str) -> Result<char, GrammarError> {
        let Some(c) = self.rest().chars().next() else { return self.fail(open) };
        if self.take("#x") {
            return self.hexadecimal(8);
        }
        self.at += c.len_utf8();
        if c != '\\' {
            return Ok(c);
        }
        let Some(escaped) = self.rest().chars().next() else { return self.fail(open) };
        self.at += escaped.len_utf8();
        match escaped {
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'x' => self.hexadecimal(2),
            'u' => self.hexadecimal(4),
            'U' => self.hexadecimal(8),
            c if c.is_ascii_alphanumeric() => self.fail(format!("`\\{c}` is no escape")),
            c => Ok(c),
        }
    }

    /// A character by its number, of at most so many digits.
    fn hexadecimal(&mut self, most: usize) -> Result<char, GrammarError> {
        let digits = self.rest().chars().take(most).take_while(char::is_ascii_hexdigit).count();
        let number = u32::from_str_radix(&self.rest()[..digits], 16).ok();
        let Some(c) = number.and_then(char::from_u32) else {
            return self.fail("the number of a character should stand here");
        };
        self.at += digits;
        Ok(c)
    }
}

/// `3`, `3,` or `3,5`.
fn range(counts: &str) -> Option<(usize, Option<usize>)> {
    let Some((least, most)) = counts.split_once(',') else {
        let count = counts.trim().parse().ok()?;
        return Some((count, Some(count)));
    };
    let least = least.trim().parse().ok()?;
    let most = match most.trim() {
        "" => None,
        most => Some(most.parse().ok()?),
    };
    most.is_none_or(|most| most >= least).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grammar;

    #[track_caller]
    fn check(text: &str, right: &[&str], wrong: &[&str]) {
        let grammar = Grammar::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        for text in right {
            assert_eq!(grammar.misfit(text), None, "{text}");
        }
        for text in wrong {
            assert!(!grammar.accepts(text), "{text}");
        }
    }

    #[test]
    fn each_notation_means_what_it_means() {
        check(
            "# of the W3C\nroot ::= 'a' [b-d#x41]? #x2D \"e\\n\" /* and */ | other{2,3}\n\
             other ::= [^a-z\\]] . | [x-] 'é'*",
            &["a-e\n", "ab-e\n", "aA-e\n", "0a1\n", "x-", "xéééx", "---"],
            &["ae-e\n", "a-e", "0a", "]a]a", "x"],
        );
    }

    #[test]
    fn rules_that_do_not_come_back_are_exact() {
        // A longest match of `ab` would hide `a` before `bc`.
        check(
            "root ::= (\"a\" tail | \"ab\" \"d\")+\ntail ::= \"bc\"",
            &["abc", "abd", "abcabdabc"],
            &["", "ab", "abcd"],
        );
    }

    #[test]
    fn rules_that_come_back_nest() {
        let json = r#"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"#;
        check(
            json,
            &[r#"{"a": [1, -2.5e3, {"b":"\u00e9x"}], "c": null}"#, "{}", "{\"a\":\n  true}"],
            &["", "{", "[1]", r#"{"a": 01}"#, r#"{"a" 1}"#, r#"{"a": tru}"#],
        );
        check("root ::= \"(\" root \")\" | \"x\"", &["x", "((x))"], &["", "(x", "()"]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (text, line, column, said) in [
            ("main ::= \"a\"", 1, 1, "no rule `root`"),
            ("root ::= \"a\"\n  other", 2, 3, "no rule `other`"),
            ("root ::= \"a", 1, 12, "the text has no end"),
            ("root ::= [a", 1, 12, "the class has no end"),
            ("root ::= [z-a]", 1, 11, "comes before"),
            ("root ::= (\"a\"", 1, 14, "`)` should stand"),
            ("root ::= \"a\"{3,2}", 1, 13, "no count"),
            ("root ::= \"\\q\"", 1, 13, "no escape"),
            ("root ::= \"a\"\nroot ::= \"b\"", 2, 1, "twice"),
            ("root ::= \"a\" )", 1, 14, "a rule should begin"),
            ("root ::= /* a", 1, 10, "no end"),
        ] {
            let error = Grammar::parse(text).unwrap_err();
            let GrammarError::Grammar { line: l, column: c, problem } = error else { panic!() };
            assert_eq!((l, c), (line, column), "{text}: {problem}");
            assert!(problem.contains(said), "{problem}");
        }
    }
}
