//! What a training run stands on, by hashes, and whether what it is used with is still that.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Machine, Model, RunFile,
    adapters::Trained,
    hashes::{FileHash, Hashes, sha256},
    plan::Plan,
};

/// Its file in the run's folder.
pub(crate) const PROVENANCE: &str = "provenance.json";

/// What a training run stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The version that trained.
    pub fidelio_version: String,
    /// The base model's weights.
    pub base_weights: Hashed,
    /// The weights of the adapter that it went on from.
    pub adapter_weights: Option<Hashed>,
    /// Of the tokenizer, in a canonical form.
    pub tokenizer_sha256: String,
    /// Of the chat template, where it is used.
    pub chat_template_sha256: Option<String>,
    /// Of the prompt template.
    pub prompt_template_sha256: String,
    /// The files that training and validation rows come from, as they were named.
    pub data: Vec<FileHash>,
}

/// Weights in one or several files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// The folder or file; of several adapters that became one, the folder of the first.
    pub path: PathBuf,
    /// Of one file, its hash; of several, the hash of the lines that their hashes make.
    pub sha256: String,
    /// Its files, by name.
    pub files: Vec<FileHash>,
}

/// Something by its place, if it has one, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it lies or lay.
    pub path: Option<PathBuf>,
    /// SHA-256 in hexadecimal; none where it is not there.
    pub sha256: Option<String>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, &self.sha256) {
            (Some(path), Some(hash)) => write!(f, "`{}` of sha256 {hash}", path.display()),
            (Some(path), None) => write!(f, "`{}`", path.display()),
            (None, Some(hash)) => write!(f, "sha256 {hash}"),
            (None, None) => f.write_str("none"),
        }
    }
}

impl Hashed {
    fn of(hashes: &Hashes, path: &Path, files: &[PathBuf]) -> Result<Self, Error> {
        Ok(Self::over(path, hashes.of(files)?))
    }

    fn over(path: &Path, files: Vec<FileHash>) -> Self {
        let sha256 = match &files[..] {
            [only] => only.sha256.clone(),
            many => {
                let mut lines = String::new();
                for file in many {
                    lines.push_str(&file.sha256);
                    lines.push('\n');
                }
                sha256(lines.as_bytes())
            }
        };
        Self { path: path.to_owned(), sha256, files }
    }

    fn named(&self) -> Named {
        Named { path: Some(self.path.clone()), sha256: Some(self.sha256.clone()) }
    }
}

impl Provenance {
    /// What a run folder says.
    ///
    /// # Errors
    /// When its file is not there or is not what was written.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let path = run.join(PROVENANCE);
        let fail = |source| Error::Read { path: path.clone(), source };
        let text = fs::read(&path).map_err(fail)?;
        serde_json::from_slice(&text).map_err(|error| fail(error.into()))
    }

    /// Of a run that is about to begin or go on; `adapter` is the one that it goes on from.
    pub(crate) fn of(
        hashes: &Hashes,
        model: &Model,
        plan: &Plan,
        data: Vec<FileHash>,
        adapter: Option<&Trained>,
    ) -> Result<Self, Error> {
        let adapter = adapter.map(|Trained { folders, .. }| {
            let files: Vec<PathBuf> =
                folders.iter().map(|folder| fidelio_weights::peft::weights_file(folder)).collect();
            Hashed::of(hashes, &folders[0], &files)
        });
        Ok(Self {
            fidelio_version: plan.fidelio_version.to_owned(),
            base_weights: base_weights(hashes, model)?,
            adapter_weights: adapter.transpose()?,
            tokenizer_sha256: plan.model.tokenizer_sha256.clone(),
            chat_template_sha256: plan.prompt.fingerprint.chat_template.clone(),
            prompt_template_sha256: plan.prompt.fingerprint.source.clone(),
            data,
        })
    }

    /// Refuses to go on with a run that began with something else. Where things lie does not matter,
    /// only what they are.
    pub(crate) fn check_begun(&self, run: &Path, began: &Self) -> Result<(), Error> {
        let text = |sha256: &String| Named { path: None, sha256: Some(sha256.clone()) };
        let maybe = |sha256: &Option<String>| Named { path: None, sha256: sha256.clone() };
        let data = |files: &[FileHash], at: usize| Named {
            path: files.get(at).map(|file| file.path.clone()),
            sha256: files.get(at).map(|file| file.sha256.clone()),
        };
        let mut pairs = vec![
            ("other base weights", began.base_weights.named(), self.base_weights.named()),
            ("another tokenizer", text(&began.tokenizer_sha256), text(&self.tokenizer_sha256)),
            (
                "another chat template",
                maybe(&began.chat_template_sha256),
                maybe(&self.chat_template_sha256),
            ),
            (
                "another prompt template",
                text(&began.prompt_template_sha256),
                text(&self.prompt_template_sha256),
            ),
        ];
        for at in 0..began.data.len().max(self.data.len()) {
            pairs.push(("another data file", data(&began.data, at), data(&self.data, at)));
        }
        match pairs.into_iter().find(|(_, then, now)| then.sha256 != now.sha256) {
            Some((what, then, now)) => Err(Error::OtherThanBegun {
                path: run.to_owned(),
                what,
                then: Box::new(then),
                now: Box::new(now),
            }),
            None => Ok(()),
        }
    }
}

/// The hashes of a model's weight files.
pub(crate) fn base_weights(hashes: &Hashes, model: &Model) -> Result<Hashed, Error> {
    let checkpoint = model.checkpoint();
    Hashed::of(hashes, checkpoint.path(), checkpoint.weight_files())
}

/// Refuses to use what a run learnt on other base weights than it learnt on. Where the run file
/// allows it, says so instead. A run that learnt a whole model has no base any more.
pub(crate) fn check_base(
    machine: &Machine,
    run: &RunFile,
    model: &Model,
) -> Result<Option<String>, Error> {
    let Some(folder) = run.trained().filter(|_| run.config().adapter_in_use().is_some()) else {
        return Ok(None);
    };
    let then = Provenance::read(folder)?.base_weights;
    let now = base_weights(&machine.hashes(), model)?;
    if then.sha256 == now.sha256 {
        return Ok(None);
    }
    let (path, then, now) = (folder.to_owned(), Box::new(then.named()), Box::new(now.named()));
    if run.allows_other_weights() {
        return Ok(Some(format!(
            "what `{}` learnt on {then} is used on {now}, as allowed",
            path.display()
        )));
    }
    Err(Error::OtherWeights { path, then, now })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, sha256: &str) -> FileHash {
        FileHash { path: name.into(), bytes: 1, sha256: sha256.into() }
    }

    fn provenance() -> Provenance {
        Provenance {
            fidelio_version: "0.1.0".into(),
            base_weights: Hashed::over(Path::new("base"), vec![file("base/model", "aa")]),
            adapter_weights: None,
            tokenizer_sha256: "bb".into(),
            chat_template_sha256: Some("cc".into()),
            prompt_template_sha256: "dd".into(),
            data: vec![file("rows.csv", "ee")],
        }
    }

    type Change = fn(&mut Provenance);

    #[test]
    fn what_is_elsewhere_and_the_same_goes_on() {
        let mut moved = provenance();
        moved.base_weights = Hashed::over(Path::new("moved"), vec![file("moved/model", "aa")]);
        moved.data[0].path = "moved.csv".into();
        moved.check_begun(Path::new("run"), &provenance()).unwrap();
    }

    /// Everything that differs is refused with both places and both hashes.
    #[test]
    fn what_is_another_is_refused_by_name() {
        let changes: [(Change, &str); 6] = [
            (
                |it| it.base_weights = Hashed::over(Path::new("new"), vec![file("new/m", "ff")]),
                "other base weights: it began with `base` of sha256 aa, now it is `new` of sha256 ff",
            ),
            (
                |it| it.tokenizer_sha256 = "ff".into(),
                "another tokenizer: it began with sha256 bb, now it is sha256 ff",
            ),
            (
                |it| it.chat_template_sha256 = None,
                "another chat template: it began with sha256 cc, now it is none",
            ),
            (
                |it| it.prompt_template_sha256 = "ff".into(),
                "another prompt template: it began with sha256 dd, now it is sha256 ff",
            ),
            (
                |it| it.data[0] = file("new.csv", "ff"),
                "another data file: it began with `rows.csv` of sha256 ee, now it is `new.csv` of sha256 ff",
            ),
            (
                |it| it.data.push(file("more.csv", "ff")),
                "another data file: it began with none, now it is `more.csv` of sha256 ff",
            ),
        ];
        for (change, expected) in changes {
            let mut now = provenance();
            change(&mut now);
            let error = now.check_begun(Path::new("run"), &provenance()).unwrap_err();
            assert_eq!(error.to_string(), format!("`run` cannot go on with {expected}"));
            assert!(error.hint().unwrap().contains("put back"), "{error}");
        }
    }

    /// The expected value is that of `printf 'aa\nbb\n' | sha256sum`.
    #[test]
    fn several_files_have_the_hash_of_their_hashes() {
        let files = vec![file("model-1", "aa"), file("model-2", "bb")];
        let hashed = Hashed::over(Path::new("base"), files);
        assert_eq!(
            hashed.sha256,
            "329d670e59ead1543a2d36865895972560bc434204c5f4a0c8219005dd312719"
        );
    }
}
