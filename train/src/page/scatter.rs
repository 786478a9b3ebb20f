//! Points: a number against the value of a flag, and a model's numbers against the true ones.

use maud::Markup;
use plotters::prelude::*;

use super::plot::{Area, COLOURS, Drawn, frame, picture, range, short};

/// The values of a flag.
pub enum Axis {
    Numbers,
    /// Numbers above 0, even in the logarithm.
    Log,
    /// Names: a point is at the place of its name, from 0.
    Names(Vec<String>),
}

impl Axis {
    /// The place of a value on the axis.
    fn place(&self, value: f64) -> f64 {
        if let Axis::Log = self { value.log10() } else { value }
    }

    /// The text of a place.
    fn label(&self, place: f64) -> String {
        match self {
            Axis::Numbers => short(place),
            Axis::Log => short(10f64.powf(place)),
            Axis::Names(names) => {
                let near = place.round();
                let name = names.get(near as usize).filter(|_| (near - place).abs() < 1e-6);
                name.cloned().unwrap_or_default()
            }
        }
    }
}

/// Points over an axis; the first stands out. `None` where there are none.
pub fn scatter(title: &str, axis: &Axis, points: &[(f64, f64)]) -> Option<Markup> {
    let points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (axis.place(x), y)).collect();
    (!points.is_empty()).then(|| picture(title, |area| draw(area, axis, &points)))
}

fn draw(area: &Area, axis: &Axis, points: &[(f64, f64)]) -> Drawn {
    let (xs, labels) = match axis {
        Axis::Names(names) => (-0.5..names.len() as f64 - 0.5, names.len().min(12)),
        _ => (range(points.iter().map(|point| point.0)), 6),
    };
    let ys = range(points.iter().map(|point| point.1));
    let mut chart = frame(area).build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .x_labels(labels)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|place| axis.label(*place))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    // The first last, so that no other hides it.
    for (i, &point) in points.iter().enumerate().rev() {
        let (colour, size) = if i == 0 { (COLOURS[1], 7) } else { (COLOURS[0], 5) };
        chart.draw_series([Circle::new(point, size, colour.mix(0.75).filled())])?;
    }
    Ok(area.present()?)
}

/// Points of a picture; of more, some at equal distances.
const MAX_POINTS: usize = 1000;

/// What a model says over the true numbers, and the line on which the points should lie. `None`
/// where there are none.
pub fn over_truth(title: &str, points: &[(f64, f64)]) -> Option<Markup> {
    let every = points.len().div_ceil(MAX_POINTS).max(1);
    let points: Vec<_> = points.iter().copied().step_by(every).collect();
    (!points.is_empty()).then(|| picture(title, |area| draw_over_truth(area, &points)))
}

fn draw_over_truth(area: &Area, points: &[(f64, f64)]) -> Drawn {
    let both = range(points.iter().flat_map(|point| [point.0, point.1]));
    let mut chart = frame(area).build_cartesian_2d(both.clone(), both.clone())?;
    chart
        .configure_mesh()
        .x_desc("the number in the data")
        .y_desc("the model's")
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    let dot = |&point: &(f64, f64)| Circle::new(point, 3, COLOURS[0].mix(0.5).filled());
    chart.draw_series(points.iter().map(dot))?;
    let diagonal = [(both.start, both.start), (both.end, both.end)];
    chart.draw_series(LineSeries::new(diagonal, COLOURS[1].stroke_width(2)))?;
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_drawn_over_every_axis() {
        let names = Axis::Names(vec!["cls".into(), "<mean>".into()]);
        for axis in [Axis::Numbers, Axis::Log, names] {
            let points = [(1.0, 0.5), (0.01, 0.25), (1.0, 0.75)];
            let svg = scatter("accuracy", &axis, &points).unwrap().into_string();
            assert_eq!(svg.matches("<circle").count(), 3);
            assert!(!svg.contains("<mean>"), "names are escaped");
            assert!(scatter("nothing", &axis, &[]).is_none());
        }
        assert!(scatter("one", &Axis::Numbers, &[(3.0, 0.5)]).is_some());
    }

    #[test]
    fn many_numbers_are_thinned_out() {
        let points: Vec<_> = (0..2500).map(|i| (f64::from(i), 0.5)).collect();
        let svg = over_truth("numbers", &points).unwrap().into_string();
        assert_eq!(svg.matches("<circle").count(), 834);
        assert!(over_truth("nothing", &[]).is_none());
    }

    #[test]
    fn labels_are_values_of_the_flag() {
        assert_eq!(Axis::Log.label(-4.0), "1.0e-4");
        assert_eq!(Axis::Numbers.label(0.25), "0.25");
        let names = Axis::Names(vec!["cls".into(), "mean".into()]);
        assert_eq!([1.0, 0.5, 2.0, -0.5].map(|at| names.label(at)), ["mean", "", "", ""]);
    }
}
