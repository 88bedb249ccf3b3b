//! A client that sends exactly what it is told, bytes and all.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Nothing takes so long, unless it hangs.
const HANGS: Duration = Duration::from_mins(1);

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, self.body)
    }
}

impl Reply {
    /// The body, where the status is this one.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The message, code and field of an error in OpenAI's shape.
    pub(crate) fn error(&self, status: u16) -> (String, String, Option<String>) {
        let error = self.json(status)["error"].clone();
        let text = |key: &str| error[key].as_str().map(str::to_owned);
        assert!(text("type").is_some(), "{self}");
        (text("message").unwrap(), text("code").unwrap(), text("param"))
    }

    /// The data of its events.
    pub(crate) fn events(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{self}");
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let data = self.body.split("\n\n").filter(|event| !event.is_empty());
        data.map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    /// The JSON of its events, which end with `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{self}");
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

/// A connection.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANGS)).unwrap();
    stream.set_write_timeout(Some(HANGS)).unwrap();
    stream
}

/// Sends a head and a body, and reads the answer.
pub(crate) fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Reply {
    let mut stream = connect(address);
    stream.write_all(head.as_bytes()).unwrap();
    // A server may answer before it has read all of a body that it refuses.
    drop(stream.write_all(body));
    read(stream)
}

/// Reads an answer to the end of its connection.
pub(crate) fn read(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // A connection that is reset ends what came before.
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|it| it == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Reply { status, headers, body }
}

fn unchunked(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(rest.get(..size).unwrap_or(rest));
        text = rest.get(size + 2..).unwrap_or_default();
    }
    body
}
