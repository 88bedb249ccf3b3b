//! Lines over a common axis: learning curves.

use std::fmt::Write as _;

use crate::{
    ChartError, Svg,
    canvas::{Canvas, Px, Type, escape},
    letters::{Weight, fit, width},
    palette::{GRID, MUTED, class, dashes, series},
    ticks::{Scale, figure},
};

const WIDTH: f64 = 760.0;
const PLOT_HEIGHT: f64 = 300.0;
const MARGIN: f64 = 16.0;
const SMALL: f64 = 12.0;
/// The most a name in the legend takes.
const NAME_ROOM: f64 = 260.0;
/// Above this many points a line is thinned out to what its pixels can show.
const POINTS: usize = 2_000;
/// Above this many points a line has no marks.
const MARKED: usize = 60;

/// Lines over a common axis.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// What stands above it.
    pub title: String,
    /// What runs from left to right, with its unit.
    pub x: String,
    /// What runs upwards, with its unit.
    pub y: String,
    /// The lines; what is drawn later lies above.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// From left to right. Where a value is not a number, the line has a gap.
    pub points: Vec<(f64, f64)>,
    /// Its colour's number; lines of one number belong together.
    pub series: usize,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stroke {
    /// Strong, with a mark at each point where there are few.
    #[default]
    Strong,
    /// Thin: noisy values that others stand before.
    Faint,
}

impl Line {
    /// A strong line of the first colour.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, series: 0, stroke: Stroke::Strong }
    }

    fn finite(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

impl LineChart {
    /// A chart without lines.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        Self { title: title.into(), x: x.into(), y: y.into(), lines: Vec::new() }
    }

    /// Draws it.
    ///
    /// # Errors
    /// [`ChartError::Empty`] when no line has a point that is a number.
    pub fn draw(&self) -> Result<Svg, ChartError> {
        let points = || self.lines.iter().flat_map(Line::finite);
        if points().next().is_none() {
            return Err(ChartError::Empty { title: self.title.clone() });
        }
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (low, high) = ends(&mut points().map(|(x, _)| x));
        let x = Scale::counting(low, high, 8);
        let (low, high) = ends(&mut points().map(|(_, y)| y));
        let y = Scale::covering(low, high, 5);

        let legend = self.legend();
        let numbers = y.ticks.iter().map(|tick| width(&y.label(*tick), SMALL, Weight::Regular));
        let left = MARGIN + numbers.fold(0.0, f64::max) + 8.0;
        let top = 44.0 + legend.rows as f64 * 20.0 + 26.0;
        let plot = Plot { left, top, right: WIDTH - 24.0, bottom: top + PLOT_HEIGHT, x, y };

        let mut canvas = Canvas::new(&self.title, WIDTH, plot.bottom + 50.0);
        let title = fit(&self.title, 16.0, Weight::Bold, WIDTH - 2.0 * MARGIN);
        canvas.text(MARGIN, 28.0, &title, Type::ink(16.0).bold());
        legend.draw(&mut canvas);
        plot.draw_axes(&mut canvas, &self.x, &self.y);
        for line in &self.lines {
            plot.draw_line(&mut canvas, line);
        }
        Ok(canvas.finish())
    }

    /// Where each name of the legend stands; a single line needs none.
    fn legend(&self) -> Legend<'_> {
        let mut legend = Legend { entries: Vec::new(), rows: 0 };
        let lines = || self.lines.iter().filter(|line| line.finite().next().is_some());
        if lines().count() < 2 {
            return legend;
        }
        let (mut x, mut row) = (MARGIN, 0);
        for line in lines() {
            let name = fit(&line.name, SMALL, Weight::Regular, NAME_ROOM);
            let room = 30.0 + width(&name, SMALL, Weight::Regular) + 18.0;
            if x > MARGIN && x + room > WIDTH - MARGIN {
                (x, row) = (MARGIN, row + 1);
            }
            legend.entries.push((x, 44.0 + f64::from(row) * 20.0, name, line));
            x += room;
        }
        legend.rows = row as usize + 1;
        legend
    }
}

struct Legend<'a> {
    entries: Vec<(f64, f64, String, &'a Line)>,
    rows: usize,
}

impl Legend<'_> {
    fn draw(&self, canvas: &mut Canvas) {
        for (x, y, name, line) in &self.entries {
            let path = format!("M{} {}H{}", Px(*x), Px(y + 6.0), Px(x + 24.0));
            canvas.raw(format_args!("{}", stroke(line, &path)));
            if line.stroke == Stroke::Strong {
                canvas.raw(format_args!("{}", mark(line.series, x + 12.0, y + 6.0, "")));
            }
            canvas.text(x + 30.0, y + 10.0, name, Type::ink(SMALL));
        }
    }
}

/// The area of the lines, in pixels, and its axes.
struct Plot {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
}

impl Plot {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (x, y) = (self.x.share(x), self.y.share(y));
        (self.left + x * (self.right - self.left), self.bottom - y * (self.bottom - self.top))
    }

    fn draw_axes(&self, canvas: &mut Canvas, x: &str, y: &str) {
        let room = self.right - MARGIN;
        let name = fit(y, SMALL, Weight::Regular, room);
        canvas.text(MARGIN, self.top - 12.0, &name, Type::muted(SMALL));
        for tick in &self.y.ticks {
            let (_, y) = self.at((self.x.low, *tick));
            canvas.line((self.left, y), (self.right, y), "grid", GRID);
            let label = self.y.label(*tick);
            canvas.text(self.left - 8.0, y + 4.0, &label, Type::muted(SMALL).end());
        }
        canvas.line((self.left, self.bottom), (self.right, self.bottom), "axis", MUTED);
        for tick in &self.x.ticks {
            let (x, _) = self.at((*tick, self.y.low));
            canvas.line((x, self.bottom), (x, self.bottom + 5.0), "axis", MUTED);
            let label = self.x.label(*tick);
            canvas.text(x, self.bottom + 19.0, &label, Type::muted(SMALL).middle());
        }
        let middle = f64::midpoint(self.left, self.right);
        let name = fit(x, SMALL, Weight::Regular, self.right - self.left);
        canvas.text(middle, self.bottom + 38.0, &name, Type::muted(SMALL).middle());
    }

    fn draw_line(&self, canvas: &mut Canvas, line: &Line) {
        let points = self.thinned(line);
        let mut path = String::new();
        let mut pen_is_down = false;
        for point in &points {
            let (x, y) = self.at(*point);
            if !(x.is_finite() && y.is_finite()) {
                pen_is_down = false;
                continue;
            }
            let step = if pen_is_down { 'L' } else { 'M' };
            let _ = write!(path, "{step}{} {}", Px(x), Px(y));
            pen_is_down = true;
        }
        canvas.raw(format_args!("{}", stroke(line, &path)));
        let alone = line.finite().count() == 1;
        if alone || (line.stroke == Stroke::Strong && points.len() <= MARKED) {
            for point in line.finite() {
                let (x, y) = self.at(point);
                let tip =
                    format!("{}: {} at {}", line.name, figure(point.1), self.x.label(point.0));
                canvas.raw(format_args!("{}", mark(line.series, x, y, &tip)));
            }
        }
    }

    /// The points that pixels can show: of each column the lowest and the highest.
    fn thinned(&self, line: &Line) -> Vec<(f64, f64)> {
        if line.points.len() <= POINTS {
            return line.points.clone();
        }
        let mut kept: Vec<(f64, f64)> = Vec::new();
        let column = |point: &(f64, f64)| self.at(*point).0.floor() as i64;
        for points in line.points.chunk_by(|a, b| column(a) == column(b)) {
            let numbers = || points.iter().enumerate().filter(|(_, point)| point.1.is_finite());
            let by_height =
                |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
            let ends = [numbers().min_by(by_height), numbers().max_by(by_height)];
            let mut ends: Vec<_> = ends.into_iter().flatten().collect();
            ends.sort_by_key(|(i, _)| *i);
            ends.dedup_by_key(|(i, _)| *i);
            if ends.is_empty() {
                kept.push((points[0].0, f64::NAN));
            }
            kept.extend(ends.into_iter().map(|(_, point)| *point));
        }
        kept
    }
}

fn stroke(line: &Line, path: &str) -> String {
    let (class, color) = (class(line.series), series(line.series));
    let (look, width, opacity) = match line.stroke {
        Stroke::Strong => ("stroke", "2", ""),
        Stroke::Faint => ("stroke faint", "1.2", " stroke-opacity=\"0.55\""),
    };
    let dashes = match dashes(line.series) {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    };
    format!(
        "<path class=\"{class} {look}\" d=\"{path}\" fill=\"none\" stroke=\"{color}\" \
         stroke-width=\"{width}\" stroke-linejoin=\"round\"{opacity}{dashes}/>"
    )
}

fn mark(number: usize, x: f64, y: f64, tip: &str) -> String {
    let (class, color) = (class(number), series(number));
    let tip =
        if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) };
    format!(
        "<circle class=\"{class} fill\" cx=\"{}\" cy=\"{}\" r=\"3.2\" fill=\"{color}\">{tip}</circle>",
        Px(x),
        Px(y)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        let mut chart = LineChart::new("Loss", "update", "loss");
        chart.lines.push(Line::new("run", points));
        chart
    }

    #[test]
    fn a_line_without_numbers_is_an_error() {
        for points in [vec![], vec![(1.0, f64::NAN)], vec![(f64::INFINITY, 1.0)]] {
            assert!(matches!(chart(points).draw(), Err(ChartError::Empty { .. })));
        }
        assert!(matches!(LineChart::new("t", "x", "y").draw(), Err(ChartError::Empty { .. })));
    }

    #[test]
    fn a_gap_stands_where_a_value_is_no_number() {
        let svg = chart(vec![(1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 1.0), (5.0, 1.5)]);
        let svg = svg.draw().unwrap();
        let path = svg.as_str().split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert!(!svg.as_str().contains("NaN"));
    }

    #[test]
    fn lines_run_from_left_to_right_and_their_ends_touch_the_axes() {
        let svg = chart(vec![(1.0, 0.0), (11.0, 1.0)]).draw().unwrap();
        let path = svg.as_str().split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        let left = MARGIN + width("0.0", SMALL, Weight::Regular) + 8.0;
        assert_eq!(path, format!("M{} 370L736 70", Px(left)));
    }

    #[test]
    fn a_long_line_is_thinned_out_and_keeps_its_spikes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[54_321].1 = 9.0;
        let svg = chart(points).draw().unwrap();
        assert!(svg.as_str().len() < 60_000, "{}", svg.as_str().len());
        // The axis runs from 0 to 10 over 300 pixels.
        let path = svg.as_str().split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        let heights = path.split([' ', 'L', 'M']).skip(2).step_by(2);
        assert_eq!(heights.filter(|y| *y == "100").count(), 1, "the spike is there");
    }

    #[test]
    fn names_are_escaped_and_cut() {
        let mut chart = chart(vec![(1.0, 1.0)]);
        chart.lines.push(Line::new("<script> & ".repeat(30), vec![(1.0, 2.0)]));
        let svg = chart.draw().unwrap();
        assert!(svg.as_str().contains("&lt;script&gt; &amp; &lt;script&gt;"));
        assert!(!svg.as_str().contains("<script") && svg.as_str().contains('…'));
    }

    #[test]
    fn the_picture_is_the_same_every_time() {
        let mut chart = LineChart::new("Loss", "update", "loss (nats per token)");
        let training = vec![(1.0, 2.0), (2.0, 1.5), (3.0, 1.25), (4.0, 1.0)];
        chart.lines.push(Line { stroke: Stroke::Faint, ..Line::new("training", training) });
        chart.lines.push(Line::new("validation", vec![(2.0, 1.75), (4.0, 1.5)]));
        insta::assert_snapshot!(chart.draw().unwrap());
    }
}
