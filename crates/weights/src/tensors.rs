//! The tensors of a checkpoint, by name.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use fidelio_backend::{BackendError, Encoding, TensorView, Weights};

use crate::{Fault, WeightsError, mmap};

/// Named tensors that share the bytes of mapped files. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Tensors {
    sorted: Arc<Vec<Stored>>,
}

/// One tensor as its file holds it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: Box<str>,
    pub(crate) encoding: Encoding,
    /// Outermost first.
    pub(crate) shape: Box<[usize]>,
    pub(crate) bytes: Bytes,
    /// Where the bytes start in the file's data, for checks of overlap.
    pub(crate) start: usize,
    pub(crate) form: Form,
}

/// How a file holds what a tensor's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    AsNamed,
    /// Within each of `heads` groups, rows `i` and `i + half` stand beside each other: llama.cpp
    /// turns neighbours where Hugging Face turns halves.
    Interleaved {
        heads: usize,
    },
    /// Each number is larger by one: llama.cpp works the one of `1 + weight` into the weight. The
    /// numbers are 32-bit floats.
    OnePlus,
    /// A matrix with its rows as columns; its elements are no blocks.
    Turned,
    /// Three parts one after the other, where each of `heads` groups has its share of every part.
    InThreeParts {
        heads: usize,
    },
}

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Its name.
    pub name: String,
    /// What its elements are written as.
    pub encoding: Encoding,
    /// Outermost first.
    pub shape: Vec<usize>,
}

impl TensorPlan {
    /// Bytes of all elements; nothing where they do not fill whole blocks, or overflow.
    pub fn bytes(&self) -> Option<u64> {
        let elements = self.shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
        Some(self.encoding.bytes_of(elements)? as u64)
    }

    pub(crate) fn unwritable(&self, format: &str, problem: String) -> WeightsError {
        WeightsError::Unwritable { tensor: self.name.clone(), format: format.to_owned(), problem }
    }
}

impl Tensors {
    pub(crate) fn stored(&self) -> &[Stored] {
        &self.sorted
    }

    /// Sorts tensors by name and refuses a name that appears twice.
    pub(crate) fn new(mut stored: Vec<Stored>) -> Result<Self, Fault> {
        stored.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = stored.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Fault::Duplicate { what: "tensor", name: pair[0].name.to_string() });
        }
        Ok(Self { sorted: Arc::new(stored) })
    }

    /// Each tensor's name, encoding and shape, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Encoding, &[usize])> {
        self.sorted.iter().map(|t| (&*t.name, t.encoding, &*t.shape))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Elements in all tensors.
    pub fn parameters(&self) -> u64 {
        self.sorted.iter().map(|t| t.shape.iter().product::<usize>() as u64).sum()
    }

    /// Bytes in all tensors.
    pub fn bytes(&self) -> u64 {
        self.sorted.iter().map(|t| t.bytes.len() as u64).sum()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Stored> {
        let at = self.sorted.binary_search_by(|t| (*t.name).cmp(name)).ok()?;
        Some(&self.sorted[at])
    }
}

impl Weights for Tensors {
    fn names(&self) -> Vec<String> {
        self.sorted.iter().map(|t| t.name.to_string()).collect()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let tensor = self.find(name).ok_or_else(|| BackendError::ReadTensor {
            name: name.to_owned(),
            source: Box::new(WeightsError::NoTensor { tensor: name.to_owned() }),
        })?;
        Ok(tensor.view())
    }

    fn forget(&self, name: &str) {
        if let Some(tensor) = self.find(name) {
            mmap::forget(&tensor.bytes);
        }
    }
}

impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensors").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl Stored {
    /// The tensor as its name says. Copies only where the file holds it in another form.
    pub(crate) fn view(&self) -> TensorView {
        let bytes = match self.form {
            Form::AsNamed => self.bytes.clone(),
            Form::Interleaved { heads } => {
                halves_from_neighbours(&self.bytes, heads, self.shape.first().copied().unwrap_or(1))
            }
            Form::OnePlus => shifted(&self.bytes, -1.0),
            Form::Turned => {
                let rows = self.shape.last().copied().unwrap_or(1); // those of the file
                turned(&self.bytes, rows, self.shape.iter().product())
            }
            Form::InThreeParts { heads } => regrouped(&self.bytes, [3, heads]),
        };
        TensorView { encoding: self.encoding, shape: self.shape.to_vec(), bytes }
    }
}

impl Form {
    /// A tensor of this shape in the form of the file, from that of its name.
    pub(crate) fn arrange(self, bytes: Bytes, shape: &[usize]) -> Bytes {
        let rows = shape.first().copied().unwrap_or(1);
        match self {
            Self::AsNamed => bytes,
            Self::Interleaved { heads } => neighbours_from_halves(&bytes, heads, rows),
            Self::OnePlus => shifted(&bytes, 1.0),
            Self::Turned => turned(&bytes, rows, shape.iter().product()),
            Self::InThreeParts { heads } => regrouped(&bytes, [heads, 3]),
        }
    }
}

/// 32-bit floats, each with something added.
fn shifted(bytes: &Bytes, by: f32) -> Bytes {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().flat_map(|bytes| (f32::from_le_bytes(*bytes) + by).to_le_bytes()).collect()
}

/// The elements of `rows` rows, column by column.
fn turned(bytes: &Bytes, rows: usize, elements: usize) -> Bytes {
    let size = bytes.len() / elements.max(1);
    let cols = elements / rows.max(1);
    let mut out = BytesMut::with_capacity(bytes.len());
    for col in 0..cols {
        for row in 0..rows {
            let at = (row * cols + col) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out.freeze()
}

/// Equal pieces, of which `outer` groups have `inner` each, in groups of one piece of each.
fn regrouped(bytes: &Bytes, [outer, inner]: [usize; 2]) -> Bytes {
    let piece = bytes.len() / (outer * inner).max(1);
    let mut out = BytesMut::with_capacity(bytes.len());
    for i in 0..inner {
        for j in 0..outer {
            let at = (j * inner + i) * piece;
            out.extend_from_slice(&bytes[at..at + piece]);
        }
    }
    out.freeze()
}

/// Llama.cpp's order of rotary rows: row `j·half + i` of a head becomes row `2i + j`.
fn neighbours_from_halves(bytes: &Bytes, heads: usize, rows: usize) -> Bytes {
    let row = bytes.len() / rows.max(1);
    let per_head = rows / heads.max(1);
    let half = per_head / 2;
    let mut out = BytesMut::with_capacity(bytes.len());
    for head in 0..heads {
        for i in 0..half {
            for j in 0..2 {
                let from = (head * per_head + j * half + i) * row;
                out.extend_from_slice(&bytes[from..from + row]);
            }
        }
    }
    out.freeze()
}

/// Undoes llama.cpp's order of rotary rows: row `2i + j` of a head becomes row `j·half + i`.
fn halves_from_neighbours(bytes: &Bytes, heads: usize, rows: usize) -> Bytes {
    let row = bytes.len() / rows.max(1);
    let per_head = rows / heads.max(1);
    let half = per_head / 2;
    let mut out = BytesMut::with_capacity(bytes.len());
    for head in 0..heads {
        for j in 0..2 {
            for i in 0..half {
                let from = (head * per_head + 2 * i + j) * row;
                out.extend_from_slice(&bytes[from..from + row]);
            }
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_each_head_go_back_to_halves() {
        // Two heads of four rows, one byte per row; neighbours (0,2), (1,3) were put together.
        let bytes = Bytes::from_static(&[0, 2, 1, 3, 10, 12, 11, 13]);
        let named = halves_from_neighbours(&bytes, 2, 8);
        assert_eq!(&named[..], [0, 1, 2, 3, 10, 11, 12, 13]);
        assert_eq!(Form::Interleaved { heads: 2 }.arrange(named, &[8]), bytes);
    }

    #[test]
    fn the_one_of_a_norm_goes_and_comes() {
        let bytes = |x: [f32; 2]| -> Bytes { x.into_iter().flat_map(f32::to_le_bytes).collect() };
        assert_eq!(Form::OnePlus.arrange(bytes([0.5, -2.0]), &[2]), bytes([1.5, -1.0]));
        assert_eq!(shifted(&bytes([1.5, -1.0]), -1.0), bytes([0.5, -2.0]));
    }

    #[test]
    fn matrices_are_turned_and_heads_put_together() {
        // [2, 3] of two bytes each.
        let bytes = Bytes::from_static(&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        let other = turned(&bytes, 2, 6);
        assert_eq!(&other[..], [0, 0, 3, 3, 1, 1, 4, 4, 2, 2, 5, 5]);
        assert_eq!(turned(&other, 3, 6), bytes);
        // Queries, keys and values of two heads.
        let parts = Bytes::from_static(&[1, 2, 11, 12, 21, 22]);
        let heads = regrouped(&parts, [3, 2]);
        assert_eq!(&heads[..], [1, 11, 21, 2, 12, 22]);
        assert_eq!(Form::InThreeParts { heads: 2 }.arrange(heads, &[6]), parts);
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let error = Tensors::default().get("model.norm.weight").unwrap_err();
        assert!(error.to_string().contains("model.norm.weight"), "{error}");
    }
}
