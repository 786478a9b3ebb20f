//! `--hidden`: which hidden states the student learns.

use std::fmt;
use std::str::FromStr;

use gradus_models::EncoderConfig;
use gradus_models::tasks::HiddenMatch;
use serde::{Deserialize, Serialize};

/// The value of `--hidden`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HiddenStates {
    /// Each state learns from the one as deep in the teacher.
    Uniform,
    /// A state of the student, and one of the teacher.
    Pairs(Vec<[usize; 2]>),
}

impl HiddenStates {
    /// The states of two models.
    pub fn of(
        &self,
        student: &EncoderConfig,
        teacher: &EncoderConfig,
        weight: Option<f64>,
    ) -> HiddenMatch {
        let how = HiddenMatch::uniform(student.num_hidden_layers, teacher.num_hidden_layers);
        let pairs = match self {
            HiddenStates::Uniform => how.pairs,
            HiddenStates::Pairs(pairs) => pairs.clone(),
        };
        HiddenMatch { pairs, weight: weight.unwrap_or(how.weight) }
    }
}

impl FromStr for HiddenStates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "uniform" {
            return Ok(HiddenStates::Uniform);
        }
        let pair = |pair: &str| {
            let (student, teacher) = pair.split_once(':')?;
            Some([student.trim().parse().ok()?, teacher.trim().parse().ok()?])
        };
        let pairs = text.split(',').map(|part| {
            pair(part).ok_or_else(|| {
                format!("`{part}` is no pair STUDENT:TEACHER of states, such as 1:3, nor `uniform`")
            })
        });
        Ok(HiddenStates::Pairs(pairs.collect::<Result<_, _>>()?))
    }
}

impl TryFrom<String> for HiddenStates {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HiddenStates> for String {
    fn from(states: HiddenStates) -> String {
        states.to_string()
    }
}

impl fmt::Display for HiddenStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HiddenStates::Uniform => f.write_str("uniform"),
            HiddenStates::Pairs(pairs) => {
                let pairs = pairs.iter().map(|[student, teacher]| format!("{student}:{teacher}"));
                f.write_str(&pairs.collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_written() {
        for text in ["uniform", "0:0,1:3,2:6"] {
            assert_eq!(text.parse::<HiddenStates>().unwrap().to_string(), text);
        }
        for bad in ["", "1", "1:", "1:2,", "a:b", "-1:2"] {
            assert!(bad.parse::<HiddenStates>().unwrap_err().contains("STUDENT:TEACHER"), "{bad}");
        }
    }
}
