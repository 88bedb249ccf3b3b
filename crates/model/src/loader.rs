//! Tensors by name, each expected with its shape; everything that does not fit is collected.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{
    BackendError, Encoding, OpenSpec, Precision, Quantization, TensorView, Weights,
};
use fidelio_ops::{Arithmetic, Format, Layout, StoredMatrix, Weight, dequantize};

/// Tensors that old exporters wrote and that hold nothing a model needs.
const DERIVED: &str = "rotary_emb.inv_freq";

/// A linear layer's number, in the order of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleId(pub(crate) usize);

/// A linear layer, as adapters see it.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    /// Its name without `.weight`, as `model.layers.0.self_attn.q_proj`.
    pub(crate) name: String,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) bias: bool,
}

/// Hands out a checkpoint's tensors and notes what is missing, misshapen or left over.
pub(crate) struct Loader<'a> {
    weights: &'a dyn Weights,
    device: &'a Device,
    quantization: Option<Quantization>,
    arithmetic: Arithmetic,
    left: BTreeSet<String>,
    /// What was made of which bytes, so that layers that share theirs share memory.
    made: HashMap<(usize, usize), (bytes::Bytes, Weight)>,
    modules: Vec<Module>,
    problems: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(weights: &'a dyn Weights, device: &'a Device, spec: &OpenSpec) -> Self {
        let left = weights.names().into_iter().filter(|name| !name.ends_with(DERIVED)).collect();
        let arithmetic = match spec.precision {
            Precision::Int8Activations => Arithmetic::Int8,
            Precision::Bf16 => Arithmetic::Bf16,
            _ => Arithmetic::F32,
        };
        let quantization = spec.quantization;
        let (modules, problems) = (Vec::new(), Vec::new());
        let made = HashMap::new();
        Self { weights, device, quantization, arithmetic, left, made, modules, problems }
    }

    /// Notes a linear layer.
    pub(crate) fn module(
        &mut self,
        name: &str,
        [input, output]: [usize; 2],
        bias: bool,
    ) -> ModuleId {
        self.modules.push(Module { name: name.into(), input, output, bias });
        ModuleId(self.modules.len() - 1)
    }

    /// A matrix `[rows, cols]` in the encoding of its file, or rounded where that was asked for and
    /// [`Quantization::covers`] it. An empty stand-in where it does not fit: [`Self::finish`] then
    /// fails.
    pub(crate) fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Weight {
        match self.view(name, &[rows, cols]) {
            Some((view, format)) => self.make(name, view, format, [rows, cols]),
            None => self.nothing(),
        }
    }

    /// The same where the checkpoint has the columns as rows: `[cols, rows]`.
    pub(crate) fn turned_matrix(&mut self, name: &str, rows: usize, cols: usize) -> Weight {
        let Some((mut view, format)) = self.view(name, &[cols, rows]) else {
            return self.nothing();
        };
        let Some(turned) = turned(format, &view.bytes, [cols, rows]) else {
            let problem = format!("`{name}` is {format:?}, whose blocks cannot be turned round");
            self.problems.push(problem);
            return self.nothing();
        };
        view.bytes = turned;
        view.shape = vec![rows, cols];
        self.weights.forget(name);
        self.make(name, view, format, [rows, cols])
    }

    fn make(
        &mut self,
        name: &str,
        view: TensorView,
        format: Format,
        [rows, cols]: [usize; 2],
    ) -> Weight {
        let place = (view.bytes.as_ptr().addr(), view.bytes.len());
        if let Some((_, made)) =
            self.made.get(&place).filter(|(_, made)| made.dims() == [rows, cols])
        {
            return made.clone();
        }
        // Bytes of a file stay where they are while someone holds them; others are made each time.
        let of_file = (!view.bytes.is_unique()).then(|| view.bytes.clone());
        let arithmetic = self.arithmetic;
        let stored = StoredMatrix { format, rows, cols, layout: Layout::Rows, arithmetic };
        let rounds = self.quantization.filter(|_| Quantization::covers(name, &view.shape));
        let made = match rounds {
            None => Weight::new(view.bytes, stored, self.device),
            Some(to) => match unroundable(name, stored, to) {
                None => Weight::rounded(&view.bytes, stored, rounded_format(to), self.device),
                Some(problem) => {
                    self.problems.push(problem);
                    return self.nothing();
                }
            },
        };
        if !made.shares_bytes() {
            self.weights.forget(name);
        }
        if let Some(bytes) = of_file {
            self.made.insert(place, (bytes, made.clone()));
        }
        made
    }

    fn nothing(&self) -> Weight {
        let floats = Tensor::zeros([1, 1], self.device);
        Weight::Dense { floats, arithmetic: self.arithmetic }
    }

    /// A vector, as floats.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Tensor<1> {
        let mut floats = vec![0.0_f32; len];
        if let Some((view, format)) = self.view(name, &[len]) {
            dequantize(format, &view.bytes, &mut floats);
        }
        Tensor::from_data(TensorData::new(floats, [len]), self.device)
    }

    /// Allows `name` to be there if it holds the same bytes as `original` (a tied head that was
    /// written out).
    pub(crate) fn accept_copy(&mut self, name: &str, original: &str) {
        if !self.left.remove(name) {
            return;
        }
        let same = match (self.weights.get(name), self.weights.get(original)) {
            (Ok(copy), Ok(original)) => {
                copy.encoding == original.encoding && copy.bytes == original.bytes
            }
            _ => false,
        };
        if !same {
            self.problems.push(format!(
                "`{name}` differs from `{original}`, but config.json says that they are tied"
            ));
        }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains(name)
    }

    /// Allows `name` to be there: a tensor that nothing is computed with.
    pub(crate) fn pass_over(&mut self, name: &str) {
        self.left.remove(name);
    }

    /// Allows what begins with `prefix` to be there: a head that is not asked.
    pub(crate) fn pass_over_below(&mut self, prefix: &str) {
        self.left.retain(|name| !name.starts_with(prefix));
    }

    /// All problems at once, or the linear layers that were loaded.
    pub(crate) fn finish(mut self) -> Result<Vec<Module>, BackendError> {
        for name in &self.left {
            self.problems.push(format!("`{name}` is not a tensor of this architecture"));
        }
        if self.problems.is_empty() {
            Ok(self.modules)
        } else {
            Err(BackendError::Weights { problems: self.problems })
        }
    }

    fn view(&mut self, name: &str, shape: &[usize]) -> Option<(TensorView, Format)> {
        if !self.left.remove(name) {
            self.problems.push(format!("`{name}` {shape:?} is missing"));
            return None;
        }
        let view = match self.weights.get(name) {
            Ok(view) => view,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                self.problems.push(format!("{error}{}", cause.unwrap_or_default()));
                return None;
            }
        };
        match check(name, &view, shape) {
            Ok(format) => Some((view, format)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

/// Elements `[rows, cols]` as `[cols, rows]`; nothing where they stand in blocks.
fn turned(format: Format, bytes: &[u8], [rows, cols]: [usize; 2]) -> Option<bytes::Bytes> {
    let size = match format {
        Format::F32 => 4,
        Format::F16 | Format::BF16 => 2,
        _ => return None,
    };
    let mut turned = Vec::with_capacity(bytes.len());
    for col in 0..cols {
        for row in 0..rows {
            let at = (row * cols + col) * size;
            turned.extend_from_slice(&bytes[at..at + size]);
        }
    }
    Some(turned.into())
}

/// Why a matrix cannot be rounded, if it cannot.
fn unroundable(name: &str, stored: StoredMatrix, to: Quantization) -> Option<String> {
    if !matches!(stored.format, Format::F32 | Format::F16 | Format::BF16) {
        return Some(format!(
            "`{name}` is quantised already, as {:?}; open the model without quantization, which \
             uses its blocks as they are",
            stored.format
        ));
    }
    to.bytes(stored.rows, stored.cols)
        .is_none()
        .then(|| format!("`{name}` has rows of {}, which are not whole blocks of 64", stored.cols))
}

/// The kernels' name of what a matrix is rounded to.
fn rounded_format(to: Quantization) -> Format {
    match to {
        Quantization::Nf4 { double_quant: false } => Format::Nf4,
        Quantization::Nf4 { double_quant: true } => Format::Nf4Double,
        Quantization::Fp4 { double_quant: false } => Format::Fp4,
        Quantization::Fp4 { double_quant: true } => Format::Fp4Double,
        _ => Format::Int8,
    }
}

/// The elements of a tensor of this shape as floats, or what is wrong with it.
pub(crate) fn read_floats(
    name: &str,
    view: &TensorView,
    shape: &[usize],
) -> Result<Vec<f32>, String> {
    let format = check(name, view, shape)?;
    let mut floats = vec![0.0_f32; shape.iter().product()];
    dequantize(format, &view.bytes, &mut floats);
    Ok(floats)
}

/// How the elements of a tensor of this shape are written, or what is wrong with it.
fn check(name: &str, view: &TensorView, shape: &[usize]) -> Result<Format, String> {
    if view.shape != shape {
        return Err(format!("`{name}` is {:?}, expected {shape:?}", view.shape));
    }
    let Some(format) = format_of(view.encoding) else {
        return Err(format!("`{name}` is {:?}, expected floats", view.encoding));
    };
    let row = shape.last().copied().unwrap_or(0);
    if !row.is_multiple_of(format.block_len()) {
        return Err(format!(
            "`{name}` has rows of {row}, which are not whole blocks of {:?}",
            view.encoding
        ));
    }
    let expected = format.bytes_of(shape.iter().product());
    if expected != Some(view.bytes.len()) {
        return Err(format!(
            "`{name}` has {} bytes, expected {}",
            view.bytes.len(),
            expected.unwrap_or(0)
        ));
    }
    Ok(format)
}

/// The kernels' name of an encoding; `None` for integers.
fn format_of(encoding: Encoding) -> Option<Format> {
    Some(match encoding {
        Encoding::F32 => Format::F32,
        Encoding::F16 => Format::F16,
        Encoding::BF16 => Format::BF16,
        Encoding::Q4_0 => Format::Q4_0,
        Encoding::Q4_1 => Format::Q4_1,
        Encoding::Q5_0 => Format::Q5_0,
        Encoding::Q5_1 => Format::Q5_1,
        Encoding::Q8_0 => Format::Q8_0,
        Encoding::Q2_K => Format::Q2_K,
        Encoding::Q3_K => Format::Q3_K,
        Encoding::Q4_K => Format::Q4_K,
        Encoding::Q5_K => Format::Q5_K,
        Encoding::Q6_K => Format::Q6_K,
        _ => return None,
    })
}
