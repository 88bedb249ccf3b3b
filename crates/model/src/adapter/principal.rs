//! Factors taken out of a layer's own weight: its largest singular directions (PiSSA,
//! arXiv 2404.02948), or the first columns of its QR decomposition (OLoRA, arXiv 2406.01775).
//!
//! PEFT takes `scale · b · a` off the weight itself. Here the weight stays as its file has it, and
//! the product is taken off what the adapter adds.

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_ops::Weight;
use nalgebra::{DMatrix, SymmetricEigen};

use super::init::orthonormal;
use crate::noise::Stream;

/// Directions that are followed beside those that are wanted, so that these settle sooner.
const MORE: usize = 8;
/// Rounds at most, and the share of the energy found that a round must still add.
const ROUNDS: usize = 100;
const SETTLED: f64 = 1e-7;

/// `a` `[r, in]` and `b` `[out, r]` whose `scale · b · a` is the best approximation of rank `r` to
/// the weight, both factors equally long.
pub(super) fn singular(
    weight: &Weight,
    r: usize,
    scale: f64,
    random: &mut Stream,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let weight = whole(weight); // [out, in]
    let [output, input] = weight.dims();
    let width = (r + MORE).min(output).min(input);
    let start: Vec<f32> = (0..width * input).map(|_| random.normal()).collect();
    let mut basis = basis_of(matrix(start, [width, input], device), device); // rows
    let mut energy = 0.0;
    let mut inner;
    let mut left;
    let mut round = 0;
    // Subspace iteration: what the weight does to the basis and back turns it to the directions in
    // which the weight is largest.
    loop {
        left = basis_of(basis.matmul(weight.clone().transpose()), device); // [width, out]
        inner = left.clone().matmul(weight.clone()); // [width, in]
        let values = eigen(&inner);
        let found: f64 = values.0[..r].iter().sum();
        round += 1;
        if round == ROUNDS || found - energy <= SETTLED * found {
            return factors(&inner, &left, &values, r, scale, device);
        }
        energy = found;
        basis = basis_of(inner, device);
    }
}

/// `a` `[r, in]` and `b` `[out, r]` with the first `r` columns of the weight's orthogonal factor in
/// `b`, and the first rows of its triangular one in `a`.
pub(super) fn triangular(weight: &Weight, r: usize, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let weight = whole(weight);
    let [output, _] = weight.dims();
    let first = weight.clone().slice([0..output, 0..r]).transpose(); // columns as rows
    let b = basis_of(first, device); // [r, out]
    (b.clone().matmul(weight), b.transpose())
}

fn whole(weight: &Weight) -> Tensor<2> {
    weight.embed(&(0..weight.rows() as u32).collect::<Vec<_>>())
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn floats(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("weights are read as f32")
}

/// Orthonormal rows that span what the rows span.
fn basis_of(rows: Tensor<2>, device: &Device) -> Tensor<2> {
    let [count, width] = rows.dims();
    let values = floats(rows);
    let rows = values.chunks(width.max(1)).map(|row| row.iter().map(|&x| f64::from(x)).collect());
    matrix(orthonormal(rows, count, width), [count, width], device)
}

/// The squared singular values of a matrix of few rows, largest first, and its left directions.
fn eigen(inner: &Tensor<2>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let [rows, cols] = inner.dims();
    let values = floats(inner.clone()).into_iter().map(f64::from);
    let inner = DMatrix::from_row_iterator(rows, cols, values);
    let decomposed = SymmetricEigen::new(&inner * inner.transpose());
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&i, &j| decomposed.eigenvalues[j].total_cmp(&decomposed.eigenvalues[i]));
    let direction = |&i: &usize| decomposed.eigenvectors.column(i).iter().copied().collect();
    let values = order.iter().map(|&i| decomposed.eigenvalues[i].max(0.0)).collect();
    (values, order.iter().map(direction).collect())
}

fn factors(
    inner: &Tensor<2>,
    left: &Tensor<2>,
    (squares, directions): &(Vec<f64>, Vec<Vec<f64>>),
    r: usize,
    scale: f64,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let width = left.dims()[0];
    // Rows of `directions` weighed so that each factor has the root of a singular value.
    let weighed = |weight: &dyn Fn(f64) -> f64| {
        let rows = directions.iter().zip(squares).take(r);
        let values = rows.flat_map(|(direction, square)| {
            let weight = weight(square.sqrt());
            direction.iter().map(move |x| (x * weight) as f32)
        });
        matrix(values.collect(), [r, width], device)
    };
    let root = |size: f64| (size / scale).sqrt();
    // `inner` has the singular value as its length already; a direction without any stays 0.
    let a = weighed(&|size| if size > 0.0 { root(size) / size } else { 0.0 });
    let b = weighed(&root);
    (a.matmul(inner.clone()), b.matmul(left.clone()).transpose())
}
