//! Newton's method, each step found by conjugate gradients: the curvature is never written down.
//! (Nocedal and Wright, Numerical Optimization, algorithm 7.1.)

use crate::{
    ProbeError,
    design::{add, dot},
    loss::{At, Loss},
};

/// The gradient at the optimum, as a share of that at 0.
const TOLERANCE: f64 = 1e-9;
const MOST_STEPS: usize = 200;
/// A step must fall by this share of what its slope promises.
const FALL: f64 = 1e-4;
/// What two values of a loss may differ by and be the same.
const ROUNDING: f64 = 1e-13;

/// Moves `parameters` to the minimum.
pub(crate) fn minimize(loss: &Loss<'_>, parameters: &mut Vec<f64>) -> Result<(), ProbeError> {
    let first = largest(&loss.at(&vec![0.0; parameters.len()]).gradient);
    let diagonal = loss.diagonal();
    let mut at = loss.at(parameters);
    for _ in 0..MOST_STEPS {
        let share = largest(&at.gradient) / first.max(f64::MIN_POSITIVE);
        if share <= TOLERANCE {
            return Ok(());
        }
        let step = direction(loss, &at, &diagonal, share.sqrt().min(0.1));
        match descend(loss, &at, parameters, &step) {
            Some((next, there)) => (*parameters, at) = (next, there),
            // Nothing is lower within rounding: this is the minimum, if the slope agrees.
            None if share <= TOLERANCE.sqrt() => return Ok(()),
            None => break,
        }
    }
    let gradient = largest(&at.gradient) / first.max(f64::MIN_POSITIVE);
    Err(ProbeError::NoOptimum { steps: MOST_STEPS, gradient })
}

fn largest(of: &[f64]) -> f64 {
    of.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Solves `curvature · step = -gradient` until what is left is `accuracy` of the gradient.
fn direction(loss: &Loss<'_>, at: &At, diagonal: &[f64], accuracy: f64) -> Vec<f64> {
    let mut step = vec![0.0; diagonal.len()];
    let mut left: Vec<f64> = at.gradient.iter().map(|x| -x).collect();
    let divided = |left: &[f64]| -> Vec<f64> {
        left.iter().zip(diagonal).map(|(left, diagonal)| left / diagonal).collect()
    };
    let mut scaled = divided(&left);
    let mut along = scaled.clone();
    let mut power = dot(&left, &scaled);
    let enough = accuracy * accuracy * power;
    for _ in 0..2 * diagonal.len() {
        let curved = loss.curved(at, &along);
        let curvature = dot(&along, &curved);
        if curvature <= 0.0 {
            // Only rounding makes a convex loss curve down.
            break;
        }
        let length = power / curvature;
        add(&mut step, length, &along);
        add(&mut left, -length, &curved);
        scaled = divided(&left);
        let next = dot(&left, &scaled);
        if next <= enough {
            break;
        }
        let keep = next / power;
        for (along, scaled) in along.iter_mut().zip(&scaled) {
            *along = scaled + keep * *along;
        }
        power = next;
    }
    step
}

/// Goes along a step, halved until the loss falls.
fn descend(loss: &Loss<'_>, at: &At, from: &[f64], step: &[f64]) -> Option<(Vec<f64>, At)> {
    let slope = dot(&at.gradient, step);
    let mut length = 1.0;
    for _ in 0..40 {
        let mut to = from.to_vec();
        add(&mut to, length, step);
        let there = loss.at(&to);
        if there.value <= at.value + FALL * length * slope + ROUNDING * at.value.abs() {
            return Some((to, there));
        }
        length /= 2.0;
    }
    None
}
