//! The mean of several sets of parameters (arXiv 2203.05482).

use bytes::Bytes;
use fidelio_backend::{BackendError, Encoding, TensorView, Weights};
use fidelio_weights::Tensors;

/// Parameters of which each is the mean of those by its name, made one tensor at a time.
#[derive(Debug)]
pub(crate) struct Mean<'a> {
    of: Vec<&'a Tensors>,
}

impl<'a> Mean<'a> {
    pub(crate) fn new(of: Vec<&'a Tensors>) -> Self {
        Self { of }
    }
}

impl Weights for Mean<'_> {
    fn names(&self) -> Vec<String> {
        self.of.first().map_or_else(Vec::new, |first| first.names())
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let tensors: Vec<TensorView> =
            self.of.iter().map(|of| of.get(name)).collect::<Result<_, _>>()?;
        let [first, rest @ ..] = &tensors[..] else {
            return Err(BackendError::Engine("a mean of nothing".to_owned()));
        };
        if let Some(other) =
            tensors.iter().find(|t| t.encoding != Encoding::F32 || t.shape != first.shape)
        {
            return Err(BackendError::Weights {
                problems: vec![format!(
                    "`{name}` has no mean: it is {:?} of {:?} beside {:?}",
                    other.encoding, other.shape, first.shape
                )],
            });
        }
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let shape = first.shape.clone();
        Ok(TensorView { encoding: Encoding::F32, shape, bytes: mean(&tensors) })
    }
}

fn mean(tensors: &[TensorView]) -> Bytes {
    let elements = tensors[0].bytes.len() / 4;
    let mut bytes = Vec::with_capacity(tensors[0].bytes.len());
    for i in 0..elements {
        let sum: f64 = tensors.iter().map(|tensor| f64::from(element(&tensor.bytes, i))).sum();
        bytes.extend_from_slice(&((sum / tensors.len() as f64) as f32).to_le_bytes());
    }
    bytes.into()
}

fn element(bytes: &[u8], i: usize) -> f32 {
    f32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fidelio_weights::safetensors::{TensorPlan, open, save_safetensors};

    fn saved(encoding: Encoding, shape: &[usize], bytes: Vec<u8>) -> Tensors {
        let folder = tempfile::tempdir().unwrap();
        let plan = TensorPlan { name: "w".to_owned(), encoding, shape: shape.to_vec() };
        let bytes = Bytes::from(bytes);
        save_safetensors(folder.path(), &[plan], u64::MAX, |_| Ok(bytes.clone())).unwrap();
        open(&folder.path().join("model.safetensors")).unwrap()
    }

    fn floats(shape: &[usize], values: &[f32]) -> Tensors {
        saved(Encoding::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    #[test]
    fn it_is_the_mean_of_each_element() {
        let (a, b) = (floats(&[2], &[1.0, -3.0]), floats(&[2], &[2.0, 5.0]));
        let mean = Mean::new(vec![&a, &b]).get("w").unwrap();
        assert_eq!(mean.bytes, floats(&[2], &[1.5, 1.0]).get("w").unwrap().bytes);
        assert_eq!(mean.shape, [2]);
    }

    #[test]
    fn what_has_no_mean_is_refused() {
        let a = floats(&[2], &[1.0, 2.0]);
        let other_shape = floats(&[2, 1], &[1.0, 2.0]);
        let other_type = saved(Encoding::BF16, &[2], vec![0; 4]);
        assert!(Mean::new(vec![&a, &other_shape]).get("w").is_err());
        assert!(Mean::new(vec![&a, &other_type]).get("w").is_err());
        assert!(Mean::new(Vec::new()).get("w").is_err());
    }
}
