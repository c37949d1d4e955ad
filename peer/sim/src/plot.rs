//! A drawing of curves over the number of nodes, both axes logarithmic, as SVG.
//!
//! Whole text, no style sheet, no script: it is the same wherever it is shown.

use std::fmt::Write as _;

/// One curve: what it is, and its points.
#[derive(Debug, Clone)]
pub struct Curve {
    /// For the legend.
    pub label: String,
    /// Nodes, and the value there.
    pub points: Vec<(f64, f64)>,
}

/// Some curves with one unit.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What is shown.
    pub title: String,
    /// The unit of the values.
    pub unit: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 116.0;
/// Colours that are told apart without colour vision too (Okabe and Ito), with their dashes.
const STROKES: [(&str, &str); 5] = [
    ("#0072b2", ""),
    ("#d55e00", "7 4"),
    ("#009e73", "2 3"),
    ("#cc79a7", "10 3 2 3"),
    ("#000", ""),
];

/// Two panels beside each other, as many rows as it takes.
#[must_use]
pub fn draw(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH, rows as f64 * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let (x, y) = ((at % 2) as f64 * WIDTH, (at / 2) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        svg.push_str(&panel.draw());
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// A logarithmic axis from one power of ten to another, on so many units of the drawing.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Each power of ten, and where it is.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let steps = (self.high - self.low).round() as i32;
        let tick = |step| 10_f64.powi(self.low as i32 + step);
        (0..=steps).map(|step| (tick(step), self.at(tick(step)))).collect()
    }
}

impl Panel {
    fn draw(&self) -> String {
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter());
        let x = Axis::around(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::around(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}, {}</text>\n",
            self.title, self.unit
        );
        svg.push_str(&grid(&x, &y));
        for (curve, stroke) in self.curves.iter().zip(STROKES.iter().cycle()) {
            svg.push_str(&curve.draw(&x, &y, stroke));
        }
        svg.push_str(&self.legend());
        svg
    }

    /// Under the axis, in two columns.
    fn legend(&self) -> String {
        let mut svg = String::new();
        for (at, (curve, (colour, dash))) in
            self.curves.iter().zip(STROKES.iter().cycle()).enumerate()
        {
            let x = LEFT + (at % 2) as f64 * (WIDTH - LEFT) / 2.0;
            let y = HEIGHT - BOTTOM + 62.0 + (at / 2) as f64 * 22.0;
            let (end, middle, text) = (x + 34.0, y - 5.0, x + 42.0);
            let _ = writeln!(
                svg,
                "<path d=\"M{x} {middle}H{end}\" stroke=\"{colour}\" stroke-width=\"2.5\" \
                 stroke-dasharray=\"{dash}\"/><text x=\"{text}\" y=\"{y}\">{}</text>",
                curve.label
            );
        }
        svg
    }
}

fn grid(x: &Axis, y: &Axis) -> String {
    let mut svg = String::new();
    for (value, at) in x.ticks() {
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {}V{}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{}</text>",
            y.from,
            y.to,
            y.from + 20.0,
            plain(value)
        );
    }
    for (value, at) in y.ticks() {
        let _ = writeln!(
            svg,
            "<path d=\"M{} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            x.from,
            x.to,
            x.from - 8.0,
            at + 5.0,
            plain(value)
        );
    }
    let middle = f64::midpoint(x.from, x.to);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">nodes</text>",
        y.from + 38.0
    );
    svg
}

impl Curve {
    fn draw(&self, x: &Axis, y: &Axis, (colour, dash): &(&str, &str)) -> String {
        let at = |point: &(f64, f64)| (x.at(point.0), y.at(point.1));
        let shown = || self.points.iter().filter(|point| point.1 > 0.0).map(at);
        let path: Vec<String> = shown().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let mut svg = format!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" \
             stroke-dasharray=\"{dash}\"/>\n",
            path.join("L")
        );
        for (x, y) in shown() {
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
        }
        svg
    }
}

/// A power of ten with its thousands apart.
fn plain(value: f64) -> String {
    if value < 1.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_every_curve_tick_and_label() {
        let curve = |label: &str| Curve {
            label: label.to_owned(),
            points: vec![(100.0, 20.0), (1000.0, 150.0), (10_000.0, 900.0)],
        };
        let panel = Panel {
            title: "times".to_owned(),
            unit: "ms".to_owned(),
            curves: vec![curve("half"), curve("all")],
        };
        let svg = draw(&[panel]);
        for text in ["times, ms", ">half<", ">all<", ">10,000<", ">1,000<", ">nodes<"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 6);
    }

    #[test]
    fn one_point_and_no_point_are_drawn_too() {
        let curves = vec![
            Curve { label: "one".to_owned(), points: vec![(100.0, 1.0)] },
            Curve { label: "none".to_owned(), points: vec![] },
        ];
        let panel = Panel { title: "t".to_owned(), unit: "u".to_owned(), curves };
        let svg = draw(&[panel]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
