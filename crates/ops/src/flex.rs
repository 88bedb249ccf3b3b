//! Burn's flex backend: slices of its storage.

use std::borrow::Cow;

use burn::backend::{
    Flex,
    tensor::{FloatTensor, IntTensor},
};
use burn_flex::FlexTensor;
use fidelio_kernels::{Activation, Arithmetic, Asked, Layout, Scoring, TokenScore, Top};

use crate::{
    Sees, StoredMatrix,
    host::{self, Host},
    plain,
};

impl Host for Flex {
    fn floats(x: &FlexTensor) -> Cow<'_, [f32]> {
        match x.as_slice::<f32>() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(
                x.to_contiguous().as_slice::<f32>().expect("f32 and contiguous").to_vec(),
            ),
        }
    }

    fn raw(x: &FlexTensor) -> Cow<'_, [u8]> {
        Cow::Borrowed(x.as_slice::<u8>().expect("stored weights are whole u8 tensors"))
    }

    fn edit(x: FlexTensor, edit: impl FnOnce(&mut [f32])) -> FlexTensor {
        let whole = x.layout().contiguous_offsets().map(|(from, to)| (from, to - from))
            == Some((0, x.bytes().len() / 4));
        let mut x = if whole { x } else { x.to_contiguous() };
        edit(x.storage_mut::<f32>());
        x
    }
}

host::implement!(Flex);
