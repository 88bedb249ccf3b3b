//! Architectures on Burn behind the seam: BurnBackend.
