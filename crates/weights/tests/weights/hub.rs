//! Finding and downloading models.

use std::{collections::HashMap, fs, path::Path, sync::Mutex, time::Duration};

use fidelio_backend::Weights;
use fidelio_weights::{
    Checkpoint, HubFault, Origin, Progress, Resolved, Silent, Source, SourceOptions, WeightsError,
};

use crate::{
    checkpoints::tiny_llama,
    hub_server::{COMMIT, Repo, Server},
};

fn options(cache: &Path, endpoint: &str) -> SourceOptions {
    SourceOptions {
        cache_dir: cache.to_owned(),
        hub_cache: cache.join("hub"),
        endpoint: endpoint.to_owned(),
        token: None,
        offline: false,
        retries: 2,
        pause: Duration::ZERO,
    }
}

/// A repository with one tensor of 64 bytes.
fn files() -> HashMap<&'static str, Vec<u8>> {
    let header = br#"{"w":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header);
    weights.extend(0..64);
    HashMap::from([
        ("config.json", br#"{"model_type":"llama"}"#.to_vec()),
        ("model.safetensors", weights),
        ("pytorch_model.bin", b"never fetched".to_vec()),
        ("README.md", b"never fetched".to_vec()),
        ("../escape.json", b"never fetched".to_vec()),
    ])
}

struct Outcome {
    result: Result<Resolved, WeightsError>,
    server: Server,
    cache: tempfile::TempDir,
}

fn resolve(name: &str, repo: Repo) -> Outcome {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repo);
    let result = Source::resolve(name, &options(cache.path(), &server.endpoint), &Silent);
    Outcome { result, server, cache }
}

fn hub_fault(result: Result<Resolved, WeightsError>) -> (HubFault, String) {
    let error = result.unwrap_err();
    let hint = error.hint().unwrap_or_default().into_owned();
    match error {
        WeightsError::Hub { fault, .. } => (fault, hint),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_is_downloaded_once_and_opened() {
    let Outcome { result, server, cache } =
        resolve("org/name", Repo { files: files(), ..Repo::default() });
    let resolved = result.unwrap();
    let checkpoint = Checkpoint::open(&resolved.path).unwrap();
    assert_eq!(checkpoint.weights().get("w").unwrap().bytes[..4], [0, 1, 2, 3]);
    assert_eq!(
        resolved.origin,
        Origin::Hub { id: "org/name".into(), revision: "main".into(), commit: COMMIT.into() }
    );
    let first = server.requests().len();
    assert_eq!(first, 3, "{:?}", server.requests()); // the list, the settings, the weights
    let again = Source::resolve("org/name", &options(cache.path(), &server.endpoint), &Silent);
    assert_eq!(again.unwrap(), resolved);
    assert_eq!(server.requests().len(), first + 1); // only the list
    assert!(!cache.path().join("hub/escape.json").exists());
}

/// Python's `huggingface_hub` finds what we downloaded: its layout.
#[test]
fn the_cache_has_the_usual_layout() {
    let outcome = resolve("org/name@v1", Repo { files: files(), ..Repo::default() });
    outcome.result.unwrap();
    let repo = outcome.cache.path().join("hub/models--org--name");
    assert_eq!(fs::read_to_string(repo.join("refs/v1")).unwrap(), COMMIT);
    let file = repo.join("snapshots").join(COMMIT).join("model.safetensors");
    assert!(file.is_symlink());
    assert!(
        fs::canonicalize(file).unwrap().starts_with(fs::canonicalize(repo.join("blobs")).unwrap())
    );
    let leftovers = fs::read_dir(repo.join("blobs")).unwrap().count();
    assert_eq!(leftovers, 2, "only blobs are left");
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let repo = Repo { files: files(), cuts: vec![30, 50], ..Repo::default() };
    let Outcome { result, server, cache: _cache } = resolve("org/name", repo);
    Checkpoint::open(&result.unwrap().path).unwrap();
    let ranges: Vec<String> =
        server.requests().into_iter().filter(|r| r.contains(" from ")).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[0].ends_with(" from 50") && ranges[1].ends_with(" from 80"), "{ranges:?}");
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_gave_up() {
    let repo = Repo { files: files(), cuts: vec![10, 10, 10], ..Repo::default() };
    let Outcome { result, server, cache } = resolve("org/name", repo);
    let (fault, hint) = hub_fault(result);
    assert!(matches!(fault, HubFault::Truncated { got: 30, .. }), "{fault:?}");
    assert!(hint.contains("run it again"));
    let options = options(cache.path(), &server.endpoint);
    Source::resolve("org/name", &options, &Silent).unwrap();
    assert!(server.requests().iter().any(|request| request.ends_with(" from 30")));
}

#[test]
fn a_server_without_ranges_starts_anew() {
    let repo = Repo { files: files(), cuts: vec![30], no_ranges: true, ..Repo::default() };
    let outcome = resolve("org/name", repo);
    let path = outcome.result.unwrap().path;
    assert_eq!(Checkpoint::open(&path).unwrap().weights().names(), ["w"]);
}

#[test]
fn passing_faults_are_tried_again_and_lasting_ones_are_not() {
    let repo = Repo { files: files(), stumbles: vec![503, 429], ..Repo::default() };
    resolve("org/name", repo).result.unwrap();
    let repo = Repo { files: files(), stumbles: vec![403; 5], ..Repo::default() };
    let Outcome { result, server, .. } = resolve("org/name", repo);
    assert!(matches!(hub_fault(result).0, HubFault::Forbidden));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn each_refusal_says_what_to_do() {
    for (status, word) in [(401, "HF_TOKEN"), (403, "conditions"), (404, "spelling")] {
        let repo = Repo { status: Some(status), ..Repo::default() };
        let (fault, hint) = hub_fault(resolve("org/name", repo).result);
        assert!(fault.to_string().contains(&status.to_string()), "{fault}");
        assert!(hint.contains(word), "{hint}");
    }
}

#[test]
fn wrong_contents_are_thrown_away() {
    let repo = Repo { files: files(), wrong_hash: true, ..Repo::default() };
    let outcome = resolve("org/name", repo);
    assert!(matches!(hub_fault(outcome.result).0, HubFault::Checksum { .. }));
    let blobs = outcome.cache.path().join("hub/models--org--name/blobs");
    let left: Vec<_> = fs::read_dir(blobs).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("incomplete")), "{left:?}");
}

#[test]
fn a_size_that_is_not_met_is_an_error() {
    for size in [1, 100_000] {
        let repo = Repo { files: files(), size: Some(size), ..Repo::default() };
        let (fault, _) = hub_fault(resolve("org/name", repo).result);
        let fits = matches!(fault, HubFault::Truncated { .. } | HubFault::Answer { .. });
        assert!(fits, "{fault:?}");
    }
}

#[test]
fn the_token_is_sent() {
    let repo = || Repo { files: files(), token: Some("secret"), ..Repo::default() };
    let outcome = resolve("org/name", repo());
    assert!(matches!(hub_fault(outcome.result).0, HubFault::Unauthorized));
    let options = SourceOptions {
        token: Some("secret".into()),
        ..options(outcome.cache.path(), &outcome.server.endpoint)
    };
    Source::resolve("org/name", &options, &Silent).unwrap();
}

#[test]
fn offline_uses_the_cache_and_nothing_else() {
    let outcome = resolve("org/name", Repo { files: files(), ..Repo::default() });
    let online = outcome.result.unwrap();
    let offline =
        SourceOptions { offline: true, ..options(outcome.cache.path(), &outcome.server.endpoint) };
    let before = outcome.server.requests().len();
    assert_eq!(Source::resolve("org/name", &offline, &Silent).unwrap(), online);
    let by_commit = Source::resolve(&format!("org/name@{COMMIT}"), &offline, &Silent).unwrap();
    assert_eq!(by_commit.path, online.path);
    let (fault, hint) = hub_fault(Source::resolve("org/other", &offline, &Silent));
    assert!(matches!(fault, HubFault::Offline { .. }));
    assert!(hint.contains("HF_HUB_OFFLINE"));
    fs::remove_file(online.path.join("model.safetensors")).unwrap();
    assert!(Source::resolve("org/name", &offline, &Silent).is_err());
    assert_eq!(outcome.server.requests().len(), before);
}

#[test]
fn nobody_at_the_endpoint_is_said_so() {
    let cache = tempfile::tempdir().unwrap();
    // Port 9 of the loopback interface: nothing listens there.
    let options = options(cache.path(), "http://127.0.0.1:9");
    let (fault, hint) = hub_fault(Source::resolve("org/name", &options, &Silent));
    assert!(matches!(fault, HubFault::Unreachable { .. }));
    assert!(hint.contains("HF_ENDPOINT"));
}

#[test]
fn gguf_files_are_found_or_must_be_named() {
    let gguf = || tiny_llama().to_bytes().unwrap();
    let one = Repo { files: HashMap::from([("a.gguf", gguf())]), ..Repo::default() };
    let outcome = resolve("org/name", one);
    let path = outcome.result.unwrap().path;
    assert_eq!(Checkpoint::open(&path).unwrap().config()["hidden_size"], 8);
    let two = || Repo {
        files: HashMap::from([("a.gguf", gguf()), ("b.gguf", gguf())]),
        ..Repo::default()
    };
    let error = resolve("org/name", two()).result.unwrap_err();
    assert!(error.to_string().contains("org/name:a.gguf"), "{error}");
    let outcome = resolve("org/name:b.gguf", two());
    assert!(outcome.result.unwrap().path.ends_with("b.gguf"));
    assert_eq!(outcome.server.requests().len(), 2);
}

#[test]
fn repositories_without_usable_weights_are_refused_before_the_download() {
    for (file, is_pickle) in [("pytorch_model.bin", true), ("model.onnx", false)] {
        let files = HashMap::from([("config.json", b"{}".to_vec()), (file, b"x".to_vec())]);
        let Outcome { result, server, .. } = resolve("org/name", Repo { files, ..Repo::default() });
        assert_eq!(matches!(hub_fault(result).0, HubFault::OnlyPickles), is_pickle);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn an_adapter_is_downloaded_and_found_again_without_the_hub() {
    let files = HashMap::from([
        ("adapter_config.json", b"{}".to_vec()),
        ("adapter_model.safetensors", b"x".to_vec()),
        ("model.safetensors", b"never fetched".to_vec()),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(Repo { files, ..Repo::default() });
    let mut options = options(cache.path(), &server.endpoint);
    let online = Source::resolve_adapter("org/name", &options, &Silent).unwrap();
    let names = ["adapter_config.json", "adapter_model.safetensors", "model.safetensors"];
    assert_eq!(names.map(|name| online.path.join(name).exists()), [true, true, false]);
    options.offline = true;
    assert_eq!(Source::resolve_adapter("org/name", &options, &Silent).unwrap(), online);
    let (fault, _) = hub_fault(Source::resolve_adapter("org/other", &options, &Silent));
    assert!(matches!(fault, HubFault::Offline { .. }), "{fault}");
}

#[test]
fn repositories_without_a_usable_adapter_are_refused_before_the_download() {
    for (file, is_pickle) in [("adapter_model.bin", true), ("model.safetensors", false)] {
        let files = HashMap::from([("adapter_config.json", b"{}".to_vec()), (file, b"x".to_vec())]);
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(Repo { files, ..Repo::default() });
        let options = options(cache.path(), &server.endpoint);
        let (fault, hint) = hub_fault(Source::resolve_adapter("org/name", &options, &Silent));
        let is_named = matches!(&fault, HubFault::NoAdapter { found } if found.len() == 2);
        assert_eq!([matches!(fault, HubFault::OnlyPickles), is_named], [is_pickle, !is_pickle]);
        assert!(hint.contains("safetensors"), "{hint}");
        assert_eq!(server.requests().len(), 1);
    }
    let options = options(Path::new("cache"), "http://127.0.0.1:1");
    let error = Source::resolve_adapter("./nowhere", &options, &Silent).unwrap_err();
    assert!(matches!(error, WeightsError::NotFound { .. }), "{error}");
}

#[derive(Default)]
struct Count(Mutex<(u64, u64)>);

impl Progress for Count {
    fn begin(&self, _file: &str, have: u64, total: u64) {
        self.0.lock().unwrap().1 += total - have;
    }
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().0 += bytes;
    }
    fn end(&self) {}
}

#[test]
fn progress_adds_up() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(Repo { files: files(), ..Repo::default() });
    let count = Count::default();
    Source::resolve("org/name", &options(cache.path(), &server.endpoint), &count).unwrap();
    let (arrived, announced) = *count.0.lock().unwrap();
    assert_eq!(arrived, announced);
    assert!(arrived > 64);
}

#[test]
fn local_paths_and_strangers() {
    let cache = tempfile::tempdir().unwrap();
    let options = options(cache.path(), "http://127.0.0.1:9");
    let resolve = |name: &str| Source::resolve(name, &options, &Silent);
    let here = cache.path().to_str().unwrap();
    assert_eq!(resolve(here).unwrap().origin, Origin::Local);
    assert!(matches!(resolve("./absent"), Err(WeightsError::NotFound { .. })));
    assert!(matches!(resolve("absent.gguf"), Err(WeightsError::NotFound { .. })));
    let error = resolve("smollm2-135").unwrap_err();
    assert!(error.hint().unwrap().contains("`smollm2-135m`"), "{error}");
    let error = resolve("smollm2-135m").unwrap_err();
    assert!(error.hint().unwrap().contains("cargo xtask fetch"), "{error}");
    let model = cache.path().join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    fs::create_dir_all(model.parent().unwrap()).unwrap();
    fs::write(&model, "x").unwrap();
    assert_eq!(resolve("smollm2-135m").unwrap(), Resolved { path: model, origin: Origin::Cache });
}

#[test]
fn the_usual_variables_are_read() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "from-login\n").unwrap();
    let hf_home = home.path().to_str().unwrap().to_owned();
    let read = |set: &[(&str, &str)]| {
        SourceOptions::from_env("/cache".into(), |name| {
            set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let plain = read(&[("HOME", "/home/me")]);
    assert_eq!(plain.endpoint, "https://huggingface.co");
    assert_eq!(plain.hub_cache, Path::new("/home/me/.cache/huggingface/hub"));
    assert!(!plain.offline && plain.token.is_none());
    let set =
        read(&[("HF_HOME", &hf_home), ("HF_ENDPOINT", "http://mirror/"), ("HF_HUB_OFFLINE", "1")]);
    assert_eq!((set.endpoint.as_str(), set.offline), ("http://mirror", true));
    assert_eq!(set.token.as_deref(), Some("from-login"));
    let set = read(&[("HUGGING_FACE_HUB_TOKEN", "t"), ("HUGGINGFACE_HUB_CACHE", "/h")]);
    assert_eq!((set.token.as_deref(), set.hub_cache.as_path()), (Some("t"), Path::new("/h")));
}
