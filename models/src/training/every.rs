//! How often something happens in a run: after so many steps, or so much time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// How often something happens: `500` is every 500 steps, `15m` every 15 minutes.
///
/// ```
/// use std::time::Duration;
/// use gradus_models::training::Every;
///
/// assert_eq!("500".parse::<Every>()?, Every::Steps(500));
/// assert_eq!("15m".parse::<Every>()?, Every::Time(Duration::from_secs(900)));
/// assert_eq!(Every::Time(Duration::from_secs(5400)).to_string(), "90m");
/// assert!("0".parse::<Every>().is_err());
/// # Ok::<(), gradus_models::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// So many optimiser steps.
    Steps(u64),
    /// So much time.
    Time(Duration),
}

/// The units of time, the largest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl FromStr for Every {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            Error::Input(format!(
                "`{text}` is neither a number of steps, such as 500, nor a time, such as 90s, 15m, 2h \
                 or 1d; both must be above 0"
            ))
        };
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit));
        let number = unit.and_then(|(unit, _)| text.strip_suffix(*unit)).unwrap_or(text);
        let number: u64 = number.parse().ok().filter(|n| *n > 0).ok_or_else(refused)?;
        match unit {
            None => Ok(Every::Steps(number)),
            Some((_, seconds)) => {
                let seconds = number.checked_mul(*seconds).ok_or_else(refused)?;
                Ok(Every::Time(Duration::from_secs(seconds)))
            }
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Every::Steps(steps) => write!(f, "{steps}"),
            Every::Time(time) => {
                let seconds = time.as_secs();
                let (unit, length) =
                    UNITS.into_iter().find(|(_, n)| seconds.is_multiple_of(*n)).unwrap_or(('s', 1));
                write!(f, "{}{unit}", seconds / length)
            }
        }
    }
}

/// Steps as a number, as they were before there were times; a time as its text.
impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Every::Steps(steps) => serializer.serialize_u64(*steps),
            Every::Time(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Steps(u64),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Steps(steps) => steps.to_string(),
            Form::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_json_agree() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("36h", 129_600), ("2d", 172_800)] {
            let every: Every = text.parse().unwrap();
            assert_eq!(every, Every::Time(Duration::from_secs(seconds)));
            assert_eq!(every.to_string(), text);
            let json = serde_json::to_string(&every).unwrap();
            assert_eq!(serde_json::from_str::<Every>(&json).unwrap(), every);
        }
        assert_eq!(serde_json::from_str::<Every>("500").unwrap(), Every::Steps(500));
        assert_eq!(serde_json::to_string(&Every::Steps(500)).unwrap(), "500");
    }

    #[test]
    fn what_is_no_count_and_no_time_is_refused() {
        for text in ["", "0", "0m", "-5", "1.5h", "m", "5 m", "15min", "5mm", "99999999999999999d"]
        {
            let error = text.parse::<Every>().unwrap_err().to_string();
            assert!(error.contains("number of steps"), "{text}: {error}");
        }
    }
}
