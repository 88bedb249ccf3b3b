//! A weight matrix: as its file stores it, or as floats on the device.

use burn::{
    backend::{Dispatch, DispatchDevice},
    tensor::{AllocationProperty, Bytes, DType, Device, Int, Tensor, TensorData},
};
use fidelio_kernels::{
    Arithmetic, Asked, Format, Layout, TokenScore, Top, Weighed, cross_entropy, dequantize_rows,
    pack, quantize, softcap, softcap_backward, top_of,
};

use crate::{LlmBackend, StoredMatrix, plain::score_of};

/// Rows of hidden states whose logits exist at a time.
const LOGIT_ROWS: usize = 8;

/// Logits that exist at a time where a loss is computed: 32 MB.
const LOSS_FLOATS: usize = 8 << 20;

/// A loss, and its gradients.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The sum over targets of weight times minus the log-probability, in nats.
    pub sum: f64,
    /// Its gradient for the hidden states.
    pub hidden: Tensor<2>,
    /// Its gradient for the matrix, where it was asked for.
    pub weight: Option<Tensor<2>>,
}

/// A matrix `[rows, cols]`: `rows` outputs of `cols` inputs each.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Blocks as the file has them, in an order that vectors read; decoded where they are used.
    Stored {
        /// The raw bytes.
        bytes: Tensor<1, Int>,
        /// What they mean.
        matrix: StoredMatrix,
    },
    /// 32-bit floats: what learns, and on devices that cannot read stored blocks.
    Dense {
        /// `[rows, cols]`
        floats: Tensor<2>,
        /// What numbers its products are made of, where the device has kernels for it.
        arithmetic: Arithmetic,
    },
}

impl Weight {
    /// Puts a stored matrix, its rows one after the other, on a device. On the CPU backends plain
    /// elements are the bytes that were given, and blocks are put in eights, as many bytes; elsewhere
    /// it becomes floats.
    ///
    /// # Panics
    /// When the bytes are not `rows` rows of whole blocks; the caller has compared the sizes.
    pub fn new(bytes: bytes::Bytes, matrix: StoredMatrix, device: &Device) -> Self {
        let StoredMatrix { format, rows, cols, .. } = matrix;
        assert_eq!(Some(bytes.len()), format.bytes_of_matrix(rows, cols), "bytes of a matrix");
        if !reads_stored(device) {
            let mut floats = vec![0.0_f32; rows * cols];
            dequantize_rows(matrix.of(&bytes), 0, &mut floats);
            let floats = Tensor::from_data(TensorData::new(floats, [rows, cols]), device);
            return Self::Dense { floats, arithmetic: matrix.arithmetic };
        }
        let (bytes, matrix) = if format.packs() {
            let packed = bytes::Bytes::from_owner(pack(matrix.of(&bytes)));
            let matrix = StoredMatrix { layout: Layout::Eights, ..matrix };
            (Bytes::from_shared(packed, AllocationProperty::Native), matrix)
        } else {
            (Bytes::from_shared(bytes, AllocationProperty::File), matrix)
        };
        let len = bytes.len();
        let data = TensorData::from_bytes(bytes, [len], DType::U8);
        Self::Stored { bytes: Tensor::from_data(data, (device, DType::U8)), matrix }
    }

    /// As [`Self::new`], with the numbers rounded to a format of bitsandbytes, row by row.
    ///
    /// # Panics
    /// As there, and when rows are not whole blocks of `to`.
    pub fn rounded(bytes: &[u8], from: StoredMatrix, to: Format, device: &Device) -> Self {
        let rounded = quantize(from.of(bytes), to);
        Self::new(rounded.into(), StoredMatrix { format: to, ..from }, device)
    }

    /// Other values in the place of these, multiplied as they are.
    #[must_use]
    pub fn with_floats(&self, floats: Tensor<2>) -> Self {
        Self::Dense { floats, arithmetic: self.arithmetic() }
    }

    fn arithmetic(&self) -> Arithmetic {
        match self {
            Self::Stored { matrix, .. } => matrix.arithmetic,
            Self::Dense { arithmetic, .. } => *arithmetic,
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        match self {
            Self::Stored { matrix, .. } => matrix.rows,
            Self::Dense { floats, .. } => floats.dims()[0],
        }
    }

    /// Outputs and inputs.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Stored { matrix, .. } => [matrix.rows, matrix.cols],
            Self::Dense { floats, .. } => floats.dims(),
        }
    }

    /// Whether it consists of the bytes that it was made of, and not of a copy.
    pub fn shares_bytes(&self) -> bool {
        matches!(self, Self::Stored { matrix, .. } if matrix.layout == Layout::Rows)
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Stored { bytes, .. } => bytes.dims()[0],
            Self::Dense { floats, .. } => floats.shape().num_elements() * size_of::<f32>(),
        }
    }

    /// The logits that [`Self::loss`] has at a time for `n` rows, in bytes.
    pub fn loss_bytes(&self, n: usize) -> usize {
        self.loss_rows().min(n) * self.rows() * size_of::<f32>()
    }

    fn loss_rows(&self) -> usize {
        (LOSS_FLOATS / self.rows()).max(LOGIT_ROWS)
    }

    /// All of it as floats: `[rows, cols]`.
    pub fn floats(&self) -> Tensor<2> {
        match self {
            Self::Stored { matrix, .. } => {
                let ids: Vec<u32> = (0..matrix.rows as u32).collect();
                self.embed(&ids)
            }
            Self::Dense { floats, .. } => floats.clone(),
        }
    }

    /// `x · wᵀ`: `[n, cols]` to `[n, rows]`.
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Stored { bytes, matrix } => {
                Tensor::from_dispatch(<Dispatch as LlmBackend>::linear_stored(
                    x.into_dispatch(),
                    bytes.clone().into_dispatch(),
                    *matrix,
                ))
            }
            Self::Dense { floats, arithmetic } => {
                Tensor::from_dispatch(<Dispatch as LlmBackend>::linear_floats(
                    x.into_dispatch(),
                    floats.clone().into_dispatch(),
                    *arithmetic,
                ))
            }
        }
    }

    /// The gradient of [`Self::linear`] for its operand: `g · w`, `[n, rows]` to `[n, cols]`.
    pub fn linear_backward(&self, g: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Stored { bytes, matrix } => {
                Tensor::from_dispatch(<Dispatch as LlmBackend>::linear_stored_backward(
                    g.into_dispatch(),
                    bytes.clone().into_dispatch(),
                    *matrix,
                ))
            }
            Self::Dense { floats, arithmetic } => {
                Tensor::from_dispatch(<Dispatch as LlmBackend>::linear_floats_backward(
                    g.into_dispatch(),
                    floats.clone().into_dispatch(),
                    *arithmetic,
                ))
            }
        }
    }

    /// The gradient of [`Self::linear`] for the matrix: `gᵀ · x`, `[rows, cols]`.
    fn gradient(&self, g: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as LlmBackend>::linear_floats_gradient(
            g.into_dispatch(),
            x.into_dispatch(),
            self.arithmetic(),
        ))
    }

    /// The loss of `targets`, asked at rows of `hidden` `[n, cols]` in the order of their rows, and
    /// its gradients. Logits exist for some rows at a time; a `cap` bends them ([`softcap`]).
    pub fn loss(
        &self,
        hidden: Tensor<2>,
        targets: &[Weighed],
        cap: Option<f32>,
        of_weight: bool,
    ) -> Loss {
        let n = hidden.dims()[0];
        let rows_at_once = self.loss_rows();
        let mut loss = Loss { sum: 0.0, hidden: hidden.clone(), weight: None };
        let mut parts = Vec::new();
        for first in (0..n).step_by(rows_at_once) {
            let rows = hidden.clone().narrow(0, first, rows_at_once.min(n - first));
            let from = targets.partition_point(|target| (target.row as usize) < first);
            let until = first + rows.dims()[0];
            let count = targets[from..].partition_point(|target| (target.row as usize) < until);
            let own: Vec<Weighed> = targets[from..from + count]
                .iter()
                .map(|target| Weighed { row: target.row - first as u32, ..*target })
                .collect();
            let logits = self.linear(rows.clone());
            let (shape, device) = (logits.dims(), logits.device());
            let mut logits =
                logits.into_data().try_into_vec::<f32>().expect("logits are contiguous f32");
            loss.sum += match cap {
                None => cross_entropy(&mut logits, self.rows(), &own),
                Some(cap) => capped_cross_entropy(&mut logits, self.rows(), &own, cap),
            };
            let g = Tensor::<2>::from_data(TensorData::new(logits, shape), &device);
            if of_weight {
                let part = self.gradient(g.clone(), rows);
                loss.weight = Some(match loss.weight {
                    Some(sum) => sum + part,
                    None => part,
                });
            }
            parts.push(self.linear_backward(g));
        }
        loss.hidden = Tensor::cat(parts, 0);
        loss
    }

    /// The rows of `ids`: `[ids, cols]`.
    pub fn embed(&self, ids: &[u32]) -> Tensor<2> {
        match self {
            Self::Stored { bytes, matrix } => {
                Tensor::from_dispatch(<Dispatch as LlmBackend>::embed_stored(
                    bytes.clone().into_dispatch(),
                    ids.to_vec(),
                    *matrix,
                ))
            }
            Self::Dense { floats, .. } => {
                let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
                let len = ids.len();
                let index =
                    Tensor::<1, Int>::from_data(TensorData::new(ids, [len]), &floats.device());
                floats.clone().select(0, index)
            }
        }
    }

    /// All logits after rows of `hidden` `[n, cols]`, one row after the other.
    pub fn logits(&self, hidden: Tensor<2>, cap: Option<f32>) -> Vec<f32> {
        let logits = self.linear(hidden).into_data();
        let mut logits = logits.try_into_vec::<f32>().expect("logits are contiguous f32");
        if let Some(cap) = cap {
            softcap(&mut logits, cap);
        }
        logits
    }

    /// What `asked` says of the next tokens after rows of `hidden` `[n, cols]`.
    pub fn token_scores(
        &self,
        hidden: Tensor<2>,
        asked: Vec<Asked>,
        cap: Option<f32>,
    ) -> Vec<TokenScore> {
        match self {
            Self::Stored { bytes, matrix } if cap.is_none() => {
                <Dispatch as LlmBackend>::token_scores_stored(
                    hidden.into_dispatch(),
                    bytes.clone().into_dispatch(),
                    *matrix,
                    asked,
                )
            }
            _ => {
                let empty = TokenScore { logprob: 0.0, rank: 0, top: 0 };
                let mut scores = vec![empty; asked.len()];
                self.each_row(hidden, cap, |row, logits| {
                    for (asked, score) in asked.iter().zip(&mut scores) {
                        if asked.row as usize == row {
                            *score = score_of(logits, asked.token);
                        }
                    }
                });
                scores
            }
        }
    }

    /// The `k` largest logits, those of `also`, and the log-sum-exp after each row of `hidden`.
    pub fn top_logits(
        &self,
        hidden: Tensor<2>,
        k: usize,
        also: &[u32],
        cap: Option<f32>,
    ) -> Vec<Top> {
        match self {
            Self::Stored { bytes, matrix } if cap.is_none() => {
                <Dispatch as LlmBackend>::top_logits_stored(
                    hidden.into_dispatch(),
                    bytes.clone().into_dispatch(),
                    *matrix,
                    k,
                    also.to_vec(),
                )
            }
            _ => {
                let mut tops = Vec::new();
                self.each_row(hidden, cap, |_, logits| tops.push(top_of(logits, k, also)));
                tops
            }
        }
    }

    fn each_row(&self, hidden: Tensor<2>, cap: Option<f32>, mut take: impl FnMut(usize, &[f32])) {
        let n = hidden.dims()[0];
        for first in (0..n).step_by(LOGIT_ROWS) {
            let rows = hidden.clone().narrow(0, first, LOGIT_ROWS.min(n - first));
            let logits = self.logits(rows, cap);
            for (i, row) in logits.chunks_exact(self.rows()).enumerate() {
                take(first + i, row);
            }
        }
    }
}

/// [`cross_entropy`] of logits after their cap; in their place the gradient for those before it.
fn capped_cross_entropy(
    logits: &mut [f32],
    vocabulary: usize,
    targets: &[Weighed],
    cap: f32,
) -> f64 {
    softcap(logits, cap);
    let capped = logits.to_vec();
    let sum = cross_entropy(logits, vocabulary, targets);
    softcap_backward(&capped, cap, logits);
    sum
}

/// Whether a device's memory is this process's, so that kernels read blocks where they lie.
fn reads_stored(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "which devices exist depends on the features")]
        _ => false,
    }
}
