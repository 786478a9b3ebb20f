//! The rates as bars, an SVG picture that takes light and dark from the reader's settings.

use std::error::Error;
use std::path::Path;

use gradus_cli::{Failure, Outcome};
use plotters::prelude::*;

use crate::measure::{Line, Report};

/// Okabe and Ito's blue and vermilion, which the colour-blind can tell apart too.
const BAR: RGBColor = RGBColor(0, 114, 178);
const LIMIT: RGBColor = RGBColor(213, 94, 0);
const WIDTH: u32 = 720;
/// Height of a step, and of what is above and below the steps.
const STEP: u32 = 30;
const FRAME: u32 = 96;

/// Writes the picture.
pub fn write(report: &Report, path: &Path) -> Outcome {
    let svg = svg(report).map_err(|error| Failure::error(format!("the plot: {error}")))?;
    std::fs::write(path, svg)
        .map_err(|error| Failure::error(format!("{}: {error}", path.display())))
}

/// A rate of a step, and the same of the machine: of multiply-adds, or of memory.
fn rate(line: &Line, report: &Report) -> Option<(f64, f64)> {
    let speed = line.speed?;
    Some(speed.gflops.map_or((speed.gbytes, report.limit_gbytes), |x| (x, report.limit_gflops)))
}

fn svg(report: &Report) -> Result<String, Box<dyn Error>> {
    let timed: Vec<&Line> = report.steps.iter().filter(|line| line.speed.is_some()).collect();
    let rates: Vec<(f64, f64)> = timed.iter().filter_map(|line| rate(line, report)).collect();
    let Some(&(_, limit)) = rates.first() else { return Err("no step was timed".into()) };
    let unit = if timed[0].speed.is_some_and(|s| s.gflops.is_some()) { "GFLOP/s" } else { "GB/s" };
    let longest = rates.iter().map(|rate| rate.0).fold(limit, f64::max) * 1.12;
    let (count, mut svg) = (timed.len(), String::new());
    {
        let size = (WIDTH, FRAME + STEP * count as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(&report.title, ("sans-serif", 16))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(170)
            .build_cartesian_2d(0.0..longest, (0..count - 1).into_segmented())?;
        let name = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(i) if *i < count => {
                let line = timed[count - 1 - i];
                line.step.map_or(line.name.clone(), |n| format!("{n} {}", line.name))
            }
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .label_style(("sans-serif", 14))
            .x_desc(format!("{unit} on {}; the line is its limit", report.machine.name))
            .y_labels(count)
            .y_label_formatter(&name)
            .draw()?;
        let edge = |at: usize| match at < count {
            true => SegmentValue::Exact(at),
            false => SegmentValue::Last,
        };
        let bars = rates.iter().enumerate().map(|(i, (rate, _))| {
            let at = count - 1 - i;
            let ends = [(0.0, SegmentValue::Exact(at)), (*rate, edge(at + 1))];
            let mut bar = Rectangle::new(ends, BAR.mix(0.75).filled());
            bar.set_margin(5, 5, 0, 0);
            bar
        });
        chart.draw_series(bars)?;
        let numbers = rates.iter().enumerate().map(|(i, (rate, _))| {
            let at = (*rate, SegmentValue::CenterOf(count - 1 - i));
            EmptyElement::at(at)
                + Text::new(super::table::short(*rate), (5, -6), ("sans-serif", 13))
        });
        chart.draw_series(numbers)?;
        let ends = [(limit, edge(0)), (limit, edge(count))];
        chart.draw_series(LineSeries::new(ends, LIMIT.stroke_width(2)))?;
        area.present()?;
    }
    Ok(adapted(&svg))
}

/// Text and axes in the reader's colour, on their background.
fn adapted(svg: &str) -> String {
    let style = "<style>svg { color: #1a1a1a } \
        @media (prefers-color-scheme: dark) { svg { color: #e6e6e6 } }</style>";
    let svg = svg.replace("\"#000000\"", "\"currentColor\"");
    match svg.find('>') {
        Some(end) => format!("{}{style}{}", &svg[..=end], &svg[end + 1..]),
        None => svg,
    }
}
