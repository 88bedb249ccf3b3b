//! One file from the hub: resumed where it broke, checked, and only then given its name.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    thread,
};

use sha2::{Digest, Sha256};

use super::hub::Hub;
use crate::{HubFault, WeightsError, atomic, tokenizer::hex};

/// Bytes read at a time.
const CHUNK: usize = 1 << 17;

/// What stops a download.
#[derive(Debug)]
pub(super) enum Stop {
    Hub(HubFault),
    Disk(io::Error),
}

impl Stop {
    pub(super) fn named(
        self,
        hub: impl FnOnce(HubFault) -> WeightsError,
        path: &Path,
    ) -> WeightsError {
        match self {
            Self::Hub(fault) => hub(fault),
            Self::Disk(source) => WeightsError::Write { path: path.to_owned(), source },
        }
    }

    /// Whether another try may go better.
    fn is_passing(&self) -> bool {
        match self {
            Self::Hub(fault) => match fault {
                HubFault::Unreachable { .. } | HubFault::Truncated { .. } => true,
                HubFault::Status { status } => *status == 429 || *status >= 500,
                _ => false,
            },
            Self::Disk(_) => false,
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Downloads into `blob.incomplete`, which a later try continues, and renames it when its size
/// and sha256 are right.
pub(super) fn to_file(
    hub: &Hub<'_>,
    url: &str,
    name: &str,
    size: Option<u64>,
    sha256: Option<&str>,
    blob: &Path,
) -> Result<(), Stop> {
    let incomplete = blob.with_extension("incomplete");
    let mut pause = hub.options.pause;
    let mut tries = 0;
    loop {
        hub.progress.begin(name, len(&incomplete), size.unwrap_or(0));
        let outcome = attempt(hub, url, size, &incomplete);
        hub.progress.end();
        match outcome {
            Ok(()) => break,
            Err(stop) if stop.is_passing() && tries < hub.options.retries => {
                tries += 1;
                thread::sleep(pause);
                pause *= 2;
            }
            Err(stop) => return Err(stop),
        }
    }
    if let Some(expected) = sha256 {
        let found = hash(&incomplete)?;
        if !found.eq_ignore_ascii_case(expected) {
            std::fs::remove_file(&incomplete)?;
            return Err(Stop::Hub(HubFault::Checksum { expected: expected.to_owned(), found }));
        }
    }
    File::open(&incomplete)?.sync_all()?;
    std::fs::rename(&incomplete, blob)?;
    atomic::sync_folder(atomic::parent(blob))?;
    Ok(())
}

/// One request, from where the file ends.
fn attempt(hub: &Hub<'_>, url: &str, size: Option<u64>, to: &Path) -> Result<(), Stop> {
    let have = len(to);
    if size.is_some_and(|size| size == have && size > 0) {
        return Ok(());
    }
    // More than the whole is no beginning of it.
    let from = if size.is_some_and(|size| have > size) { 0 } else { have };
    let response = hub.get(url, (from > 0).then_some(from)).map_err(Stop::Hub)?;
    let continues = response.status().as_u16() == 206 && begins_at(&response, from);
    let mut file = if from > 0 && continues {
        OpenOptions::new().append(true).open(to)?
    } else if response.status().as_u16() == 416 {
        File::create(to)?; // what we had is no part of it: begin anew next time
        return Err(Stop::Hub(HubFault::Truncated { expected: size.unwrap_or(0), got: 0 }));
    } else {
        File::create(to)?
    };
    let mut got = if continues { from } else { 0 };
    let announced = response.body().content_length().map(|rest| got + rest);
    let expected = size.or(announced);
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut chunk = vec![0; CHUNK];
    let broke = loop {
        match body.read(&mut chunk) {
            Ok(0) => break None,
            Ok(n) => {
                got += n as u64;
                if expected.is_some_and(|expected| got > expected) {
                    File::create(to)?;
                    let problem = format!("more than {} bytes came", expected.unwrap_or(0));
                    return Err(Stop::Hub(HubFault::Answer { problem }));
                }
                file.write_all(&chunk[..n])?;
                hub.progress.advance(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    match (expected, broke) {
        (Some(expected), _) if got == expected => Ok(()),
        (Some(expected), _) => Err(Stop::Hub(HubFault::Truncated { expected, got })),
        (None, Some(error)) => Err(Stop::Hub(HubFault::Unreachable { source: Box::new(error) })),
        (None, None) => Ok(()),
    }
}

/// Whether a partial answer starts where we asked. One that starts elsewhere would be spliced in.
fn begins_at<T>(response: &ureq::http::Response<T>, from: u64) -> bool {
    response
        .headers()
        .get("content-range")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes "))
        .and_then(|text| text.split('-').next())
        .is_some_and(|start| start.trim().parse() == Ok(from))
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hex(&hash.finalize()))
}
