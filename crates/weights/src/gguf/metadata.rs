//! The key-value pairs of a GGUF file.
//!
//! Arrays (a vocabulary has 50,000 to 250,000 strings) stay in the mapped file and are decoded
//! while they are walked.

use bytes::Bytes;

use super::reader::Reader;
use crate::Fault;

/// More keys than any real file has; bounds what a hostile header can make us allocate.
const MOST_KEYS: u64 = 1 << 16;
/// Bytes of the shortest pair: a key's length, a type, a one-byte value.
const SHORTEST_PAIR: usize = 8 + 4 + 1;

/// Typed values by key.
#[derive(Debug, Default)]
pub struct Metadata {
    sorted: Vec<(Box<str>, Value)>,
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number or truth value.
    Scalar(Scalar),
    /// A string.
    Text(Bytes),
    /// A list of scalars or strings, still encoded.
    Array(Array),
}

/// A number or truth value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// `uint8` to `uint64`.
    Unsigned(u64),
    /// `int8` to `int64`.
    Signed(i64),
    /// `float32`.
    F32(f32),
    /// `float64`.
    F64(f64),
    /// `bool`.
    Bool(bool),
}

/// A list that is decoded while it is walked.
#[derive(Debug, Clone)]
pub struct Array {
    kind: Kind,
    count: usize,
    bytes: Bytes,
}

/// The value types of the format, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Metadata {
    pub(super) fn parse(file: &Bytes, reader: &mut Reader<'_>, count: u64) -> Result<Self, Fault> {
        let possible = ((reader.remaining() / SHORTEST_PAIR) as u64).min(MOST_KEYS);
        if count > possible {
            return Err(Fault::TooMany { what: "metadata keys", claimed: count, possible });
        }
        let mut sorted = Vec::with_capacity(count as usize);
        for i in 0..count {
            let key = reader.text(|| format!("the name of metadata key {i}"))?;
            sorted.push((key.into(), parse_value(file, reader, key)?));
        }
        sorted.sort_unstable_by(|(a, _), (b, _): &(Box<str>, Value)| a.cmp(b));
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Fault::Duplicate { what: "metadata key", name: pair[0].0.to_string() });
        }
        Ok(Self { sorted })
    }

    /// A value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.sorted.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.sorted[at].1)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(|(key, _)| &**key)
    }

    /// All pairs, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.sorted.iter().map(|(key, value)| (&**key, value))
    }

    /// A string, or nothing when the key is absent.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(bytes)) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Fault::NotText { what: format!("metadata `{key}`") }),
            Some(_) => Err(wrong(key, "a text")),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// When the key is absent or of another type.
    pub fn require_text(&self, key: &str) -> Result<&str, Fault> {
        self.text(key)?.ok_or_else(|| Fault::MissingKey { key: key.to_owned() })
    }

    /// A whole number that is not negative, or nothing when the key is absent.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Scalar(Scalar::Unsigned(value))) => Ok(Some(*value)),
            Some(Value::Scalar(Scalar::Signed(value))) if *value >= 0 => Ok(Some(*value as u64)),
            Some(_) => Err(wrong(key, "a whole number that is not negative")),
        }
    }

    /// A number, or nothing when the key is absent. A `float32` becomes the shortest decimal that
    /// means it, so that 1e-5 stays 1e-5.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn float(&self, key: &str) -> Result<Option<f64>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Scalar(Scalar::F32(value))) => {
                Ok(Some(format!("{value:?}").parse().unwrap_or(f64::from(*value))))
            }
            Some(Value::Scalar(Scalar::F64(value))) => Ok(Some(*value)),
            Some(_) => Err(wrong(key, "a number with a fraction")),
        }
    }

    /// A truth value, or nothing when the key is absent.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Scalar(Scalar::Bool(value))) => Ok(Some(*value)),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    /// A list, or nothing when the key is absent.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(_) => Err(wrong(key, "a list")),
        }
    }

    /// A list of strings.
    ///
    /// # Errors
    /// When the key is absent, of another type, or an element is not UTF-8.
    pub fn require_texts(&self, key: &str) -> Result<Vec<&str>, Fault> {
        let array = self.array(key)?.ok_or_else(|| Fault::MissingKey { key: key.to_owned() })?;
        array.texts(key)
    }
}

impl Array {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of its elements' type, how many there are, and their bytes as a file holds them.
    pub(super) fn encoded(&self) -> (u32, usize, &[u8]) {
        (self.kind as u32, self.count, &self.bytes)
    }

    /// Its elements, when they are strings.
    ///
    /// # Errors
    /// When they are not, or one is not UTF-8; `key` is what the error calls the list.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, Fault> {
        if self.kind != Kind::Text {
            return Err(wrong(key, "a list of texts"));
        }
        let mut reader = Reader::new(&self.bytes);
        (0..self.count).map(|i| reader.text(|| format!("element {i} of `{key}`"))).collect()
    }

    /// Its elements, when they are numbers or truth values.
    ///
    /// # Errors
    /// When they are not; `key` is what the error calls the list.
    pub fn scalars(&self, key: &str) -> Result<ArrayIter<'_>, Fault> {
        if self.kind == Kind::Text {
            return Err(wrong(key, "a list of numbers"));
        }
        Ok(ArrayIter { kind: self.kind, left: self.count, reader: Reader::new(&self.bytes) })
    }
}

/// Walks the numbers of an [`Array`].
#[derive(Debug)]
pub struct ArrayIter<'a> {
    kind: Kind,
    left: usize,
    reader: Reader<'a>,
}

impl Iterator for ArrayIter<'_> {
    type Item = Scalar;

    fn next(&mut self) -> Option<Scalar> {
        self.left = self.left.checked_sub(1)?;
        self.kind.scalar(&mut self.reader).ok()
    }
}

impl Scalar {
    /// The value as a number that is not negative.
    pub fn unsigned(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::F32(_) | Self::F64(_) | Self::Bool(_) => None,
        }
    }

    /// The value as a number with a fraction.
    pub fn float(self) -> Option<f64> {
        match self {
            Self::F32(value) => Some(f64::from(value)),
            Self::F64(value) => Some(value),
            Self::Unsigned(_) | Self::Signed(_) | Self::Bool(_) => None,
        }
    }
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        use Kind::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64]
            .get(number as usize)
            .copied()
    }

    /// Bytes of one value, or `None` when that depends on the value.
    fn width(self) -> Option<usize> {
        use Kind::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            Text | Array => None,
        }
    }

    fn scalar(self, reader: &mut Reader<'_>) -> Result<Scalar, Fault> {
        use Scalar::{Signed, Unsigned};
        let what = "a metadata value";
        Ok(match self {
            Self::U8 => Unsigned(u64::from(u8::from_le_bytes(reader.array(what)?))),
            Self::U16 => Unsigned(u64::from(u16::from_le_bytes(reader.array(what)?))),
            Self::U32 => Unsigned(u64::from(reader.u32(what)?)),
            Self::U64 => Unsigned(reader.u64(what)?),
            Self::I8 => Signed(i64::from(i8::from_le_bytes(reader.array(what)?))),
            Self::I16 => Signed(i64::from(i16::from_le_bytes(reader.array(what)?))),
            Self::I32 => Signed(i64::from(i32::from_le_bytes(reader.array(what)?))),
            Self::I64 => Signed(i64::from_le_bytes(reader.array(what)?)),
            Self::F32 => Scalar::F32(f32::from_le_bytes(reader.array(what)?)),
            Self::F64 => Scalar::F64(f64::from_le_bytes(reader.array(what)?)),
            Self::Bool => Scalar::Bool(reader.array::<1>(what)? != [0]),
            Self::Text | Self::Array => {
                return Err(Fault::Value { key: String::new(), problem: "is no scalar".into() });
            }
        })
    }
}

fn parse_value(file: &Bytes, reader: &mut Reader<'_>, key: &str) -> Result<Value, Fault> {
    let kind = parse_kind(reader, key)?;
    match kind {
        Kind::Text => {
            let text = reader.text(|| format!("metadata `{key}`"))?;
            let end = reader.position();
            Ok(Value::Text(file.slice(end - text.len()..end)))
        }
        Kind::Array => parse_array(file, reader, key).map(Value::Array),
        scalar => scalar.scalar(reader).map(Value::Scalar),
    }
}

/// Finds a list's end without decoding it.
fn parse_array(file: &Bytes, reader: &mut Reader<'_>, key: &str) -> Result<Array, Fault> {
    let kind = parse_kind(reader, key)?;
    let count = reader.u64("the length of a list")?;
    let start = reader.position();
    let what = || format!("metadata `{key}`");
    match (kind, kind.width()) {
        (_, Some(width)) => {
            let bytes = count.saturating_mul(width as u64);
            reader.take(bytes, what)?;
        }
        (Kind::Text, None) => {
            let possible = (reader.remaining() / 8) as u64;
            if count > possible {
                return Err(Fault::TooMany { what: "texts in a list", claimed: count, possible });
            }
            for _ in 0..count {
                let len = reader.u64("the length of a text")?;
                reader.take(len, what)?;
            }
        }
        (_, None) => return Err(Fault::NestedArray { key: key.to_owned() }),
    }
    Ok(Array { kind, count: count as usize, bytes: file.slice(start..reader.position()) })
}

fn parse_kind(reader: &mut Reader<'_>, key: &str) -> Result<Kind, Fault> {
    let value_type = reader.u32("a value type")?;
    Kind::from_number(value_type)
        .ok_or_else(|| Fault::ValueType { key: key.to_owned(), value_type })
}

fn wrong(key: &str, expected: &str) -> Fault {
    Fault::Value { key: key.to_owned(), problem: format!("should be {expected}") }
}
