//! The ranges of a sweep, and what is drawn from them.

use gradus_models::data::hash_text;
use serde_json::{Map, Value, json};

/// The values that a flag may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// Each of these, as likely as the others.
    Values(Vec<Value>),
    /// The whole numbers from one to another, both included.
    Whole { min: i64, max: i64, log: bool },
    /// The numbers from one to another.
    Numbers { min: f64, max: f64, log: bool },
}

impl Range {
    /// Reads `{ values = […] }` or `{ min = …, max = …, log = true }`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: &Value) -> Result<Range, String> {
        let form = "it must be { min = …, max = … }, perhaps with log = true, or { values = […] }";
        let table = value.as_object().ok_or_else(|| format!("is {value}; {form}"))?;
        let known = ["min", "max", "log", "values"];
        if let Some(name) = table.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("has the key `{name}`; {form}"));
        }
        match table.get("values") {
            Some(_) if table.len() > 1 => Err(format!("has values and other keys; {form}")),
            Some(Value::Array(values)) if !values.is_empty() => Ok(Range::Values(values.clone())),
            Some(other) => {
                Err(format!("has the values {other}; name one or more: values = [1, 2]"))
            }
            None => Range::between(table, form),
        }
    }

    fn between(table: &Map<String, Value>, form: &str) -> Result<Range, String> {
        let (Some(min), Some(max)) = (table.get("min"), table.get("max")) else {
            return Err(format!("lacks an end; {form}"));
        };
        let log = match table.get("log") {
            None => false,
            Some(Value::Bool(log)) => *log,
            Some(other) => return Err(format!("has log = {other}; it must be true or false")),
        };
        let (Some(low), Some(high)) = (min.as_f64(), max.as_f64()) else {
            return Err(format!("goes from {min} to {max}, which must be numbers"));
        };
        if low >= high {
            return Err(format!("goes from {min} to {max}; min must be below max"));
        }
        if log && low <= 0.0 {
            return Err(format!("begins at {min}; with log = true it must begin above 0"));
        }
        Ok(match (min.as_i64(), max.as_i64()) {
            (Some(min), Some(max)) => Range::Whole { min, max, log },
            _ => Range::Numbers { min: low, max: high, log },
        })
    }

    /// The values that show whether a flag takes all of the range: each of them, or both ends.
    pub fn extremes(&self) -> Vec<Value> {
        match self {
            Range::Values(values) => values.clone(),
            Range::Whole { min, max, .. } => vec![json!(min), json!(max)],
            Range::Numbers { min, max, .. } => vec![json!(min), json!(max)],
        }
    }

    /// The value of `name` in a trial. It depends on nothing but the range and these three.
    pub fn draw(&self, seed: u64, trial: u64, name: &str) -> Value {
        let at = unit(&format!("{seed} {trial} {name}"));
        match self {
            Range::Values(values) => values[(at * values.len() as f64) as usize].clone(),
            Range::Whole { min, max, log } => {
                let number = between(*min as f64, *max as f64 + 1.0, *log, at).floor();
                json!((number as i64).clamp(*min, *max))
            }
            Range::Numbers { min, max, log } => {
                // Four digits say enough, and are easy to read and to type.
                let number = format!("{:.3e}", between(*min, *max, *log, at));
                json!(number.parse().unwrap_or(*min).clamp(*min, *max))
            }
        }
    }

    /// Whether the range is even in the logarithm.
    pub fn is_log(&self) -> bool {
        matches!(self, Range::Whole { log: true, .. } | Range::Numbers { log: true, .. })
    }
}

/// The number at a share of the way from one to another.
fn between(min: f64, max: f64, log: bool, share: f64) -> f64 {
    match log {
        true => (min.ln() + share * (max.ln() - min.ln())).exp(),
        false => min + share * (max - min),
    }
}

/// A number of [0, 1) that a text decides.
fn unit(text: &str) -> f64 {
    let hash = hash_text(text);
    let bits = u64::from_str_radix(hash.get(..16).unwrap_or_default(), 16).unwrap_or(0);
    // The 53 bits of an f64.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Range, String> {
        let table: toml::Table = format!("range = {text}").parse().unwrap();
        let value: Value = table.try_into().unwrap();
        Range::read(&value["range"])
    }

    fn draws(text: &str) -> Vec<Value> {
        let range = read(text).unwrap();
        (0..400).map(|trial| range.draw(7, trial, "lr")).collect()
    }

    #[test]
    fn draws_fill_their_range_evenly() {
        let numbers = |text: &str| -> Vec<f64> {
            draws(text).iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let below = |numbers: &[f64], at: f64| numbers.iter().filter(|n| **n < at).count();
        let linear = numbers("{ min = 1.0, max = 3.0 }");
        assert!(linear.iter().all(|n| (1.0..=3.0).contains(n)));
        assert!((150..250).contains(&below(&linear, 2.0)), "{}", below(&linear, 2.0));
        let log = numbers("{ min = 1e-5, max = 1e-3, log = true }");
        assert!(log.iter().all(|n| (1e-5..=1e-3).contains(n)));
        assert!((150..250).contains(&below(&log, 1e-4)), "{}", below(&log, 1e-4));
        let whole = draws("{ min = 1, max = 4 }");
        for number in 1..=4 {
            let count = whole.iter().filter(|value| **value == json!(number)).count();
            assert!((60..140).contains(&count), "{number}: {count}");
        }
        let log = draws("{ min = 1, max = 64, log = true }");
        let small = log.iter().filter(|value| value.as_i64().unwrap() < 8).count();
        assert!((150..250).contains(&small), "{small}");
        let values = draws("{ values = ['cls', 'mean'] }");
        let cls = values.iter().filter(|value| **value == json!("cls")).count();
        assert!((150..250).contains(&cls), "{cls}");
    }

    #[test]
    fn a_draw_depends_on_the_seed_the_trial_and_the_name() {
        let range = read("{ min = 0.0, max = 1.0 }").unwrap();
        assert_eq!(range.draw(1, 2, "lr"), range.draw(1, 2, "lr"));
        let all = [range.draw(1, 2, "lr"), range.draw(2, 2, "lr"), range.draw(1, 3, "lr")];
        assert!(all[0] != all[1] && all[0] != all[2] && all[0] != range.draw(1, 2, "warmup"));
    }

    #[test]
    fn impossible_ranges_are_refused() {
        for (text, why) in [
            ("3", "is 3; it must be"),
            ("{ min = 1 }", "lacks an end"),
            ("{ min = 2, max = 1 }", "min must be below max"),
            ("{ min = 1, max = 1 }", "min must be below max"),
            ("{ min = 0, max = 1, log = true }", "must begin above 0"),
            ("{ min = 'a', max = 1 }", "must be numbers"),
            ("{ min = nan, max = 1 }", "must be numbers"),
            ("{ min = 1, max = 2, log = 1 }", "true or false"),
            ("{ min = 1, max = 2, step = 1 }", "the key `step`"),
            ("{ values = [] }", "name one or more"),
            ("{ values = 'a' }", "name one or more"),
            ("{ values = [1], min = 1 }", "other keys"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
