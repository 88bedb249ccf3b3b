//! The weighted sum of thin products, and its best approximation of a lower rank, without ever
//! making the dense matrix.

use nalgebra::DMatrix;

use super::Factors;

/// Rounds of the decomposition before it is given up; it takes a few for each singular value.
const ROUNDS: usize = 100_000;
/// How far the decomposition may be from what it decomposed, relative.
const EXACT: f64 = 1e-9;

/// `Σ weight · B · A` by its `most` largest singular values, or as many as it has: `B` holds them
/// times the left vectors, `A` the right vectors. None where no decomposition is found.
pub(super) fn truncated(weighted: &[(f64, &Factors)], most: usize) -> Option<Factors> {
    let shape = weighted[0].1;
    let (b, a) = stacked(weighted.iter().copied());
    // Of the stacked factors only the small cores meet: B A = Qb (Rb Raᵀ) Qaᵀ.
    let (qb, rb) = b.qr().unpack();
    let (qa, ra) = a.transpose().qr().unpack();
    let core = rb * ra.transpose();
    let svd = core.clone().try_svd(true, true, f64::EPSILON, ROUNDS)?;
    let (u, v) = (svd.u.as_ref()?, svd.v_t.as_ref()?);
    let again = u * DMatrix::from_diagonal(&svd.singular_values) * v;
    if (&again - &core).norm() > EXACT * core.norm() {
        return None;
    }
    let r = most.min(svd.singular_values.len());
    let values = DMatrix::from_diagonal(&svd.singular_values.rows(0, r).into_owned());
    let b = qb * u.columns(0, r) * values; // [output, r]
    let a = v.rows(0, r) * qa.transpose(); // [r, input]
    Some(Factors { a: by_row(&a), b: by_row(&b), r, scale: 1.0, ..*shape })
}

/// How far `made` is from the weighted sum, over the length of that sum; none where that is zero.
pub(super) fn distance(made: &Factors, weighted: &[(f64, &Factors)]) -> Option<f64> {
    let (b, a) = stacked(weighted.iter().copied());
    let sum = length(&b, &a);
    if sum == 0.0 {
        return None;
    }
    let minus = weighted.iter().map(|(weight, factors)| (-weight, *factors));
    let (b, a) = stacked(std::iter::once((made.scale, made)).chain(minus));
    Some(length(&b, &a) / sum)
}

/// `[output, R]` with the weights in it, and `[R, input]`, whose product is the weighted sum.
fn stacked<'a>(weighted: impl Iterator<Item = (f64, &'a Factors)>) -> (DMatrix<f64>, DMatrix<f64>) {
    let weighted: Vec<_> = weighted.collect();
    let (output, input) = (weighted[0].1.output, weighted[0].1.input);
    let rank = weighted.iter().map(|(_, factors)| factors.r).sum();
    let (mut b, mut a) = (DMatrix::zeros(output, rank), DMatrix::zeros(rank, input));
    let mut at = 0;
    for (weight, factors) in weighted {
        let r = factors.r;
        let part = DMatrix::from_row_slice(output, r, &factors.b) * weight;
        b.columns_mut(at, r).copy_from(&part);
        a.rows_mut(at, r).copy_from(&DMatrix::from_row_slice(r, input, &factors.a));
        at += r;
    }
    (b, a)
}

/// The Frobenius norm of `b · a`, through the triangles of both.
fn length(b: &DMatrix<f64>, a: &DMatrix<f64>) -> f64 {
    let (rb, ra) = (b.clone().qr().r(), a.transpose().qr().r());
    (rb * ra.transpose()).norm()
}

fn by_row(matrix: &DMatrix<f64>) -> Vec<f64> {
    matrix.transpose().as_slice().to_vec()
}
