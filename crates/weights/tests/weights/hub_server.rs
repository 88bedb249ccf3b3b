//! A hub on the loopback interface, with the faults that networks have.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use sha2::{Digest, Sha256};

/// A repository and how its server behaves.
#[derive(Default)]
pub(crate) struct Repo {
    pub(crate) files: HashMap<&'static str, Vec<u8>>,
    /// Close the connection after so many bytes of a body, once per entry.
    pub(crate) cuts: Vec<usize>,
    /// Answer every request with this status.
    pub(crate) status: Option<u16>,
    /// Answer requests for files with these statuses first.
    pub(crate) stumbles: Vec<u16>,
    /// Announce this sha256 for large files.
    pub(crate) wrong_hash: bool,
    /// Pretend not to know `Range`.
    pub(crate) no_ranges: bool,
    /// Announce this size for every file.
    pub(crate) size: Option<u64>,
    /// Refuse requests without this token.
    pub(crate) token: Option<&'static str>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    log: Arc<Mutex<Vec<String>>>,
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Server {
    pub(crate) fn start(repo: Repo) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (state, seen) = (Arc::new(Mutex::new(repo)), Arc::clone(&log));
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, seen) = (Arc::clone(&state), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &state, &seen));
            }
        });
        Self { endpoint, log }
    }

    /// Requests so far, each as its path and range.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

struct Request {
    path: String,
    range: Option<usize>,
    token: Option<String>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, range: None, token: None };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(request);
        }
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let start = value.strip_prefix("bytes=")?.strip_suffix('-')?;
                request.range = start.parse().ok();
            }
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
}

fn serve(stream: TcpStream, repo: &Mutex<Repo>, log: &Mutex<Vec<String>>) {
    let mut out = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let range = request.range.map(|from| format!(" from {from}")).unwrap_or_default();
        log.lock().unwrap().push(format!("{}{range}", request.path));
        let mut repo = repo.lock().unwrap();
        if repo.token.is_some_and(|token| request.token.as_deref() != Some(token)) {
            respond(&mut out, 401, "", b"");
        } else if let Some(status) = repo.status {
            respond(&mut out, status, "", b"");
        } else if request.path.starts_with("/api/models/org/name/revision/") {
            respond(&mut out, 200, "", listing(&repo).as_bytes());
        } else if let Some(name) =
            request.path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/"))
            && repo.files.contains_key(name)
        {
            if send_file(&mut out, &mut repo, name, request.range).is_err() {
                return; // the connection was cut on purpose
            }
        } else {
            respond(&mut out, 404, "", b"");
        }
    }
}

fn listing(repo: &Repo) -> String {
    let files: Vec<_> = repo
        .files
        .iter()
        .map(|(name, bytes)| {
            let size = repo.size.unwrap_or(bytes.len() as u64);
            let hash = hex(&Sha256::digest(bytes));
            let hash = if repo.wrong_hash { "0".repeat(64) } else { hash };
            if is(name, "json") {
                serde_json::json!({ "rfilename": name, "size": size, "blobId": &hash[..40] })
            } else {
                let lfs = serde_json::json!({ "sha256": hash, "size": size });
                serde_json::json!({ "rfilename": name, "size": size, "blobId": "ab", "lfs": lfs })
            }
        })
        .collect();
    serde_json::json!({ "sha": COMMIT, "siblings": files }).to_string()
}

fn send_file(
    out: &mut TcpStream,
    repo: &mut Repo,
    name: &str,
    range: Option<usize>,
) -> Result<(), ()> {
    if let Some(status) = repo.stumbles.pop() {
        respond(out, status, "", b"");
        return Ok(());
    }
    let bytes = repo.files[name].clone();
    let from = range.filter(|_| !repo.no_ranges);
    let body = &bytes[from.unwrap_or(0).min(bytes.len())..];
    let headers = from.map(|from| {
        format!("content-range: bytes {from}-{}/{}\r\n", bytes.len().max(1) - 1, bytes.len())
    });
    let status = if from.is_some() { 206 } else { 200 };
    let cut = is(name, "safetensors").then(|| repo.cuts.pop()).flatten();
    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
    let headers = headers.unwrap_or_default();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    out.write_all(head.as_bytes()).and_then(|()| out.write_all(sent)).map_err(|_| ())?;
    if cut.is_none() {
        Ok(())
    } else {
        let _ = out.shutdown(std::net::Shutdown::Both); // the client may be gone already
        Err(())
    }
}

fn is(name: &str, extension: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e == extension)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(b"0123456789abcdef"[n as usize]))
        .collect()
}

fn respond(out: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    // A client that has gone away is its own test's business.
    let _ = out.write_all(head.as_bytes()).and_then(|()| out.write_all(body));
}
