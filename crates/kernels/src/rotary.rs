//! Rotary positions.

/// Rotates each head's first `d_rot` channels in place, in Hugging Face's rotate-half layout:
/// channel `i` is paired with channel `i + d_rot/2`.
///
/// `x` is `[t, heads, head_dim]`; `cos` and `sin` are `[t, d_rot/2]`, from which `d_rot` follows.
///
/// # Panics
/// When the sizes do not fit.
pub fn rotary(x: &mut [f32], cos: &[f32], sin: &[f32], heads: usize, head_dim: usize) {
    if x.is_empty() {
        return;
    }
    let token = heads * head_dim;
    assert!(x.len().is_multiple_of(token), "x is not [t, {heads}, {head_dim}]");
    let t = x.len() / token;
    assert_eq!(cos.len(), sin.len(), "cos and sin");
    assert!(cos.len().is_multiple_of(t), "cos is not {t} rows");
    let half = cos.len() / t;
    assert!(2 * half <= head_dim, "{half} angles do not fit a head of {head_dim}");
    if half == 0 {
        return;
    }
    for ((x, cos), sin) in x.chunks_exact_mut(token).zip(cos.chunks(half)).zip(sin.chunks(half)) {
        for head in x.chunks_exact_mut(head_dim) {
            let (a, b) = head[..2 * half].split_at_mut(half);
            for (((a, b), &cos), &sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rotary;

    #[test]
    fn pairs_turn_by_their_angle_and_the_rest_stays() {
        let (t, heads, d, half) = (3, 2, 8, 3);
        let original: Vec<f32> = (0..t * heads * d).map(|i| i as f32 * 0.1 - 2.0).collect();
        let angles: Vec<f32> = (0..t * half).map(|i| i as f32 * 0.7).collect();
        let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
        let mut x = original.clone();
        rotary(&mut x, &cos, &sin, heads, d);
        for i in 0..t * heads {
            let (before, after) = (&original[i * d..][..d], &x[i * d..][..d]);
            for j in 0..half {
                // As complex numbers: multiplied by exp(i·angle).
                let (sin, cos) = f64::from(angles[i / heads * half + j]).sin_cos();
                let (re, im) = (f64::from(before[j]), f64::from(before[j + half]));
                assert!((f64::from(after[j]) - (re * cos - im * sin)).abs() < 1e-6);
                assert!((f64::from(after[j + half]) - (im * cos + re * sin)).abs() < 1e-6);
            }
            assert_eq!(before[2 * half..], after[2 * half..]);
        }
    }

    /// `q * cos + rotate_half(q) * sin` of transformers' Llama, at position 1 with base 10000.
    #[test]
    fn agrees_with_transformers() {
        let mut x = [1.0, 2.0, 3.0, 4.0];
        let (cos, sin) = ([1_f32.cos(), 0.01_f32.cos()], [1_f32.sin(), 0.01_f32.sin()]);
        rotary(&mut x, &cos, &sin, 1, 4);
        let expected = [-1.984_110_6, 1.959_900_7, 2.462_378, 4.019_799_7];
        for (x, expected) in x.iter().zip(expected) {
            assert!((x - expected).abs() < 1e-6, "{x} {expected}");
        }
    }
}
