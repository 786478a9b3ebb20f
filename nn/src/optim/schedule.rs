//! Learning-rate schedules.

use std::str::FromStr;

use gradus_tensor::{Error, Result, bail};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What follows the warm-up.
///
/// In files a kind with the usual settings is its name, as `FromStr` reads it: `"linear"`,
/// `"cosine"` or `"constant"`. Any other is an object: `{"step": {"every": 100, "gamma": 0.5}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// The full rate.
    Constant,
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Along a cosine (Loshchilov & Hutter, arXiv:1608.03983).
    Cosine {
        /// Waves from the end of the warm-up to the end: ½ goes down to 0 once.
        cycles: f64,
    },
    /// Times `gamma` after every `every` steps; as `torch.optim.lr_scheduler.StepLR`.
    Step {
        /// Steps from one change to the next.
        every: u64,
        /// The factor of a change.
        gamma: f64,
    },
    /// Times `gamma` after every step; as `torch.optim.lr_scheduler.ExponentialLR`.
    Exponential {
        /// The factor of a step.
        gamma: f64,
    },
    /// Down to `end` along a power of the fraction that is left.
    Polynomial {
        /// The power; 1 is a straight line.
        power: f64,
        /// The last rate as a fraction of the full one.
        end: f64,
    },
}

impl ScheduleKind {
    /// Every name, with the kind in its usual settings.
    const NAMES: [(&str, ScheduleKind); 3] = [
        ("linear", ScheduleKind::Linear),
        ("cosine", ScheduleKind::Cosine { cycles: 0.5 }),
        ("constant", ScheduleKind::Constant),
    ];
}

impl FromStr for ScheduleKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::NAMES.iter().find(|(known, _)| *known == name) {
            Some(&(_, kind)) => Ok(kind),
            None => {
                let names = Self::NAMES.map(|(name, _)| name).join(", ");
                bail!("schedule", "`{name}` is unknown; use one of {names}")
            }
        }
    }
}

impl Serialize for ScheduleKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match Self::NAMES.iter().find(|(_, kind)| kind == self) {
            Some((name, _)) => serializer.serialize_str(name),
            None => ScheduleKind::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ScheduleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(String),
            Settings(#[serde(with = "ScheduleKind")] ScheduleKind),
        }
        match Written::deserialize(deserializer)? {
            Written::Name(name) => name.parse().map_err(serde::de::Error::custom),
            Written::Settings(kind) => Ok(kind),
        }
    }
}

/// The factor of the learning rate at every step: up from 0 in a straight line over the warm-up,
/// then as the kind says. The numbers are those of `transformers`' `get_*_schedule_with_warmup`.
///
/// The schedule has no state: a run resumes with the same schedule and its step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// What follows the warm-up.
    pub kind: ScheduleKind,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of the whole run, warm-up included.
    pub total: u64,
}

impl Schedule {
    /// Of any kind, over `total` steps.
    ///
    /// ```
    /// # use gradus_nn::{Schedule, ScheduleKind};
    /// let schedule = Schedule::new(ScheduleKind::Linear, 2, 6)?;
    /// assert_eq!(schedule, Schedule::linear(2, 6));
    /// assert!(Schedule::new(ScheduleKind::Exponential { gamma: -0.5 }, 2, 6).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](Schedule::check).
    pub fn new(kind: ScheduleKind, warmup: u64, total: u64) -> Result<Self> {
        Schedule { kind, warmup, total }.checked()
    }

    /// The full rate after the warm-up.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::constant(2);
    /// let factors: Vec<f64> = (0..4).map(|step| schedule.factor(step)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 1.0]);
    /// ```
    pub const fn constant(warmup: u64) -> Self {
        Schedule { kind: ScheduleKind::Constant, warmup, total: 0 }
    }

    /// Down to 0 in a straight line.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::linear(2, 6);
    /// let factors: Vec<f64> = (0..7).map(|step| schedule.factor(step)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
    /// ```
    pub const fn linear(warmup: u64, total: u64) -> Self {
        Schedule { kind: ScheduleKind::Linear, warmup, total }
    }

    /// Down to 0 along half a cosine.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::cosine(0, 4);
    /// assert_eq!(schedule.factor(0), 1.0);
    /// assert!((schedule.factor(2) - 0.5).abs() < 1e-12); // half of the way down
    /// assert_eq!(schedule.factor(4), 0.0);
    /// ```
    pub const fn cosine(warmup: u64, total: u64) -> Self {
        Schedule { kind: ScheduleKind::Cosine { cycles: 0.5 }, warmup, total }
    }

    /// Times `gamma` after every `every` steps that follow the warm-up.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::step(0, 2, 0.5)?;
    /// let factors: Vec<f64> = (0..5).map(|step| schedule.factor(step)).collect();
    /// assert_eq!(factors, [1.0, 1.0, 0.5, 0.5, 0.25]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](Schedule::check).
    pub fn step(warmup: u64, every: u64, gamma: f64) -> Result<Self> {
        Schedule { kind: ScheduleKind::Step { every, gamma }, warmup, total: 0 }.checked()
    }

    /// Times `gamma` after every step that follows the warm-up.
    ///
    /// ```
    /// let schedule = gradus_nn::Schedule::exponential(2, 0.5)?;
    /// let factors: Vec<f64> = (0..5).map(|step| schedule.factor(step)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 0.5, 0.25]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](Schedule::check).
    pub fn exponential(warmup: u64, gamma: f64) -> Result<Self> {
        Schedule { kind: ScheduleKind::Exponential { gamma }, warmup, total: 0 }.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    /// Down to the fraction `end` of the full rate along the given power.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::polynomial(0, 4, 2.0, 0.0)?;
    /// let factors: Vec<f64> = (0..5).map(|step| schedule.factor(step)).collect();
    /// assert_eq!(factors, [1.0, 0.5625, 0.25, 0.0625, 0.0]); // (1 − step/4)²
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](Schedule::check).
    pub fn polynomial(warmup: u64, total: u64, power: f64, end: f64) -> Result<Self> {
        Schedule { kind: ScheduleKind::Polynomial { power, end }, warmup, total }.checked()
    }

    /// Checks the numbers of a schedule that was put together by hand or read from a file.
    ///
    /// ```
    /// # use gradus_nn::{Schedule, ScheduleKind};
    /// let kind = ScheduleKind::Exponential { gamma: -0.5 };
    /// let error = Schedule { kind, warmup: 0, total: 0 }.check().unwrap_err();
    /// assert!(error.to_string().contains("gamma is -0.5"));
    /// ```
    ///
    /// # Errors
    /// If the number of waves, the power or γ is not a finite number of 0 or more, the end is not
    /// within 0 and 1, or a change comes after every 0 steps.
    pub fn check(&self) -> Result<()> {
        let (what, value, most) = match self.kind {
            ScheduleKind::Constant | ScheduleKind::Linear => return Ok(()),
            ScheduleKind::Step { every: 0, .. } => {
                bail!("schedule", "a change after every 0 steps")
            }
            ScheduleKind::Step { gamma, .. } | ScheduleKind::Exponential { gamma } => {
                ("gamma", gamma, f64::MAX)
            }
            ScheduleKind::Cosine { cycles } => ("the number of cycles", cycles, f64::MAX),
            ScheduleKind::Polynomial { end, .. } if !(0.0..=1.0).contains(&end) => {
                ("the end", end, 1.0)
            }
            ScheduleKind::Polynomial { power, .. } => ("the power", power, f64::MAX),
        };
        if !(0.0..=most).contains(&value) {
            let range = if most == 1.0 { "within 0 and 1" } else { "a finite number of 0 or more" };
            bail!("schedule", "{what} is {value}; it must be {range}");
        }
        Ok(())
    }

    /// The factor of `step`, counted from 0. Past `total`, linear and polynomial stay at their end.
    ///
    /// ```
    /// # use gradus_nn::Schedule;
    /// let schedule = Schedule::linear(10, 110);
    /// assert_eq!(schedule.factor(5), 0.5); // in the warm-up
    /// assert_eq!(schedule.factor(60), 0.5); // half of the way down
    /// assert_eq!(schedule.factor(200), 0.0);
    /// ```
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return step as f64 / self.warmup as f64;
        }
        let decay_steps = self.total.saturating_sub(self.warmup).max(1) as f64;
        let progress = (step - self.warmup) as f64 / decay_steps;
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Step { every, gamma } => {
                gamma.powf(((step - self.warmup) / every) as f64)
            }
            ScheduleKind::Exponential { gamma } => gamma.powf((step - self.warmup) as f64),
            ScheduleKind::Linear => self.total.saturating_sub(step) as f64 / decay_steps,
            ScheduleKind::Cosine { cycles } => {
                (0.5 * (1.0 + (std::f64::consts::TAU * cycles * progress).cos())).max(0.0)
            }
            ScheduleKind::Polynomial { end, .. } if step > self.total => end,
            ScheduleKind::Polynomial { power, end } => {
                (1.0 - end) * (1.0 - progress).powf(power) + end
            }
        }
    }
}
