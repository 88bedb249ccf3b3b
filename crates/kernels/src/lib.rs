//! CPU kernels over slices: quantised dot products, attention, norms.
