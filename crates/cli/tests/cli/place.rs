//! A folder of its own for each test, which is home, current folder and cache at once.

use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What the binary answered.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run file that is right, for the columns `question` and `answer`.
pub(crate) const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
input_features: [{name: question, type: text}]
output_features: [{name: answer, type: text}]
generation: {max_new_tokens: 16}
trainer: {type: none}
";

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Adds a file.
    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The binary, with nothing of the tester's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fidelio"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.said(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_with_stdin(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut child = self.spawn(arguments, Stdio::piped());
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        self.said(child.wait_with_output().unwrap())
    }

    /// Starts it with piped output.
    pub(crate) fn spawn(&self, arguments: &[&str], stdin: Stdio) -> Child {
        self.command(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// An answer, with this folder's path as `~`.
    pub(crate) fn said(&self, output: Output) -> Said {
        let here = self.folder.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(here, "~");
        Said {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Said {
    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Demands an exit code, and shows everything where it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        write!(f, "exit: {code}\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// The folder of the cache that holds the default model, or a word on why a test is skipped.
pub(crate) fn cache_with_model() -> Option<String> {
    cache_of("models/SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// The folder of the cache that holds a file, or a word on why a test is skipped.
pub(crate) fn cache_of(file: &str) -> Option<String> {
    if cfg!(not(any(feature = "flex", feature = "ndarray"))) {
        eprintln!("skipped: this build has no engine");
        return None;
    }
    let own = std::env::var_os("FIDELIO_CACHE_DIR").map(PathBuf::from);
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = own.or_else(|| Some(base.or(home)?.join("fidelio")))?;
    let model = cache.join(file);
    if model.is_file() {
        return cache.to_str().map(str::to_owned);
    }
    eprintln!("skipped: `{}` is not there; `cargo xtask fetch` brings it", model.display());
    None
}
