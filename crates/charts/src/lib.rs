//! Pictures of runs: learning curves, confusion matrices, bars with intervals.
//!
//! The main types are [`LineChart`], [`ConfusionMatrix`] and [`BarChart`]. Each draws itself as
//! [`Svg`]: the same text for the same values on every machine, light, with a background, in
//! colours that colour-blind people tell apart. [`Svg::png`] rasterises it with letters that are
//! part of this crate; [`DARK_CSS`] is what a page needs to show it dark.
//!
//! ```
//! use fidelio_charts::{Line, LineChart};
//!
//! let mut chart = LineChart::new("Loss", "update", "loss (nats per token)");
//! chart.lines.push(Line::new("training", vec![(1.0, 2.5), (2.0, 1.9), (3.0, 1.7)]));
//! let svg = chart.draw()?;
//! assert!(svg.as_str().starts_with("<svg "));
//! # Ok::<(), fidelio_charts::ChartError>(())
//! ```
//!
//! It deliberately knows no run, reads no file and draws nothing that moves.

mod bars;
mod canvas;
mod error;
mod letters;
mod lines;
mod matrix;
mod palette;
mod raster;
mod ticks;

pub use bars::{Bar, BarChart, BarGroup, Mark};
pub use canvas::{Svg, escape};
pub use error::ChartError;
pub use lines::{Line, LineChart, Stroke};
pub use matrix::ConfusionMatrix;
pub use palette::DARK_CSS;
