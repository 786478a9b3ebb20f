//! A small curve of the loss, drawn with block characters.

/// The heights of a column, the lowest first.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Columns of the curve.
const WIDTH: usize = 16;

/// How much of the smoothed loss stays from step to step.
const SMOOTHING: f64 = 0.95;

/// The smoothed loss of a run, from its first step to the present one, in a few columns.
#[derive(Default)]
pub struct Curve {
    /// The mean smoothed loss of each column.
    columns: Vec<f64>,
    /// Steps of a full column; it doubles when there are more columns than fit.
    steps_per_column: usize,
    /// Steps of the last column.
    steps: usize,
    /// Sum of the losses, each weighed less with every step after it, and of the weights.
    sums: [f64; 2],
}

impl Curve {
    /// Takes the loss of the next step. A loss that is not a number leaves no trace.
    pub fn push(&mut self, loss: f64) {
        if !loss.is_finite() {
            return;
        }
        let [sum, weights] = self.sums;
        self.sums = [sum * SMOOTHING + loss, weights * SMOOTHING + 1.0];
        let smooth = self.smoothed().unwrap_or(loss);
        if self.steps_per_column == 0 || self.steps == self.steps_per_column {
            self.steps_per_column = self.steps_per_column.max(1);
            self.columns.push(0.0);
            self.steps = 0;
        }
        let steps = self.steps as f64;
        if let Some(last) = self.columns.last_mut() {
            *last = (*last * steps + smooth) / (steps + 1.0);
        }
        self.steps += 1;
        if self.columns.len() > WIDTH {
            self.halve();
        }
    }

    /// Joins each two neighbouring columns. The last column of an odd number stays half full.
    fn halve(&mut self) {
        let joined = self.columns.chunks(2).map(|two| two.iter().sum::<f64>() / two.len() as f64);
        let odd = self.columns.len() % 2 == 1;
        self.columns = joined.collect();
        if !odd {
            self.steps += self.steps_per_column;
        }
        self.steps_per_column *= 2;
    }

    /// The smoothed loss of the last step; `None` before the first.
    pub fn smoothed(&self) -> Option<f64> {
        let [sum, weights] = self.sums;
        (weights > 0.0).then(|| sum / weights)
    }

    /// The curve: its lowest value at the bottom, its highest at the top. Empty for fewer than two
    /// columns.
    pub fn draw(&self) -> String {
        if self.columns.len() < 2 {
            return String::new();
        }
        let low = self.columns.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.columns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top = (BLOCKS.len() - 1) as f64;
        let height = |loss: &f64| ((loss - low) / (high - low).max(1e-12) * top).round() as usize;
        self.columns.iter().map(|loss| BLOCKS[height(loss)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_falls_from_the_top_to_the_bottom() {
        let mut curve = Curve::default();
        for step in 0..1000 {
            curve.push(1000.0 - f64::from(step));
            let drawn = curve.draw();
            assert!(drawn.chars().count() <= WIDTH);
            let heights: Vec<char> = drawn.chars().collect();
            assert!(heights.is_sorted_by(|a, b| a >= b), "{drawn}");
        }
        let drawn = curve.draw();
        assert!(drawn.starts_with('█') && drawn.ends_with('▁'), "{drawn}");
    }

    #[test]
    fn the_smoothed_loss_has_no_bias_to_zero() {
        let mut curve = Curve::default();
        assert_eq!(curve.smoothed(), None);
        for _ in 0..3 {
            curve.push(2.0);
        }
        curve.push(f64::NAN);
        assert!((curve.smoothed().unwrap() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn columns_are_means_of_as_many_steps() {
        let mut curve = Curve::default();
        (0..17).for_each(|_| curve.push(1.0));
        assert_eq!((curve.columns.len(), curve.steps_per_column, curve.steps), (9, 2, 1));
        curve.push(1.0);
        assert_eq!((curve.columns.len(), curve.steps), (9, 2));
    }
}
