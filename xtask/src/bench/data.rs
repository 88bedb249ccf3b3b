//! What every side of a measurement reads: texts of known tokens, and rows with labels.

use super::case::Table;
use crate::{places, tables};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;

/// A text and the ids that it is for the default model.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
}

/// `benchmarks/texts/texts.json`.
#[derive(Debug)]
pub(super) struct Texts {
    pieces: BTreeMap<String, Vec<Piece>>,
    /// The file, for hashes of what was measured.
    pub(super) bytes: Vec<u8>,
}

impl Texts {
    pub(super) fn load() -> Result<Self> {
        let path = places::root().join("benchmarks/texts/texts.json");
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let pieces = serde_json::from_slice(&bytes).context("texts.json does not parse")?;
        Ok(Self { pieces, bytes })
    }

    /// The prompt of so many tokens.
    pub(super) fn prompt(&self, tokens: usize) -> Result<&Piece> {
        let prompts = ["start", "decode", "prefill"].iter().flat_map(|name| &self.pieces[*name]);
        let lengths: Vec<String> = prompts.clone().map(|it| it.ids.len().to_string()).collect();
        prompts.into_iter().find(|piece| piece.ids.len() == tokens).with_context(|| {
            format!("there is no prompt of {tokens} tokens (there are {})", lengths.join(", "))
        })
    }

    /// So many different prompts of 64 tokens.
    pub(super) fn rows(&self, count: usize) -> Result<&[Piece]> {
        self.first("batch", count)
    }

    /// So many different documents of 255 tokens, 256 with their end.
    pub(super) fn documents(&self, count: usize) -> Result<&[Piece]> {
        self.first("train", count)
    }

    fn first(&self, name: &str, count: usize) -> Result<&[Piece]> {
        let all = &self.pieces[name];
        all.get(..count)
            .with_context(|| format!("{count} texts are wanted, and `{name}` has {}", all.len()))
    }
}

/// A row with its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Labelled {
    pub(super) text: String,
    pub(super) label: String,
}

impl Table {
    fn file(self) -> &'static str {
        match self {
            Self::Sentiment => "sentiment.csv.gz",
            Self::Spam => "spam.csv.gz",
        }
    }

    pub(super) fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Sentiment => ["negative", "positive"],
            Self::Spam => ["ham", "spam"],
        }
    }

    /// What is asked about a row's text.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::Sentiment => {
                "Classify the sentiment of the review as negative or positive.\n\n{text}\n\n\
                 Answer with one word: negative or positive."
            }
            Self::Spam => {
                "Decide whether the mail is ham (wanted) or spam (unwanted).\n\n{text}\n\n\
                 Answer with one word: ham or spam."
            }
        }
    }

    /// Rows held out, then rows to learn from. The tables are ordered by a hash of their text, so
    /// that their head is a fair sample.
    pub(super) fn read(self, held_out: usize, learnt: usize) -> Result<[Vec<Labelled>; 2]> {
        let path = tables::committed(self.file());
        let file = std::fs::File::open(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text)?;
        let mut rows = labelled(&text)?;
        if rows.len() < held_out + learnt {
            bail!("`{}` has {} rows, {} are wanted", self.file(), rows.len(), held_out + learnt);
        }
        rows.truncate(held_out + learnt);
        let learnt = rows.split_off(held_out);
        Ok([rows, learnt])
    }
}

/// The rows of a CSV with the columns `id`, `text` and `label`.
fn labelled(text: &str) -> Result<Vec<Labelled>> {
    let mut records = csv(text).into_iter();
    let head = records.next().unwrap_or_default();
    if head != ["id", "text", "label"] {
        bail!("not the columns of a demonstration table: {}", head.join(", "));
    }
    records
        .map(|record| match <[String; 3]>::try_from(record) {
            Ok([_, text, label]) => Ok(Labelled { text, label }),
            Err(record) => bail!("a row of {} cells: {}", record.len(), record.join(", ")),
        })
        .collect()
}

/// The cells of comma-separated values as RFC 4180 has them.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            _ => cell.push(character),
        }
    }
    if !(cell.is_empty() && record.is_empty()) {
        record.push(cell);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_long_as_they_say() {
        let texts = Texts::load().unwrap();
        for tokens in [16, 64, 512] {
            assert_eq!(texts.prompt(tokens).unwrap().ids.len(), tokens);
        }
        assert!(texts.prompt(65).unwrap_err().to_string().contains("16, 64, 512"));
        assert!(texts.rows(32).unwrap().iter().all(|row| row.ids.len() == 64));
        assert!(texts.documents(40).unwrap().iter().all(|row| row.ids.len() == 255));
        assert!(texts.documents(41).is_err());
        // What rows had in common would be computed once.
        let starts = |rows: &[Piece]| {
            rows.iter().map(|row| row.ids[..8].to_vec()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(starts(texts.rows(32).unwrap()).len(), 32);
        assert_eq!(starts(texts.documents(40).unwrap()).len(), 40);
    }

    #[test]
    fn tables_are_read_as_they_were_written() {
        let text = "id,text,label\r\n1,\"a, \"\"b\"\"\nc\",x\n2,d,y";
        let row = |text: &str, label: &str| Labelled { text: text.into(), label: label.into() };
        assert_eq!(labelled(text).unwrap(), [row("a, \"b\"\nc", "x"), row("d", "y")]);
        assert!(labelled("id,label\n").is_err());
        for table in [Table::Sentiment, Table::Spam] {
            let [held_out, learnt] = table.read(5, 7).unwrap();
            assert_eq!((held_out.len(), learnt.len()), (5, 7));
            for row in held_out.iter().chain(&learnt) {
                assert!(table.labels().contains(&row.label.as_str()), "{}", row.label);
            }
        }
    }
}
