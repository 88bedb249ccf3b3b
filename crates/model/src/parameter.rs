//! What a model is made of, by name.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use fidelio_ops::Weight;

/// Where a model keeps a parameter.
pub(crate) enum Slot<'a> {
    /// `[outputs, inputs]`, or a table `[ids, channels]`.
    Matrix(&'a mut Weight),
    /// A matrix that the checkpoint has as `[inputs, outputs]`.
    Turned(&'a mut Weight),
    /// `[channels]`
    Vector(&'a mut Tensor<1>),
}

impl Slot<'_> {
    /// The values as floats.
    pub(crate) fn floats(&self) -> Value {
        match self {
            Self::Matrix(weight) => Value::Matrix(weight.floats()),
            Self::Turned(weight) => Value::Matrix(weight.floats().transpose()),
            Self::Vector(x) => Value::Vector((**x).clone()),
        }
    }

    /// Puts other values in their place.
    pub(crate) fn set(self, value: Value) {
        match (self, value) {
            (Self::Matrix(weight), Value::Matrix(x)) => *weight = weight.with_floats(x),
            (Self::Turned(weight), Value::Matrix(x)) => *weight = weight.with_floats(x.transpose()),
            (Self::Vector(place), Value::Vector(x)) => *place = x,
            _ => debug_assert!(false, "a parameter keeps its kind"),
        }
    }
}

/// The values of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Matrix(Tensor<2>),
    Vector(Tensor<1>),
}

impl Value {
    /// A vector as a matrix of one row: what sums and optimizers work on.
    pub(crate) fn rows(self) -> Tensor<2> {
        match self {
            Self::Matrix(x) => x,
            Self::Vector(x) => x.unsqueeze(),
        }
    }

    /// The inverse of [`Self::rows`].
    pub(crate) fn like(&self, rows: Tensor<2>) -> Self {
        match self {
            Self::Matrix(_) => Self::Matrix(rows),
            Self::Vector(_) => Self::Vector(rows.squeeze_dim(0)),
        }
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Matrix(x) => x.dims().to_vec(),
            Self::Vector(x) => x.dims().to_vec(),
        }
    }

    /// The same values as a leaf of a graph.
    pub(crate) fn leaf(&self) -> Self {
        match self.clone() {
            Self::Matrix(x) => Self::Matrix(x.autodiff().require_grad()),
            Self::Vector(x) => Self::Vector(x.autodiff().require_grad()),
        }
    }

    /// A leaf's gradient, with a vector as one row; none where the loss does not depend on it.
    pub(crate) fn take_gradient(&self, gradients: &mut Gradients) -> Option<Tensor<2>> {
        match self {
            Self::Matrix(x) => x.grad_remove(gradients),
            Self::Vector(x) => x.grad_remove(gradients).map(Tensor::unsqueeze),
        }
    }

    /// Other values of the same shape.
    pub(crate) fn of(&self, floats: Vec<f32>) -> Self {
        match self {
            Self::Matrix(x) => {
                Self::Matrix(Tensor::from_data(TensorData::new(floats, x.dims()), &x.device()))
            }
            Self::Vector(x) => {
                Self::Vector(Tensor::from_data(TensorData::new(floats, x.dims()), &x.device()))
            }
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self {
            Self::Matrix(x) => x.device(),
            Self::Vector(x) => x.device(),
        }
    }
}
