//! Vectors that were computed before, by what they were computed of.
//!
//! A folder for each model with its settings; in it files that are written once and never changed, so
//! that several runs may add to it at once. What is damaged counts as absent.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{hashes::sha256, results::persist};

/// What a text and its vector are known by.
pub(crate) type Key = [u8; 32];

/// The head of a file; the number changes with what vectors depend on.
const MAGIC: &[u8] = b"fidelio vectors 1\n";
const ENDING: &str = "vectors";

/// The vectors of one model with its settings.
#[derive(Debug)]
pub(crate) struct VectorCache {
    folder: PathBuf,
}

impl VectorCache {
    /// `settings` holds all that vectors depend on besides the text.
    pub(crate) fn new(root: &Path, settings: &str) -> Self {
        let name = sha256(format!("{} {settings}", String::from_utf8_lossy(MAGIC)).as_bytes());
        Self { folder: root.join(&name[..32]) }
    }

    /// The wanted vectors that are here, `width` numbers each.
    pub(crate) fn load(&self, wanted: &HashSet<Key>) -> HashMap<Key, Vec<f32>> {
        let mut found = HashMap::new();
        let Ok(files) = fs::read_dir(&self.folder) else { return found };
        for file in files.filter_map(Result::ok).map(|file| file.path()) {
            if file.extension().is_some_and(|it| it == ENDING)
                && let Ok(bytes) = fs::read(&file)
                && let Some(records) = Records::of(&bytes)
            {
                found.extend(records.filter(|(key, _)| wanted.contains(key)));
            }
        }
        found
    }

    /// Adds vectors of `width` numbers, each with its key.
    pub(crate) fn add(&self, width: usize, vectors: &[(Key, Vec<f32>)]) -> io::Result<()> {
        if vectors.is_empty() {
            return Ok(());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((width as u32).to_le_bytes());
        for (key, vector) in vectors {
            debug_assert_eq!(vector.len(), width, "all vectors are as wide");
            bytes.extend(key);
            bytes.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        fs::create_dir_all(&self.folder)?;
        // Named by its contents: the same vectors twice are one file.
        persist(&self.folder.join(format!("{}.{ENDING}", &sha256(&bytes)[..32])), &bytes)
    }
}

/// The vectors of one file.
struct Records<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl<'a> Records<'a> {
    /// None where the file is not whole.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let (width, bytes) = body.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        let width = u32::from_le_bytes(*width) as usize;
        let record = size_of::<Key>() + 4 * width;
        bytes.len().is_multiple_of(record).then_some(Self { bytes, width })
    }
}

impl Iterator for Records<'_> {
    type Item = (Key, Vec<f32>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.bytes.split_first_chunk::<32>()?;
        let (numbers, rest) = rest.split_at_checked(4 * self.width)?;
        self.bytes = rest;
        let (numbers, _) = numbers.as_chunks::<4>();
        Some((*key, numbers.iter().map(|x| f32::from_le_bytes(*x)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> VectorCache {
        VectorCache::new(folder, "a model")
    }

    const ONE: (Key, [f32; 2]) = ([1; 32], [0.5, -2.0]);
    const TWO: (Key, [f32; 2]) = ([2; 32], [0.25, 8.0]);

    fn add(cache: &VectorCache, (key, vector): (Key, [f32; 2])) {
        cache.add(2, &[(key, vector.to_vec())]).unwrap();
    }

    #[test]
    fn what_was_added_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert!(cache.load(&HashSet::from([ONE.0])).is_empty());
        add(&cache, ONE);
        add(&cache, TWO);
        let found = cache.load(&HashSet::from([TWO.0, [3; 32]]));
        assert_eq!(found, HashMap::from([(TWO.0, TWO.1.to_vec())]));
        let other = VectorCache::new(folder.path(), "another model");
        assert!(other.load(&HashSet::from([ONE.0])).is_empty());
    }

    #[test]
    fn a_damaged_file_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        add(&cache, ONE);
        let file = fs::read_dir(&cache.folder).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert!(cache.load(&HashSet::from([ONE.0])).is_empty(), "byte {at} is another");
            fs::write(&file, &whole[..at]).unwrap();
            assert!(cache.load(&HashSet::from([ONE.0])).is_empty(), "cut at byte {at}");
        }
    }
}
