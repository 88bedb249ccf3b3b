//! What a head is fitted on.

use crate::ProbeError;

/// Vectors of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    width: usize,
    /// Row after row.
    values: Vec<f32>,
}

impl Rows {
    /// No rows yet, of vectors with so many numbers.
    pub fn new(width: usize) -> Self {
        Self { width, values: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`ProbeError::Width`] and [`ProbeError::NotFinite`].
    pub fn push(&mut self, vector: &[f32]) -> Result<(), ProbeError> {
        if vector.len() != self.width {
            return Err(ProbeError::Width { got: vector.len(), expected: self.width });
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(ProbeError::NotFinite { row: self.len() });
        }
        self.values.extend_from_slice(vector);
        Ok(())
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vectors, in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// The first rows and the rest.
    pub fn split_at(&self, first: usize) -> (Self, Self) {
        let (first, rest) = self.values.split_at((first * self.width).min(self.values.len()));
        let of = |values: &[f32]| Self { width: self.width, values: values.to_vec() };
        (of(first), of(rest))
    }

    /// The rows of these numbers.
    ///
    /// # Panics
    /// Where there is no row of such a number.
    #[must_use]
    pub fn chosen(&self, numbers: &[usize]) -> Self {
        let mut values = Vec::with_capacity(numbers.len() * self.width);
        for &number in numbers {
            values.extend_from_slice(&self.values[number * self.width..][..self.width]);
        }
        Self { width: self.width, values }
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = &'a [f32];
    type IntoIter = std::slice::ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What the rows should be answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Targets<'a> {
    /// One label per row.
    Labels {
        /// The labels. Of two, the second is the one whose probability is computed.
        labels: &'a [String],
        /// Each row's, by number.
        of: &'a [usize],
    },
    /// One number per row.
    Numbers(&'a [f64]),
}

impl Targets<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Labels { of, .. } => of.len(),
            Self::Numbers(of) => of.len(),
        }
    }

    /// Each fits its row, and there is something to learn.
    pub(crate) fn check(&self, rows: &Rows) -> Result<(), ProbeError> {
        self.fit(rows)?;
        if let Self::Labels { labels, of } = self {
            if labels.len() < 2 {
                return Err(ProbeError::OneLabel { labels: labels.len() });
            }
            if let Some(label) = (0..labels.len()).find(|label| !of.contains(label)) {
                return Err(ProbeError::EmptyLabel { label: labels[label].clone() });
            }
        }
        Ok(())
    }

    /// Each fits its row.
    pub(crate) fn fit(&self, rows: &Rows) -> Result<(), ProbeError> {
        if rows.is_empty() {
            return Err(ProbeError::NoRows);
        }
        if self.len() != rows.len() {
            return Err(ProbeError::Lengths { targets: self.len(), rows: rows.len() });
        }
        match self {
            Self::Labels { labels, of } => {
                let beyond = of.iter().enumerate().find(|(_, label)| **label >= labels.len());
                beyond.map_or(Ok(()), |(row, &label)| {
                    Err(ProbeError::NoLabel { row, label, labels: labels.len() })
                })
            }
            Self::Numbers(of) => {
                let bad = of.iter().position(|number| !number.is_finite());
                bad.map_or(Ok(()), |row| Err(ProbeError::NotFinite { row }))
            }
        }
    }
}
