//! SVG to PNG.

use std::sync::{Arc, LazyLock};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

use crate::{
    ChartError, Svg,
    letters::{self, FAMILY, FILES},
};

/// This crate's letters alone.
static OWN: LazyLock<Arc<Database>> = LazyLock::new(|| Arc::new(own()));
/// The machine's letters as well.
static ALL: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = own();
    fonts.load_system_fonts();
    Arc::new(fonts)
});

fn own() -> Database {
    let mut fonts = Database::new();
    for file in FILES {
        fonts.load_font_data(file.to_vec());
    }
    fonts.set_sans_serif_family(FAMILY);
    fonts
}

impl Svg {
    /// The picture as a PNG file, each of its pixels `scale` wide.
    ///
    /// Its letters are this crate's (Latin, Greek, Cyrillic), so that it is the same on every
    /// machine; only what they lack, such as Chinese, is taken from the machine's fonts.
    ///
    /// # Errors
    /// [`ChartError::Raster`] when the picture would have no pixels or more than memory takes.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>, ChartError> {
        let (width, height) = self.size();
        let [width, height] = [width, height].map(|side| (side as f32 * scale).ceil() as u32);
        let failed = |reason: String| ChartError::Raster { width, height, reason };
        let own = letters::covers(self.as_str());
        let fontdb = if own { OWN.clone() } else { ALL.clone() };
        let options = Options { fontdb, font_family: FAMILY.to_owned(), ..Options::default() };
        let tree = Tree::from_str(self.as_str(), &options).map_err(|e| failed(e.to_string()))?;
        let mut pixels =
            Pixmap::new(width, height).ok_or_else(|| failed("it is empty or too large".into()))?;
        resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfusionMatrix, Line, LineChart};

    /// Dark pixels of a PNG in a rectangle: left, top, right, bottom.
    fn dark(png: &[u8], [left, top, right, bottom]: [u32; 4]) -> usize {
        let pixels = Pixmap::decode_png(png).unwrap();
        let all = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        all.filter(|(x, y)| pixels.pixel(*x, *y).unwrap().red() < 100).count()
    }

    fn titled(title: &str) -> Svg {
        let mut chart = LineChart::new(title, "update", "loss");
        chart.lines.push(Line::new("run", vec![(1.0, 1.0), (2.0, 2.0)]));
        chart.draw().unwrap()
    }

    /// Where a title stands.
    const TITLE: [u32; 4] = [16, 12, 400, 34];

    #[test]
    fn letters_are_drawn_with_the_fonts_of_this_crate_alone() {
        assert_eq!(OWN.faces().count(), 2);
        let with = dark(&titled("Losses of four runs").png(1.0).unwrap(), TITLE);
        let without = dark(&titled("").png(1.0).unwrap(), TITLE);
        assert!(with > 200 && without == 0, "{with} {without}");
        let longer = dark(&titled("Losses of four runs, again").png(1.0).unwrap(), TITLE);
        assert!(longer > with);
    }

    #[test]
    fn a_count_is_drawn_into_its_cell() {
        let counts = vec![vec![0, 1], vec![0, 1]];
        let labels = vec!["a".into(), "b".into()];
        let matrix = ConfusionMatrix { title: String::new(), labels, counts };
        let png = matrix.draw().unwrap().png(1.0).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        let white = |pixel: resvg::tiny_skia::PremultipliedColorU8| pixel.red() > 200;
        // The cell of the second label is wholly shaded, with a white number in its middle.
        let number = (200..400)
            .flat_map(|y| (140..200).map(move |x| (x, y)))
            .filter(|(x, y)| pixels.pixel(*x, *y).is_some_and(white))
            .count();
        assert!(number > 20, "{number}");
    }

    #[test]
    fn pixels_may_be_finer() {
        let svg = titled("Loss");
        let png = svg.png(2.0).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (2 * svg.size().0, 2 * svg.size().1));
        assert!(matches!(svg.png(0.0), Err(ChartError::Raster { .. })));
        assert!(matches!(svg.png(1e6), Err(ChartError::Raster { .. })));
    }

    #[test]
    fn letters_that_the_crate_lacks_do_not_stop_the_picture() {
        assert!(titled("猫が好き").png(1.0).is_ok());
    }
}
