//! Curves and bars as SVG that takes the colours of the page.

use std::error::Error;
use std::ops::Range;

use maud::{Markup, PreEscaped};
use plotters::coord::Shift;
use plotters::prelude::*;

/// The size of a picture in its own units; the page scales it.
const SIZE: (u32, u32) = (640, 300);

/// Colours that can be told apart on white and on black, also by the colour-blind (Okabe and Ito).
pub(super) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

/// A named curve.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Drawn behind the others, pale and without a name.
    pub pale: bool,
}

impl Line {
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Line {
        Line { name: name.into(), points, pale: false }
    }
}

/// Curves over the steps of a run. `None` where no curve has a point.
pub fn curves(title: &str, lines: &[Line]) -> Option<Markup> {
    let lines: Vec<&Line> = lines.iter().filter(|line| !line.points.is_empty()).collect();
    (!lines.is_empty()).then(|| picture(title, |area| draw_curves(area, &lines)))
}

/// How many of the `examples` have each length in tokens, in equal bins. `None` without examples.
pub fn histogram(title: &str, values: &[usize], examples: &str) -> Option<Markup> {
    let (low, high) = (*values.iter().min()?, *values.iter().max()?);
    let width = (high - low + 1).div_ceil(24).max(1);
    let mut bins = vec![0usize; (high - low) / width + 1];
    values.iter().for_each(|value| bins[(value - low) / width] += 1);
    let bars: Vec<Bar> = (0..)
        .zip(&bins)
        .map(|(i, &count)| Bar {
            from: (low + i * width) as f64,
            to: (low + (i + 1) * width) as f64,
            height: count as f64,
        })
        .collect();
    Some(picture(title, |area| draw_bars(area, &bars, ("tokens", examples), None)))
}

/// A bar from one place to another.
pub struct Bar {
    pub from: f64,
    pub to: f64,
    pub height: f64,
}

/// Bars of shares between 0 and 1, with the line on which they should end.
pub fn calibration(title: &str, bars: &[Bar]) -> Markup {
    picture(title, |area| draw_bars(area, bars, ("probability", "share that is right"), Some(1.0)))
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

/// A picture with its title. What cannot be drawn leaves the reason in its place.
pub(super) fn picture(title: &str, draw: impl FnOnce(&Area) -> Drawn) -> Markup {
    let mut svg = String::new();
    let drawn = draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area());
    if let Err(error) = drawn {
        return maud::html! { p { "The picture cannot be drawn: " (error) } };
    }
    // The page sets the size and the colour of text and axes.
    let (width, height) = SIZE;
    let svg = svg
        .replacen(&format!("width=\"{width}\" height=\"{height}\" "), "role=\"img\" ", 1)
        .replace("\"#000000\"", "\"currentColor\"")
        .replace(" xmlns=\"http://www.w3.org/2000/svg\"", "")
        .replace("font-family=\"sans-serif\"", "");
    maud::html! { figure { figcaption { (title) } (PreEscaped(svg)) } }
}

/// A chart in a picture, with room for the numbers of its axes.
pub(super) fn frame<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).x_label_area_size(34).y_label_area_size(64);
    chart
}

/// The range of some values, a little wider.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    values.for_each(|value| (low, high) = (low.min(value), high.max(value)));
    let margin = if high > low { (high - low) * 0.05 } else { low.abs().max(1.0) * 0.1 };
    (low - margin)..(high + margin)
}

fn draw_curves(area: &Area, lines: &[&Line]) -> Drawn {
    let xs = range(lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)));
    let ys = range(lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    let xs = xs.start.max(0.0)..xs.end;
    let mut chart = frame(area).build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    let pale = lines.iter().filter(|line| line.pale);
    for line in pale {
        chart.draw_series(LineSeries::new(line.points.clone(), COLOURS[0].mix(0.25)))?;
    }
    let named: Vec<_> = lines.iter().filter(|line| !line.pale).collect();
    for (i, line) in named.iter().enumerate() {
        let style = COLOURS[i % COLOURS.len()].stroke_width(2);
        if line.points.len() == 1 {
            chart.draw_series([Circle::new(line.points[0], 4, style.filled())])?;
        }
        chart
            .draw_series(LineSeries::new(line.points.clone(), style))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    if named.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    Ok(area.present()?)
}

fn draw_bars(area: &Area, bars: &[Bar], (x, y): (&str, &str), top: Option<f64>) -> Drawn {
    let from = bars.first().map_or(0.0, |bar| bar.from);
    let to = bars.last().map_or(1.0, |bar| bar.to);
    let highest = bars.iter().map(|bar| bar.height).fold(0.0, f64::max);
    let mut chart = frame(area).build_cartesian_2d(from..to, 0.0..top.unwrap_or(highest * 1.05))?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    let bar = |bar: &Bar| {
        Rectangle::new([(bar.from, 0.0), (bar.to, bar.height)], COLOURS[0].mix(0.6).filled())
    };
    chart.draw_series(bars.iter().map(bar))?;
    if top.is_some() {
        let diagonal = [(from, from), (to, to)];
        chart.draw_series(LineSeries::new(diagonal, COLOURS[1].stroke_width(2)))?;
    }
    Ok(area.present()?)
}

/// A number for an axis.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e6).contains(&a) => format!("{value:.1e}"),
        a if a >= 100.0 => format!("{value:.0}"),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_take_the_colours_of_the_page() {
        let points = (0..50).map(|i| (f64::from(i), 1.0 / f64::from(i + 1))).collect();
        let svg = curves("loss", &[Line::new("<train>", points)]).unwrap().into_string();
        assert!(
            svg.contains("viewBox") && svg.contains("currentColor") && !svg.contains("#000000")
        );
        assert!(!svg.contains("<train>"), "names are escaped");
        assert!(curves("nothing", &[Line::new("empty", Vec::new())]).is_none());
        assert!(curves("one point", &[Line::new("dev", vec![(3.0, 0.5)])]).is_some());
    }

    #[test]
    fn every_length_is_in_a_bin() {
        for values in [vec![3], vec![1, 500], (0..1000).collect()] {
            assert!(histogram("lengths", &values, "texts").is_some());
        }
        assert!(histogram("lengths", &[], "texts").is_none());
    }

    #[test]
    fn numbers_of_an_axis() {
        let shown = [0.0, 0.5, 1e-5, 123.4, 2e7, 0.25].map(short);
        assert_eq!(shown, ["0", "0.5", "1.0e-5", "123", "2.0e7", "0.25"]);
    }
}
