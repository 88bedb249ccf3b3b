//! Burn's ndarray backend: slices of its arrays.
#![expect(deprecated, reason = "upstream is retiring this backend; users still ask for it")]

use std::borrow::Cow;

use burn::backend::{
    NdArray, TensorMetadata as _,
    tensor::{FloatTensor, IntTensor},
};
use burn_ndarray::NdArrayTensor;
use fidelio_kernels::{Activation, Arithmetic, Asked, Layout, Scoring, TokenScore, Top};

use crate::{
    Sees, StoredMatrix,
    host::{self, Host},
    plain,
};

impl Host for NdArray {
    fn floats(x: &NdArrayTensor) -> Cow<'_, [f32]> {
        let NdArrayTensor::F32(storage) = x else {
            panic!("expected f32 elements, found {:?}", x.dtype());
        };
        match storage.view().to_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(storage.view().iter().copied().collect()),
        }
    }

    fn raw(x: &NdArrayTensor) -> Cow<'_, [u8]> {
        let NdArrayTensor::U8(storage) = x else {
            panic!("stored weights are u8 tensors, found {:?}", x.dtype());
        };
        match storage.view().to_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(storage.view().iter().copied().collect()),
        }
    }

    fn edit(x: NdArrayTensor, edit: impl FnOnce(&mut [f32])) -> NdArrayTensor {
        let NdArrayTensor::F32(storage) = x else {
            panic!("expected f32 elements, found {:?}", x.dtype());
        };
        let mut array = storage.into_shared();
        if !array.is_standard_layout() {
            array = array.as_standard_layout().to_shared();
        }
        edit(array.as_slice_mut().expect("standard layout"));
        NdArrayTensor::from(array)
    }
}

host::implement!(NdArray);
