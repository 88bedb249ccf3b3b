//! What cannot be drawn.

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    /// Nothing to draw, or nothing that is a number.
    #[error("there is nothing to draw in `{title}`")]
    Empty {
        /// The picture's title.
        title: String,
    },
    /// A matrix that is not square, or has another side than there are labels.
    #[error("the matrix of `{title}` has {got} cells in row {row}, and there are {labels} labels")]
    NotSquare {
        /// The picture's title.
        title: String,
        /// The row, from 0; as many as there are labels where rows are missing or too many.
        row: usize,
        /// Its cells.
        got: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// The picture cannot be rasterised.
    #[error("the picture cannot be made a PNG of {width} × {height} pixels: {reason}")]
    Raster {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Why not.
        reason: String,
    },
}
