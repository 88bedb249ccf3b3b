//! Candidates by what they mean, as vectors of a model say it.

use std::sync::Arc;

use crate::searcher::best;
use crate::{Hit, Query, RetrievalError, Searcher};

/// Why a vector could not be made.
pub type EmbedFault = Box<dyn std::error::Error + Send + Sync>;

/// Makes vectors of texts; of all texts equally wide ones.
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no vectors of texts",
    note = "implement `Embed`: one vector for each text, always the same one"
)]
pub trait Embed: Send + Sync {
    /// The vector of a text. It may have any length.
    ///
    /// # Errors
    /// Whatever keeps a model from reading the text.
    fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedFault>;
}

/// Vectors of candidates, brought to length 1.
#[derive(Debug, Clone)]
struct Directions {
    width: usize,
    numbers: Vec<f32>,
}

/// Finds the candidates whose vectors point where the query's does. All are compared, so what is found
/// is exact. A score is half of 1 plus the cosine: 1 in the same direction, ½ where two texts have
/// nothing to do with one another, 0 in opposite ones.
#[derive(Clone)]
pub struct Semantic {
    directions: Directions,
    embed: Arc<dyn Embed>,
}

impl std::fmt::Debug for Semantic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Directions { width, numbers } = &self.directions;
        f.debug_struct("Semantic")
            .field("candidates", &(numbers.len() / width.max(&1)))
            .field("width", width)
            .finish_non_exhaustive()
    }
}

impl Semantic {
    /// Over candidates with these vectors, in their order; `embed` makes those of queries.
    ///
    /// # Errors
    /// [`RetrievalError::Width`] where vectors are not equally wide.
    pub fn new(
        vectors: impl IntoIterator<Item = Vec<f32>>,
        embed: Arc<dyn Embed>,
    ) -> Result<Self, RetrievalError> {
        let mut directions = Directions { width: 0, numbers: Vec::new() };
        for (candidate, mut vector) in vectors.into_iter().enumerate() {
            if candidate == 0 {
                directions.width = vector.len();
            }
            directions.check(&vector)?;
            to_length_1(&mut vector);
            directions.numbers.extend(vector);
        }
        Ok(Self { directions, embed })
    }
}

impl Searcher for Semantic {
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        if self.directions.numbers.is_empty() {
            return Ok(Vec::new());
        }
        let vector = self.embed.vector(query.text);
        let mut vector = vector.map_err(|source| RetrievalError::Search { source })?;
        self.directions.check(&vector)?;
        to_length_1(&mut vector);
        let all = self.directions.numbers.chunks_exact(self.directions.width).enumerate();
        let hits = all
            .filter(|(candidate, _)| among(*candidate))
            .map(|(candidate, other)| Hit { candidate, score: likeness(&vector, other) });
        Ok(best(hits.collect(), limit))
    }

    fn similarity(&self, a: usize, b: usize) -> f32 {
        likeness(self.directions.of(a), self.directions.of(b))
    }
}

impl Directions {
    fn of(&self, candidate: usize) -> &[f32] {
        &self.numbers[candidate * self.width..][..self.width]
    }

    fn check(&self, vector: &[f32]) -> Result<(), RetrievalError> {
        let (expected, got) = (self.width, vector.len());
        if got == expected && got > 0 {
            Ok(())
        } else {
            Err(RetrievalError::Width { expected, got })
        }
    }
}

/// Above 0 also for opposite directions: everything is compared, so nothing is drawn in its place.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    f32::midpoint(1.0, dot(a, b)).clamp(f32::MIN_POSITIVE, 1.0)
}

/// In eight sums, so that additions do not wait for each other.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// A vector of zeros points nowhere and stays.
fn to_length_1(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that spell their vectors.
    struct Spelt;

    impl Embed for Spelt {
        fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedFault> {
            Ok(text.split(' ').map(str::parse).collect::<Result<_, _>>()?)
        }
    }

    fn searcher() -> Semantic {
        let vectors = [[3.0, 0.0], [0.0, 0.5], [-1.0, 0.0], [2.0, 2.0], [0.0, 0.0]];
        Semantic::new(vectors.map(|it| it.to_vec()), Arc::new(Spelt)).unwrap()
    }

    fn search(text: &str, among: &dyn Fn(usize) -> bool) -> Result<Vec<Hit>, RetrievalError> {
        searcher().search(&Query { text, itself: None }, among, 9)
    }

    #[test]
    fn directions_count_and_lengths_do_not() {
        let hits = search("7 0", &|_| true).unwrap();
        let found: Vec<_> = hits.iter().map(|hit| hit.candidate).collect();
        assert_eq!(found, [0, 3, 1, 4, 2]);
        let expected = [1.0, f32::midpoint(1.0, 0.5_f32.sqrt()), 0.5, 0.5, 0.0];
        for (hit, expected) in hits.iter().zip(expected) {
            assert!((hit.score - expected).abs() < 1e-6, "{hit:?}, not {expected}");
            assert!(hit.score > 0.0, "nothing is drawn for want of likeness");
        }
        let others = search("7 0", &|candidate| candidate != 0).unwrap();
        assert_eq!(others[..], hits[1..]);
        assert!((searcher().similarity(0, 2)).abs() < 1e-6);
        assert!((searcher().similarity(0, 3) - expected[1]).abs() < 1e-6);
    }

    #[test]
    fn vectors_of_another_width_and_failures_are_errors() {
        let error = search("1 2 3", &|_| true).unwrap_err();
        assert!(matches!(error, RetrievalError::Width { expected: 2, got: 3 }), "{error}");
        assert!(matches!(search("one", &|_| true), Err(RetrievalError::Search { .. })));
        let uneven = Semantic::new([vec![1.0], vec![1.0, 2.0]], Arc::new(Spelt)).unwrap_err();
        assert!(matches!(uneven, RetrievalError::Width { expected: 1, got: 2 }));
    }

    #[test]
    fn products_of_any_width_are_sums() {
        for width in [1_u8, 7, 8, 9, 24, 31] {
            let a: Vec<f32> = (0..width).map(f32::from).collect();
            let sum: f32 = a.iter().map(|x| x * 2.0).sum();
            assert!((dot(&a, &vec![2.0; a.len()]) - sum).abs() < 1e-3, "{width}");
        }
    }
}
