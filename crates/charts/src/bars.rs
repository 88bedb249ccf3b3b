//! Bars with intervals: figures side by side.

use crate::{
    ChartError, Svg,
    canvas::{Canvas, Px, Type, escape},
    letters::{Weight, fit, width},
    palette::{GRID, INK, MUTED, class, series},
    ticks::{Scale, figure},
};

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
const SMALL: f64 = 12.0;
const BAR: f64 = 16.0;
/// The most that a name takes.
const NAME_ROOM: f64 = 190.0;

/// Figures of one unit, side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct BarChart {
    /// What stands above it.
    pub title: String,
    /// What the bars measure, with its unit.
    pub axis: String,
    /// The figures, from top to bottom.
    pub groups: Vec<BarGroup>,
}

/// One figure of one or several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct BarGroup {
    /// The figure's name.
    pub name: String,
    /// The runs' bars.
    pub bars: Vec<Bar>,
}

/// A figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The run's name; a chart of one run may leave it empty.
    pub name: String,
    /// The figure. One that is not a number has no bar, and says so.
    pub value: f64,
    /// The interval it may have come from.
    pub interval: Option<(f64, f64)>,
    /// Its colour's number: the run's.
    pub series: usize,
    /// What it is to be compared with.
    pub mark: Option<Mark>,
}

/// A value that stands on a bar as a dashed line.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What the legend calls it.
    pub name: String,
    /// The value.
    pub value: f64,
}

impl Bar {
    /// What reaches farthest to either side.
    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let (low, high) = self.interval.unzip();
        let mark = self.mark.as_ref().map(|mark| mark.value);
        let all = [Some(self.value), low, high, mark].into_iter().flatten();
        all.filter(|value| value.is_finite())
    }

    /// The value as text, with its interval.
    fn said(&self) -> String {
        if !self.value.is_finite() {
            return "not defined".to_owned();
        }
        let value = figure(self.value);
        match self.interval {
            Some((low, high)) if low.is_finite() && high.is_finite() => {
                format!("{value} [{}, {}]", figure(low), figure(high))
            }
            _ => value,
        }
    }
}

impl BarChart {
    /// Draws it. Bars begin at 0.
    ///
    /// # Errors
    /// [`ChartError::Empty`] when no bar has a value that is a number.
    pub fn draw(&self) -> Result<Svg, ChartError> {
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        if !bars().any(|bar| bar.value.is_finite()) {
            return Err(ChartError::Empty { title: self.title.clone() });
        }
        let ends = bars()
            .flat_map(Bar::values)
            .fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let wide = |text: &str| width(text, SMALL, Weight::Regular);
        let names = bars().map(|bar| &bar.name).chain(self.groups.iter().map(|group| &group.name));
        let widest = names.map(|name| wide(name).min(NAME_ROOM)).fold(0.0, f64::max);
        let said = bars().map(|bar| wide(&bar.said())).fold(0.0, f64::max);
        let marks = self.marks();
        let legend = if marks.is_empty() { 0.0 } else { 22.0 };
        let layout = Layout {
            left: MARGIN + widest + 10.0,
            right: WIDTH - MARGIN - said - 12.0,
            top: 44.0 + legend,
            bottom: 44.0 + legend + 8.0 + self.groups.iter().map(height).sum::<f64>(),
            scale: Scale::covering(ends.0, ends.1, 5),
        };
        let mut canvas = Canvas::new(&self.title, WIDTH, layout.bottom + 48.0);
        let title = fit(&self.title, 16.0, Weight::Bold, WIDTH - 2.0 * MARGIN);
        canvas.text(MARGIN, 28.0, &title, Type::ink(16.0).bold());
        draw_legend(&mut canvas, &marks);
        layout.draw_axis(&mut canvas, &self.axis);
        let mut y = layout.top + 8.0;
        for group in &self.groups {
            layout.draw_group(&mut canvas, group, y);
            y += height(group);
        }
        let zero = layout.x(0.0);
        canvas.line((zero, layout.top), (zero, layout.bottom), "axis", MUTED);
        Ok(canvas.finish())
    }

    /// The names of what bars are compared with, each once.
    fn marks(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for mark in
            self.groups.iter().flat_map(|group| &group.bars).filter_map(|bar| bar.mark.as_ref())
        {
            if !names.contains(&mark.name.as_str()) {
                names.push(&mark.name);
            }
        }
        names
    }
}

/// A single bar without a name of its own stands beside its figure's name, others below it.
fn is_plain(group: &BarGroup) -> bool {
    matches!(&group.bars[..], [bar] if bar.name.is_empty())
}

fn height(group: &BarGroup) -> f64 {
    let heading = if is_plain(group) { 0.0 } else { 22.0 };
    heading + group.bars.len() as f64 * (BAR + 8.0) + 10.0
}

fn draw_legend(canvas: &mut Canvas, marks: &[&str]) {
    let mut x = MARGIN;
    for name in marks {
        canvas.raw(format_args!("{}", dashed(x + 4.0, 42.0, 56.0)));
        let name = fit(name, SMALL, Weight::Regular, 300.0);
        canvas.text(x + 14.0, 53.0, &name, Type::muted(SMALL));
        x += 14.0 + width(&name, SMALL, Weight::Regular) + 20.0;
    }
}

struct Layout {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    scale: Scale,
}

impl Layout {
    fn x(&self, value: f64) -> f64 {
        self.left + self.scale.share(value) * (self.right - self.left)
    }

    fn draw_axis(&self, canvas: &mut Canvas, name: &str) {
        for tick in &self.scale.ticks {
            let x = self.x(*tick);
            canvas.line((x, self.top), (x, self.bottom), "grid", GRID);
            let label = self.scale.label(*tick);
            canvas.text(x, self.bottom + 17.0, &label, Type::muted(SMALL).middle());
        }
        let middle = f64::midpoint(self.left, self.right);
        let name = fit(name, SMALL, Weight::Regular, WIDTH - 2.0 * MARGIN);
        canvas.text(middle, self.bottom + 36.0, &name, Type::muted(SMALL).middle());
    }

    fn draw_group(&self, canvas: &mut Canvas, group: &BarGroup, mut y: f64) {
        let name = fit(&group.name, SMALL, Weight::Regular, NAME_ROOM);
        if is_plain(group) {
            canvas.text(self.left - 10.0, y + 12.0, &name, Type::ink(SMALL).end());
        } else {
            canvas.text(MARGIN, y + 12.0, &name, Type::ink(SMALL).bold());
            y += 22.0;
        }
        for bar in &group.bars {
            let name = fit(&bar.name, SMALL, Weight::Regular, NAME_ROOM);
            if !name.is_empty() {
                canvas.text(self.left - 10.0, y + 12.0, &name, Type::ink(SMALL).end());
            }
            self.draw_bar(canvas, group, bar, y);
            y += BAR + 8.0;
        }
    }

    fn draw_bar(&self, canvas: &mut Canvas, group: &BarGroup, bar: &Bar, y: f64) {
        let said = bar.said();
        canvas.text(self.right + 12.0, y + 12.0, &said, Type::ink(SMALL));
        if !bar.value.is_finite() {
            return;
        }
        let (zero, end) = (self.x(0.0), self.x(bar.value));
        let (class, color) = (class(bar.series), series(bar.series));
        let tip = escape(&format!("{} {}: {said}", group.name, bar.name));
        canvas.raw(format_args!(
            "<rect class=\"{class} fill\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" \
             fill=\"{color}\" fill-opacity=\"0.85\"><title>{tip}</title></rect>",
            Px(zero.min(end)),
            Px(y),
            Px((end - zero).abs()),
            Px(BAR)
        ));
        if let Some((low, high)) = bar.interval.filter(|(low, high)| (low + high).is_finite()) {
            let (low, high, middle) = (self.x(low), self.x(high), y + BAR / 2.0);
            canvas.line((low, middle), (high, middle), "whisker", INK);
            for x in [low, high] {
                canvas.line((x, middle - 4.0), (x, middle + 4.0), "whisker", INK);
            }
        }
        if let Some(mark) = bar.mark.as_ref().filter(|mark| mark.value.is_finite()) {
            let x = self.x(mark.value);
            canvas.raw(format_args!("{}", dashed(x, y - 3.0, y + BAR + 3.0)));
        }
    }
}

fn dashed(x: f64, top: f64, bottom: f64) -> String {
    format!(
        "<line class=\"whisker\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\" stroke=\"{INK}\" \
         stroke-width=\"2\" stroke-dasharray=\"3 2\"/>",
        Px(top),
        Px(bottom),
        x = Px(x)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(bars: Vec<Bar>) -> BarChart {
        let groups = vec![BarGroup { name: "accuracy".into(), bars }];
        BarChart { title: "Figures".into(), axis: "share of rows".into(), groups }
    }

    fn bar(name: &str, value: f64, interval: Option<(f64, f64)>) -> Bar {
        Bar { name: name.into(), value, interval, series: 0, mark: None }
    }

    fn widths(svg: &Svg) -> Vec<f64> {
        let bars = svg.as_str().split("<rect class=\"s0 fill\"").skip(1);
        let width = |bar: &str| bar.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        bars.map(|bar| width(bar).unwrap()).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = chart(vec![bar("a", 0.8, None), bar("b", 0.4, None)]).draw().unwrap();
        let found = widths(&svg);
        assert!((found[0] / found[1] - 2.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn figures_below_zero_hang_to_the_left() {
        let svg = chart(vec![bar("a", -0.5, None), bar("b", 1.0, None)]).draw().unwrap();
        assert!((widths(&svg)[1] / widths(&svg)[0] - 2.0).abs() < 0.01);
    }

    #[test]
    fn what_is_not_defined_says_so_and_nothing_at_all_is_an_error() {
        let svg = chart(vec![bar("a", f64::NAN, None), bar("b", 1.0, None)]).draw().unwrap();
        assert!(svg.as_str().contains("not defined") && !svg.as_str().contains("NaN"));
        assert!(matches!(
            chart(vec![bar("a", f64::NAN, None)]).draw(),
            Err(ChartError::Empty { .. })
        ));
        assert!(matches!(chart(vec![]).draw(), Err(ChartError::Empty { .. })));
    }

    #[test]
    fn intervals_and_the_baseline_stand_on_the_bar() {
        let mark = Some(Mark { name: "always `ham`".into(), value: 0.7 });
        let bar = Bar { mark, ..bar("", 0.9, Some((0.85, 0.94))) };
        insta::assert_snapshot!(chart(vec![bar]).draw().unwrap());
    }
}
