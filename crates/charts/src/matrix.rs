//! Confusion matrices.

use std::cmp::Reverse;

use crate::{
    ChartError, Svg,
    canvas::{Canvas, Px, Type, escape},
    letters::{Weight, fit, width},
    palette::{GRID, SHADE, is_dark},
    ticks::thousands,
};

const MARGIN: f64 = 16.0;
const SMALL: f64 = 12.0;
/// The most that a label takes.
const LABEL_ROOM: f64 = 150.0;
/// Labels that are drawn; the smaller ones are put together.
const LABELS: usize = 30;

/// How often each label was taken for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    /// What stands above it.
    pub title: String,
    /// The labels, in the order of the counts.
    pub labels: Vec<String>,
    /// Rows per expected label (outer) and predicted label (inner).
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// Draws it: expected labels from top to bottom, predicted ones from left to right, each cell
    /// shaded by its share of the row. Of more than 30 labels the smaller ones stand together.
    ///
    /// # Errors
    /// [`ChartError::NotSquare`], and [`ChartError::Empty`] when nothing was counted.
    pub fn draw(&self) -> Result<Svg, ChartError> {
        self.check()?;
        let drawn = self.largest();
        let rows: Vec<u64> = drawn.counts.iter().map(|row| row.iter().sum()).collect();
        let layout = Layout::of(&drawn, &rows);
        let mut canvas = Canvas::new(&self.title, layout.width, layout.height);
        let title = fit(&self.title, 16.0, Weight::Bold, layout.width - 2.0 * MARGIN);
        canvas.text(MARGIN, 28.0, &title, Type::ink(16.0).bold());
        let said = "rows: expected · columns: predicted · shade: share of the row";
        canvas.text(MARGIN, 48.0, said, Type::muted(SMALL));
        for (i, label) in layout.labels.iter().enumerate() {
            layout.draw_labels(&mut canvas, i, label);
            let (x, y) = layout.cell(drawn.labels.len(), i);
            let sum = thousands(&rows[i].to_string());
            canvas.text(x + 8.0, y + layout.side / 2.0 + 4.0, &sum, Type::muted(SMALL));
        }
        let (x, _) = layout.cell(drawn.labels.len(), 0);
        canvas.text(x + 8.0, layout.top - 8.0, "rows", Type::muted(SMALL));
        for (i, row) in drawn.counts.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                let share = if rows[i] == 0 { 0.0 } else { count as f64 / rows[i] as f64 };
                let tip = format!(
                    "expected {}, predicted {}: {} of {} ({:.1} %)",
                    drawn.labels[i],
                    drawn.labels[j],
                    thousands(&count.to_string()),
                    thousands(&rows[i].to_string()),
                    100.0 * share
                );
                layout.draw_cell(&mut canvas, (j, i), count, share, &tip);
            }
        }
        Ok(canvas.finish())
    }

    fn check(&self) -> Result<(), ChartError> {
        let labels = self.labels.len();
        let title = || self.title.clone();
        let odd = self.counts.iter().position(|row| row.len() != labels);
        if let Some(row) = odd {
            let got = self.counts[row].len();
            return Err(ChartError::NotSquare { title: title(), row, got, labels });
        }
        if self.counts.len() != labels {
            let row = self.counts.len();
            return Err(ChartError::NotSquare { title: title(), row, got: 0, labels });
        }
        if self.counts.iter().flatten().all(|count| *count == 0) {
            return Err(ChartError::Empty { title: title() });
        }
        Ok(())
    }

    /// The same matrix with its smaller labels put together where there are too many.
    fn largest(&self) -> Self {
        if self.labels.len() <= LABELS {
            return self.clone();
        }
        let size = |label: usize| -> u64 {
            let as_predicted: u64 = self.counts.iter().map(|row| row[label]).sum();
            self.counts[label].iter().sum::<u64>() + as_predicted
        };
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by_key(|label| Reverse(size(*label)));
        let mut kept = order[..LABELS - 1].to_vec();
        kept.sort_unstable();
        let place = |label: usize| kept.iter().position(|it| *it == label).unwrap_or(LABELS - 1);
        let mut counts = vec![vec![0; LABELS]; LABELS];
        for (i, row) in self.counts.iter().enumerate() {
            for (j, count) in row.iter().enumerate() {
                counts[place(i)][place(j)] += count;
            }
        }
        let mut labels: Vec<String> = kept.iter().map(|it| self.labels[*it].clone()).collect();
        labels.push(format!("{} others", self.labels.len() - kept.len()));
        Self { title: self.title.clone(), labels, counts }
    }
}

/// Where things stand.
struct Layout {
    labels: Vec<String>,
    side: f64,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// Whether the labels of columns need more room than their column has.
    turned: bool,
    /// The size of a count.
    digits: f64,
}

impl Layout {
    fn of(matrix: &ConfusionMatrix, rows: &[u64]) -> Self {
        let number = matrix.labels.len();
        let side = (420.0 / number as f64).clamp(26.0, 84.0);
        let wide = |text: &str, size| width(text, size, Weight::Regular);
        let labels: Vec<String> = matrix
            .labels
            .iter()
            .map(|label| if label.trim().is_empty() { "(empty)" } else { label })
            .map(|label| fit(label, SMALL, Weight::Regular, LABEL_ROOM))
            .collect();
        let widest = labels.iter().map(|label| wide(label, SMALL)).fold(0.0, f64::max);
        let turned = widest > side - 6.0;
        let left = MARGIN + widest + 10.0;
        // A turned label leaves its column to the right, by half its width at 45 degrees.
        let slope = widest * std::f64::consts::FRAC_1_SQRT_2;
        let top = 62.0 + if turned { slope + 14.0 } else { 20.0 };
        let sums = rows.iter().map(|sum| wide(&thousands(&sum.to_string()), SMALL));
        let beside = sums.fold(wide("rows", SMALL), f64::max) + 8.0 + MARGIN;
        let overhang = if turned { slope - side / 2.0 + 4.0 } else { 0.0 };
        let longest = matrix.counts.iter().flatten().max().copied().unwrap_or(0);
        let room = (side - 6.0) / wide(&thousands(&longest.to_string()), 1.0);
        let body = left + number as f64 * side;
        Self {
            labels,
            side,
            left,
            top,
            width: (body + beside.max(overhang + MARGIN)).max(430.0),
            height: top + number as f64 * side + MARGIN,
            turned,
            digits: room.min(15.0),
        }
    }

    fn cell(&self, column: usize, row: usize) -> (f64, f64) {
        (self.left + column as f64 * self.side, self.top + row as f64 * self.side)
    }

    fn draw_labels(&self, canvas: &mut Canvas, number: usize, label: &str) {
        let (x, y) = self.cell(number, number);
        let middle = self.side / 2.0;
        canvas.text(self.left - 8.0, y + middle + 4.0, label, Type::ink(SMALL).end());
        if self.turned {
            let how = Type::ink(SMALL).turned(-45.0);
            canvas.text(x + middle, self.top - 8.0, label, how);
        } else {
            canvas.text(x + middle, self.top - 8.0, label, Type::ink(SMALL).middle());
        }
    }

    fn draw_cell(
        &self,
        canvas: &mut Canvas,
        (column, row): (usize, usize),
        count: u64,
        share: f64,
        tip: &str,
    ) {
        let (x, y) = self.cell(column, row);
        let [r, g, b] = SHADE;
        let tip = escape(tip);
        canvas.raw(format_args!(
            "<g><title>{tip}</title><rect class=\"shade\" x=\"{}\" y=\"{}\" width=\"{}\" \
             height=\"{}\" fill=\"#{r:02x}{g:02x}{b:02x}\" fill-opacity=\"{share:.3}\"/>\
             <rect class=\"grid\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" \
             stroke=\"{GRID}\"/></g>",
            Px(x),
            Px(y),
            Px(self.side),
            Px(self.side),
            Px(x),
            Px(y),
            Px(self.side),
            Px(self.side),
        ));
        // A zero says nothing and hides what does.
        if count > 0 && self.digits >= 7.0 {
            let color = if is_dark(share) { ("on-shade", "#ffffff") } else { Type::ink(1.0).color };
            let how = Type { color, ..Type::ink(self.digits).middle() };
            let text = thousands(&count.to_string());
            canvas.text(x + self.side / 2.0, y + self.side / 2.0 + self.digits * 0.36, &text, how);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(counts: &[&[u64]]) -> ConfusionMatrix {
        ConfusionMatrix {
            title: "Confusions".into(),
            labels: (0..counts.len()).map(|i| format!("label {i}")).collect(),
            counts: counts.iter().map(|row| row.to_vec()).collect(),
        }
    }

    #[test]
    fn a_matrix_must_be_square_and_not_empty() {
        let draw = |counts: &[&[u64]]| matrix(counts).draw();
        assert!(matches!(
            draw(&[&[1, 2], &[3]]),
            Err(ChartError::NotSquare { row: 1, got: 1, .. })
        ));
        let mut short = matrix(&[&[1, 2], &[3, 4]]);
        short.counts.pop();
        assert!(matches!(short.draw(), Err(ChartError::NotSquare { .. })));
        assert!(matches!(draw(&[&[0, 0], &[0, 0]]), Err(ChartError::Empty { .. })));
        assert!(matches!(draw(&[]), Err(ChartError::Empty { .. })));
    }

    #[test]
    fn shades_are_shares_of_the_row() {
        let svg = matrix(&[&[3, 1], &[0, 8]]).draw().unwrap();
        let shades: Vec<&str> = svg
            .as_str()
            .split("fill-opacity=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(shades, ["0.750", "0.250", "0.000", "1.000"]);
        assert!(svg.as_str().contains("expected label 0, predicted label 1: 1 of 4 (25.0 %)"));
    }

    #[test]
    fn of_many_labels_the_small_ones_stand_together_and_no_row_is_lost() {
        let mut whole = matrix(&[]);
        whole.labels = (0..120).map(|i| format!("label {i}")).collect();
        whole.counts =
            (0..120).map(|i| (0..120).map(|j| u64::from(i == j) * i).collect()).collect();
        let drawn = whole.largest();
        assert_eq!((drawn.labels.len(), drawn.labels[29].as_str()), (30, "91 others"));
        let sum = |matrix: &ConfusionMatrix| matrix.counts.iter().flatten().sum::<u64>();
        assert_eq!(sum(&drawn), sum(&whole));
        assert_eq!(drawn.labels[0], "label 91");
        whole.draw().unwrap();
    }

    #[test]
    fn long_and_hostile_labels_are_cut_and_escaped() {
        let mut matrix = matrix(&[&[1, 0], &[0, 1]]);
        matrix.labels = vec!["<b>&\"".into(), "a label that is ".repeat(20)];
        let svg = matrix.draw().unwrap();
        assert!(svg.as_str().contains(">&lt;b&gt;&amp;&quot;</text>"));
        assert!(svg.as_str().contains("…</text>") && svg.size().0 < 700);
    }
}
