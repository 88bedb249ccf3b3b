//! The JSON header of a safetensors file.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use fidelio_backend::Encoding;
use serde::{
    Deserialize, Deserializer as _,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    Fault,
    tensors::{Form, Stored},
};

/// More dimensions than any tensor has.
const MOST_DIMENSIONS: usize = 8;

/// The tensors that a header describes, each with its part of `data`.
pub(super) fn parse(text: &[u8], data: &Bytes) -> Result<Vec<Stored>, Fault> {
    let what = || "the header".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| Fault::NotText { what: what() })?;
    let json = |source| Fault::Json { what: what(), source };
    // Counted first: a vector that grows would hold three times what it needs.
    let mut counter = serde_json::Deserializer::from_str(text);
    let count = counter.deserialize_map(Count).map_err(json)?;
    counter.end().map_err(json)?;

    let mut stored = Vec::with_capacity(count);
    let mut fault = None;
    let outcome = serde_json::Deserializer::from_str(text).deserialize_map(Tensors {
        data,
        stored: &mut stored,
        fault: &mut fault,
    });
    match (fault, outcome) {
        (Some(fault), _) => Err(fault),
        (None, Err(source)) => Err(json(source)),
        (None, Ok(())) => Ok(stored),
    }
}

struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry per tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

struct Tensors<'a> {
    data: &'a Bytes,
    stored: &'a mut Vec<Stored>,
    fault: &'a mut Option<Fault>,
}

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry per tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if name.0 == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let entry = map
                .next_value::<Entry<'de>>()
                .map_err(|e| A::Error::custom(format_args!("tensor `{}`: {e}", name.0)))?;
            match entry.stored(&name.0, self.data) {
                Ok(tensor) => self.stored.push(tensor),
                Err(fault) => {
                    *self.fault = Some(fault);
                    return Err(A::Error::custom("broken tensor"));
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Dims,
    data_offsets: (u64, u64),
}

impl Entry<'_> {
    fn stored(self, name: &str, data: &Bytes) -> Result<Stored, Fault> {
        let tensor = || name.to_owned();
        let encoding = encoding(&self.dtype).ok_or_else(|| Fault::Encoding {
            tensor: tensor(),
            encoding: self.dtype.chars().take(32).collect(),
        })?;
        let dims = &self.shape.dims[..self.shape.rank];
        let expected = dims
            .iter()
            .try_fold(1_usize, |n, &dim| n.checked_mul(usize::try_from(dim).ok()?))
            .and_then(|elements| encoding.bytes_of(elements))
            .ok_or_else(|| Fault::Dimensions {
                tensor: tensor(),
                dims: dims.to_vec(),
                problem: "the product overflows",
            })?;
        let (start, end) = self.data_offsets;
        if end > data.len() as u64 || start > end {
            return Err(Fault::Outside { tensor: tensor(), end, available: data.len() as u64 });
        }
        if end - start != expected as u64 {
            return Err(Fault::Length {
                tensor: tensor(),
                expected: expected as u64,
                found: end - start,
            });
        }
        Ok(Stored {
            name: name.into(),
            encoding,
            shape: dims.iter().map(|&dim| dim as usize).collect(),
            bytes: data.slice(start as usize..end as usize),
            start: start as usize,
            form: Form::AsNamed,
        })
    }
}

/// A shape without an allocation.
struct Dims {
    dims: [u64; MOST_DIMENSIONS],
    rank: usize,
}

impl<'de> Deserialize<'de> for Dims {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DimsVisitor.deserialize(deserializer)
    }
}

struct DimsVisitor;

impl<'de> DeserializeSeed<'de> for DimsVisitor {
    type Value = Dims;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Dims, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for DimsVisitor {
    type Value = Dims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST_DIMENSIONS} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dims, A::Error> {
        let mut shape = Dims { dims: [0; MOST_DIMENSIONS], rank: 0 };
        while let Some(dim) = seq.next_element::<u64>()? {
            let Some(place) = shape.dims.get_mut(shape.rank) else {
                return Err(A::Error::invalid_length(MOST_DIMENSIONS + 1, &self));
            };
            *place = dim;
            shape.rank += 1;
        }
        Ok(shape)
    }
}

fn encoding(dtype: &str) -> Option<Encoding> {
    use Encoding::*;
    Some(match dtype {
        "F32" => F32,
        "F16" => F16,
        "BF16" => BF16,
        "I8" => I8,
        "I32" => I32,
        "I64" => I64,
        "U8" => U8,
        _ => return None,
    })
}
