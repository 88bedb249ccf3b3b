//! Who may ask: API keys, of which only hashes are kept.

use std::{fmt, path::Path};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ServeError;

/// Names of those who hold a key, with the SHA-256 of each key.
///
/// A plain hash is enough for keys that are long and random, which a person's password is not.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<(String, [u8; 32])>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| name)).finish()
    }
}

impl Keys {
    /// The keys of a file: on each line a name and the SHA-256 of a key in hexadecimal digits. Empty
    /// lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is none; the error names it.
    pub fn of_file(path: &Path) -> Result<Self, ServeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ServeError::Read { path: path.to_owned(), source })?;
        let mut keys = Self::default();
        for (number, line) in text.lines().enumerate() {
            let wrong = |problem: &str| ServeError::Keys {
                path: path.to_owned(),
                line: number + 1,
                problem: problem.to_owned(),
            };
            let mut words = line.split_whitespace();
            let Some(name) = words.next().filter(|name| !name.starts_with('#')) else { continue };
            let hash = words.next().ok_or_else(|| wrong("has a name and no hash"))?;
            if words.next().is_some() {
                return Err(wrong("has more than a name and a hash"));
            }
            let hash = hash_of_digits(hash)
                .ok_or_else(|| wrong("has a hash that is not 64 hexadecimal digits"))?;
            if keys.keys.iter().any(|(other, _)| other == name) {
                return Err(wrong("has a name that an earlier line has"));
            }
            keys.keys.push((name.to_owned(), hash));
        }
        if keys.is_empty() {
            let problem = "is where a key should stand; a file without keys would let everybody in";
            return Err(ServeError::Keys {
                path: path.to_owned(),
                line: 1,
                problem: problem.to_owned(),
            });
        }
        Ok(keys)
    }

    /// The same with one more key, which is forgotten once it is hashed.
    #[must_use]
    pub fn with(mut self, name: &str, key: &str) -> Self {
        self.keys.push((name.to_owned(), Sha256::digest(key.as_bytes()).into()));
        self
    }

    /// Whether everybody is let in.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose key it is. How long that takes does not depend on the key.
    pub(crate) fn holder(&self, key: &str) -> Option<&str> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        // All are compared, whichever fits.
        self.keys.iter().fold(None, |holder, (name, known)| {
            if bool::from(known.ct_eq(&hash)) { Some(name.as_str()) } else { holder }
        })
    }
}

fn hash_of_digits(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(text: &str) -> Result<Keys, ServeError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Keys::of_file(file.path())
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let keys = read(&format!("# mine\n\nalice {ABC}\n")).unwrap().with("bob", "xyz");
        assert_eq!(keys.holder("abc"), Some("alice"));
        assert_eq!(keys.holder("xyz"), Some("bob"));
        for other in ["", "abd", "abcd", ABC, "alice"] {
            assert_eq!(keys.holder(other), None, "{other}");
        }
        assert_eq!(format!("{keys:?}"), r#"["alice", "bob"]"#);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, problem) in [
            ("alice\n".to_owned(), "line 1 has a name and no hash"),
            (format!("a {ABC}\nb {}", &ABC[1..]), "line 2 has a hash that is not"),
            (format!("a {}+1", &ABC[2..]), "line 1 has a hash that is not"),
            (format!("a {ABC} x"), "line 1 has more than"),
            (format!("a {ABC}\na {ABC}"), "line 2 has a name that an earlier line has"),
            ("# none\n".to_owned(), "would let everybody in"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
