//! The hub: which files of a repository are needed, and where they are kept.
//!
//! The cache has the layout of Python's `huggingface_hub` (`models--org--name/` with `blobs`,
//! `refs` and `snapshots`), so both see each other's downloads. `hf-hub` is not used: it starts
//! every broken download from its beginning, and brings an asynchronous runtime for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use ureq::{Agent, config::RedirectAuthHeaders};

use super::{
    Origin, Progress, Resolved, SourceOptions, download,
    hub_id::{HubId, is_safe_path},
};
use crate::{HubFault, WeightsError, atomic, peft};

/// One hub, as the options describe it.
pub(super) struct Hub<'a> {
    pub(super) options: &'a SourceOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) agent: Agent,
}

/// What the hub says about a repository at a revision.
#[derive(Debug, Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RemoteFile {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    pub(super) size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Clone, Deserialize)]
struct Lfs {
    sha256: String,
}

/// More bytes than any repository's list of files has.
const MOST_LISTING: u64 = 64 << 20;

/// The files that a model may have besides its weights.
const SMALL_FILES: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    // What an embedder says about pooling and length.
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// What a repository is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A model.
    Model,
    /// An adapter in PEFT's format.
    Adapter,
}

impl<'a> Hub<'a> {
    pub(super) fn new(options: &'a SourceOptions, progress: &'a dyn Progress) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost) // a mirror never sees the token
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .timeout_per_read(Some(Duration::from_mins(1)))
            .user_agent(concat!("fidelio/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { options, progress, agent: config.into() }
    }

    /// The folder or file in the cache, downloaded if needed.
    pub(super) fn fetch(&self, id: &HubId, what: Wanted) -> Result<Resolved, WeightsError> {
        let repo = self.options.hub_cache.join(format!("models--{}", id.repo.replace('/', "--")));
        if self.options.offline {
            return self.cached(id, &repo, what);
        }
        let listing = self.list(id)?;
        let snapshot = repo.join("snapshots").join(&listing.sha);
        let files = match what {
            Wanted::Model => files_of_model(id, &listing.siblings),
            Wanted::Adapter => files_of_adapter(&listing.siblings),
        };
        for file in &files.map_err(|e| self.explain(id, e))? {
            self.fetch_file(id, &repo, &listing.sha, file)?;
        }
        write_ref(&repo, &id.revision, &listing.sha)?;
        resolved(id, &snapshot, listing.sha, what)
    }

    fn list(&self, id: &HubId) -> Result<Listing, WeightsError> {
        let HubId { repo, revision, .. } = id;
        let endpoint = &self.options.endpoint;
        // A slash in a branch name is part of the name.
        let revision = revision.replace('/', "%2F");
        let url = format!("{endpoint}/api/models/{repo}/revision/{revision}?blobs=true");
        let fail = |fault| self.fault(&id.text(), fault);
        let mut response = self.get(&url, None).map_err(fail)?;
        let body = response.body_mut().with_config().limit(MOST_LISTING).reader();
        let listing: Listing = serde_json::from_reader(body)
            .map_err(|e| fail(HubFault::Answer { problem: e.to_string() }))?;
        let is_commit =
            !listing.sha.is_empty() && listing.sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            let problem = format!("`{}` is no commit", listing.sha);
            return Err(fail(HubFault::Answer { problem }));
        }
        Ok(listing)
    }

    /// One file into the snapshot of its commit.
    fn fetch_file(
        &self,
        id: &HubId,
        repo: &Path,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<(), WeightsError> {
        let place = repo.join("snapshots").join(commit).join(&file.name);
        if place.exists() {
            return Ok(());
        }
        let what = format!("{}/{}", id.repo, file.name);
        let fail = |fault| self.fault(&what, fault);
        let blob_name = file.blob_name().map_err(fail)?;
        let blob = repo.join("blobs").join(&blob_name);
        let write = |source| WeightsError::Write { path: blob.clone(), source };
        fs::create_dir_all(atomic::parent(&blob)).map_err(write)?;
        let _lock = self.lock(repo, &blob_name)?;
        if !blob.exists() {
            let name = file.name.replace(' ', "%20");
            let url = format!("{}/{}/resolve/{commit}/{name}", self.options.endpoint, id.repo);
            let sha256 = file.lfs.as_ref().map(|lfs| lfs.sha256.as_str());
            download::to_file(self, &url, &file.name, file.size, sha256, &blob)
                .map_err(|e| e.named(|fault| self.fault(&what, fault), &blob))?;
        }
        link(&blob, &place, &file.name)
            .map_err(|source| WeightsError::Write { path: place.clone(), source })?;
        Ok(())
    }

    /// One process downloads a blob, the others wait and then find it. The lock's file stays: who
    /// removes it lets two processes hold two locks of the same name.
    fn lock(&self, repo: &Path, blob: &str) -> Result<fs::File, WeightsError> {
        let folder =
            self.options.hub_cache.join(".locks").join(repo.file_name().unwrap_or_default());
        let path = folder.join(format!("{blob}.lock"));
        let fail = |source| WeightsError::Write { path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(fail)?;
        let file = fs::File::create(&path).map_err(fail)?;
        file.lock().map_err(fail)?;
        Ok(file)
    }

    /// What the cache holds, without asking the hub.
    fn cached(&self, id: &HubId, repo: &Path, what: Wanted) -> Result<Resolved, WeightsError> {
        let absent =
            || self.fault(&id.text(), HubFault::Offline { cache: self.options.hub_cache.clone() });
        let commit = match fs::read_to_string(repo.join("refs").join(&id.revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => id.revision.clone(), // perhaps a commit itself
        };
        let snapshot = repo.join("snapshots").join(&commit);
        if !is_safe_path(&commit) || !snapshot.is_dir() {
            return Err(absent());
        }
        let complete = match (&id.file, what) {
            (Some(file), _) => snapshot.join(file).exists(),
            (None, Wanted::Model) => is_complete(&snapshot),
            (None, Wanted::Adapter) => peft::FILES.iter().all(|file| snapshot.join(file).exists()),
        };
        if complete { resolved(id, &snapshot, commit, what) } else { Err(absent()) }
    }

    /// A request with the token, if there is one.
    pub(super) fn get(
        &self,
        url: &str,
        from: Option<u64>,
    ) -> Result<ureq::http::Response<ureq::Body>, HubFault> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.options.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|e| HubFault::Unreachable { source: Box::new(e) })?;
        match response.status().as_u16() {
            200 | 206 | 416 => Ok(response),
            401 => Err(HubFault::Unauthorized),
            403 => Err(HubFault::Forbidden),
            404 => Err(HubFault::NotFound),
            status => Err(HubFault::Status { status }),
        }
    }

    fn fault(&self, what: &str, fault: HubFault) -> WeightsError {
        WeightsError::Hub { what: what.to_owned(), endpoint: self.options.endpoint.clone(), fault }
    }

    fn explain(&self, id: &HubId, trouble: Trouble) -> WeightsError {
        match trouble {
            Trouble::Fault(fault) => self.fault(&id.text(), fault),
            Trouble::Several(files) => WeightsError::Ambiguous {
                path: id.text(),
                choices: files.into_iter().map(|f| format!("{}:{f}", id.text())).collect(),
            },
        }
    }
}

impl RemoteFile {
    /// The name of its blob in the cache: its sha256 for large files, git's own hash for others.
    fn blob_name(&self) -> Result<String, HubFault> {
        let hash = self.lfs.as_ref().map(|lfs| &lfs.sha256).or(self.blob_id.as_ref());
        match hash {
            Some(hash) if !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(hash.clone())
            }
            _ => Err(HubFault::Answer { problem: format!("`{}` has no hash", self.name) }),
        }
    }
}

enum Trouble {
    Fault(HubFault),
    Several(Vec<String>),
}

/// The files of a repository that make an adapter.
fn files_of_adapter(files: &[RemoteFile]) -> Result<Vec<RemoteFile>, Trouble> {
    let find = |name: &str| files.iter().find(|file| file.name == name).cloned();
    let found: Vec<RemoteFile> = peft::FILES.into_iter().filter_map(find).collect();
    if found.len() == peft::FILES.len() {
        return Ok(found);
    }
    if find(peft::PICKLE).is_some() && find(peft::CONFIG).is_some() {
        return Err(Trouble::Fault(HubFault::OnlyPickles));
    }
    let found = files.iter().map(|file| file.name.clone()).collect();
    Err(Trouble::Fault(HubFault::NoAdapter { found }))
}

/// The files of a repository that make a checkpoint.
fn files_of_model(id: &HubId, files: &[RemoteFile]) -> Result<Vec<RemoteFile>, Trouble> {
    let all = || files.iter().filter(|file| is_safe_path(&file.name));
    if let Some(name) = &id.file {
        let file = all().find(|file| &file.name == name);
        return file.map(|f| vec![f.clone()]).ok_or(Trouble::Fault(HubFault::NotFound));
    }
    let top = |ending: &str| -> Vec<&RemoteFile> {
        all().filter(|f| f.name.ends_with(ending) && !f.name.contains('/')).collect()
    };
    let has = |name: &str| all().any(|file| file.name == name);
    let is_weight = |name: &str| {
        if has("model.safetensors") {
            name == "model.safetensors"
        } else {
            // Shards of `model`; adapters and consolidated copies beside them are not wanted.
            name == "model.safetensors.index.json"
                || (name.starts_with("model-") && name.ends_with(".safetensors"))
        }
    };
    if has("model.safetensors") || has("model.safetensors.index.json") {
        let is_small = |name: &str| {
            SMALL_FILES.contains(&name) || name.starts_with("additional_chat_templates/")
        };
        return Ok(all().filter(|f| is_small(&f.name) || is_weight(&f.name)).cloned().collect());
    }
    match top(".gguf")[..] {
        [only] => return Ok(vec![only.clone()]),
        [] => {}
        ref many => return Err(Trouble::Several(many.iter().map(|f| f.name.clone()).collect())),
    }
    let is_pickle = |f: &RemoteFile| crate::folder::is_pickle(Path::new(&f.name));
    if all().any(is_pickle) {
        return Err(Trouble::Fault(HubFault::OnlyPickles));
    }
    let found = files.iter().map(|file| file.name.clone()).collect();
    Err(Trouble::Fault(HubFault::NoWeights { found }))
}

/// The file asked for, the only GGUF file, or the folder.
fn resolved(
    id: &HubId,
    snapshot: &Path,
    commit: String,
    what: Wanted,
) -> Result<Resolved, WeightsError> {
    let path = match (&id.file, what) {
        (Some(file), _) => snapshot.join(file),
        (None, Wanted::Adapter) => snapshot.to_owned(),
        (None, Wanted::Model) => match crate::folder::find_weights(snapshot)? {
            crate::folder::WeightFiles::Gguf(file) => file,
            _ => snapshot.to_owned(),
        },
    };
    let origin = Origin::Hub { id: id.repo.clone(), revision: id.revision.clone(), commit };
    Ok(Resolved { path, origin })
}

/// Whether a snapshot holds settings and every file of its weights.
fn is_complete(snapshot: &Path) -> bool {
    use crate::folder::WeightFiles;
    match crate::folder::find_weights(snapshot) {
        Ok(WeightFiles::Gguf(_)) => true,
        Ok(WeightFiles::Safetensors(_)) => snapshot.join("config.json").exists(),
        Ok(WeightFiles::Sharded(index)) => {
            let index = crate::json::read_optional(&index).ok().flatten().unwrap_or_default();
            let map = index["weight_map"].as_object();
            snapshot.join("config.json").exists()
                && map.is_some_and(|map| {
                    map.values().all(|f| f.as_str().is_some_and(|f| snapshot.join(f).exists()))
                })
        }
        Err(_) => false,
    }
}

fn write_ref(repo: &Path, revision: &str, commit: &str) -> Result<(), WeightsError> {
    if revision == commit {
        return Ok(());
    }
    atomic::write_bytes(&repo.join("refs").join(revision), commit.as_bytes())
}

/// A snapshot's file is a relative link to its blob.
#[cfg(unix)]
fn link(blob: &Path, place: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(atomic::parent(place))?;
    let up: PathBuf = (0..name.matches('/').count() + 2).map(|_| "..").collect();
    let target = up.join("blobs").join(blob.file_name().unwrap_or_default());
    match std::os::unix::fs::symlink(target, place) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn link(blob: &Path, place: &Path, _name: &str) -> io::Result<()> {
    fs::create_dir_all(atomic::parent(place))?;
    fs::hard_link(blob, place).or_else(|_| fs::copy(blob, place).map(|_| ()))
}
