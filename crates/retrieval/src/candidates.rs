//! The rows that may be shown as examples, with an index of their words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::words::{normal, words};

/// Two texts are nearly the same if they share so much of all their words.
const NEAR: f32 = 0.8;

/// A row that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What is compared with the query.
    pub text: String,
    /// Its label, where there is one: what a balanced choice balances.
    pub label: Option<String>,
}

/// A candidate that says what the query says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duplicate {
    /// The candidate.
    pub candidate: usize,
    /// Common words over all words of the two, 1 where their words are the same.
    pub overlap: f32,
    /// Whether the texts are equal but for white space and case.
    pub equal: bool,
}

/// A word in a candidate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting {
    pub(crate) candidate: u32,
    /// How often it occurs there.
    pub(crate) times: u32,
}

/// The rows that may be shown, and where each word occurs in them. They stay in memory.
#[derive(Debug, Default)]
pub struct Candidates {
    labels: Vec<Option<String>>,
    /// Candidates by their normal text.
    equal: HashMap<String, Vec<usize>>,
    numbers: HashMap<String, usize>,
    /// Of each word, the candidates that have it, ascending.
    postings: Vec<Vec<Posting>>,
    /// The words of each candidate, ascending.
    words_of: Vec<Vec<(u32, u32)>>,
    /// How many words each candidate has, repeated ones counted.
    lengths: Vec<u32>,
}

impl Candidates {
    /// Indexes rows; a candidate's number is its place among them.
    pub fn new(rows: impl IntoIterator<Item = Candidate>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.add(row);
        }
        all
    }

    fn add(&mut self, row: Candidate) {
        let candidate = self.labels.len();
        self.equal.entry(normal(&row.text)).or_default().push(candidate);
        let mut times: BTreeMap<usize, u32> = BTreeMap::new();
        for word in words(&row.text) {
            let next = self.numbers.len();
            *times.entry(*self.numbers.entry(word).or_insert(next)).or_default() += 1;
        }
        self.postings.resize_with(self.numbers.len(), Vec::new);
        for (&word, &times) in &times {
            self.postings[word].push(Posting { candidate: candidate as u32, times });
        }
        self.lengths.push(times.values().sum());
        self.words_of.push(times.into_iter().map(|(word, times)| (word as u32, times)).collect());
        self.labels.push(row.label);
    }

    /// To be held by a searcher and a chooser.
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels that occur, ascending.
    pub fn labels(&self) -> Vec<&str> {
        let labels: BTreeSet<&str> = self.labels.iter().flatten().map(String::as_str).collect();
        labels.into_iter().collect()
    }

    /// The label of a candidate.
    pub fn label(&self, candidate: usize) -> Option<&str> {
        self.labels.get(candidate)?.as_deref()
    }

    /// The candidates that say the same as a text, or nearly so, ascending: those that are equal but
    /// for white space and case, and those that share most words.
    pub fn duplicates(&self, text: &str) -> Vec<Duplicate> {
        let equal = self.equal.get(&normal(text)).map_or(&[][..], Vec::as_slice);
        let asked: BTreeSet<String> = words(text).collect();
        let mut shared = vec![0_usize; self.len()];
        for posting in asked.iter().filter_map(|word| self.postings(word)).flatten() {
            shared[posting.candidate as usize] += 1;
        }
        let duplicate = |(candidate, shared): (usize, usize)| {
            let equal = equal.binary_search(&candidate).is_ok();
            if !equal && shared == 0 {
                return None;
            }
            let all = asked.len() + self.words_of[candidate].len() - shared;
            let overlap = if all == 0 { 1.0 } else { shared as f32 / all as f32 };
            (equal || overlap >= NEAR).then_some(Duplicate { candidate, overlap, equal })
        };
        shared.into_iter().enumerate().filter_map(duplicate).collect()
    }

    pub(crate) fn postings(&self, word: &str) -> Option<&[Posting]> {
        self.numbers.get(word).map(|&word| self.postings[word].as_slice())
    }

    pub(crate) fn length(&self, candidate: usize) -> u32 {
        self.lengths[candidate]
    }

    /// Words per candidate, on average.
    pub(crate) fn mean_length(&self) -> f32 {
        let words: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        words as f32 / self.len().max(1) as f32
    }

    /// The cosine of the angle between two candidates' words, each weighted by how often it occurs in
    /// the candidate and how rarely elsewhere: tf · (ln((1 + n) / (1 + df)) + 1), as scikit-learn's
    /// `TfidfVectorizer` has it.
    pub(crate) fn cosine(&self, a: usize, b: usize) -> f32 {
        let weigh = |&(word, times): &(u32, u32)| {
            let rows = (1 + self.len()) as f32 / (1 + self.postings[word as usize].len()) as f32;
            times as f32 * (rows.ln() + 1.0)
        };
        let norm = |words: &[(u32, u32)]| words.iter().map(|it| weigh(it).powi(2)).sum::<f32>();
        let (a, b) = (&self.words_of[a], &self.words_of[b]);
        let mut product = 0.0;
        for of_a in a {
            if let Ok(at) = b.binary_search_by_key(&of_a.0, |it| it.0) {
                product += weigh(of_a) * weigh(&b[at]);
            }
        }
        let norms = (norm(a) * norm(b)).sqrt();
        if norms > 0.0 { product / norms } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(texts: &[&str]) -> Candidates {
        let row = |text: &&str| Candidate { text: (*text).to_owned(), label: None };
        Candidates::new(texts.iter().map(row))
    }

    #[test]
    fn equal_and_nearly_equal_texts_are_found() {
        let texts = [
            "The food was great and cheap.",
            "the  FOOD was great\nand cheap.",
            "The food was great and very cheap!",
            "The staff was great.",
            "",
        ];
        let found = candidates(&texts).duplicates("the food was great and cheap.");
        let numbers: Vec<_> = found.iter().map(|it| (it.candidate, it.equal)).collect();
        assert_eq!(numbers, [(0, true), (1, true), (2, false)]);
        assert!((found[2].overlap - 6.0 / 7.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn texts_without_words_are_only_like_their_equals() {
        let all = candidates(&["", "?!", "words"]);
        let numbers = |text| all.duplicates(text).iter().map(|it| it.candidate).collect::<Vec<_>>();
        assert_eq!(numbers(" "), [0]);
        assert_eq!(numbers("?!"), [1]);
        assert_eq!(numbers("other"), [0; 0]);
    }

    #[test]
    fn likeness_is_1_for_the_same_words_and_0_for_none_in_common() {
        let all = candidates(&["a b b", "b a b", "c", "", "a c"]);
        assert!((all.cosine(0, 1) - 1.0).abs() < 1e-6);
        assert!(all.cosine(0, 2).abs() < 1e-6 && all.cosine(3, 3).abs() < 1e-6);
        assert!(all.cosine(0, 4) > 0.0 && all.cosine(0, 4) < 0.8);
    }
}
