//! Moving averages of parameters.

use gradus_tensor::{Result, Tensor, bail};

use crate::Parameter;

/// Exponential moving averages of parameters (Polyak averaging): after each step of the optimiser,
/// average ← decay·average + (1 − decay)·value. The averages often score better than the last
/// values.
///
/// ```
/// use gradus_nn::{Ema, Parameter};
/// use gradus_tensor::Tensor;
///
/// let w = Parameter::new("w", Tensor::from_slice(&[0f32], &[1])?)?;
/// let mut ema = Ema::new(&[w.clone()], 0.5)?;
/// w.set(Tensor::from_slice(&[4f32], &[1])?)?; // a step
/// ema.update()?;
/// ema.swap()?; // evaluate or save with the averages …
/// assert_eq!(w.tensor().item()?, 2.0);
/// ema.swap()?; // … and go on with the values
/// assert_eq!(w.tensor().item()?, 4.0);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub struct Ema {
    decay: f64,
    params: Vec<Parameter>,
    averages: Vec<Tensor>,
}

impl Ema {
    /// Averages that begin at the parameters' present values.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// assert!(Ema::new(&[w.clone()], 0.999).is_ok());
    /// assert!(Ema::new(&[w], 1.5).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `decay` is not within 0 and 1.
    pub fn new(params: &[Parameter], decay: f64) -> Result<Ema> {
        if !(0.0..=1.0).contains(&decay) {
            bail!("ema", "the decay is {decay}; it must be within 0 and 1");
        }
        let averages = params.iter().map(Parameter::tensor).collect();
        Ok(Ema { decay, params: params.to_vec(), averages })
    }

    /// Adds the parameters' present values to the averages.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(0f32))?;
    /// let mut ema = Ema::new(&[w.clone()], 0.75)?;
    /// w.set(Tensor::scalar(4f32))?;
    /// ema.update()?; // ¾·0 + ¼·4
    /// assert_eq!(ema.state()[0].1.item()?, 1.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is too little memory.
    pub fn update(&mut self) -> Result<()> {
        self.update_by(self.decay)
    }

    /// [`update`](Ema::update) number `update`, counted from 1, with a warm-up: the decay is at most
    /// (1 + n)/(10 + n), as in TensorFlow's `ExponentialMovingAverage`. So the averages soon forget
    /// the values that they began with, and need no correction of a bias.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(0f32))?;
    /// let mut ema = Ema::new(&[w.clone()], 0.999)?;
    /// w.set(Tensor::scalar(11f32))?;
    /// ema.update_warming_up(1)?; // 2/11·0 + 9/11·11
    /// assert!((ema.state()[0].1.item()? - 9.0).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is too little memory.
    pub fn update_warming_up(&mut self, update: u64) -> Result<()> {
        let update = update as f64;
        self.update_by(self.decay.min((1.0 + update) / (10.0 + update)))
    }

    fn update_by(&mut self, decay: f64) -> Result<()> {
        for (average, parameter) in self.averages.iter_mut().zip(&self.params) {
            average.mul_scalar_(decay)?;
            average.add_(&parameter.tensor(), 1.0 - decay)?;
        }
        Ok(())
    }

    /// Exchanges the parameters' values with the averages.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(0f32))?;
    /// let mut ema = Ema::new(&[w.clone()], 0.75)?;
    /// w.set(Tensor::scalar(4f32))?;
    /// ema.swap()?;
    /// assert_eq!(w.tensor().item()?, 0.0);
    /// ema.swap()?;
    /// assert_eq!(w.tensor().item()?, 4.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a parameter has moved to a device that cannot hold its average.
    pub fn swap(&mut self) -> Result<()> {
        for (average, parameter) in self.averages.iter_mut().zip(&self.params) {
            let value = parameter.tensor();
            parameter.set(std::mem::replace(average, value))?;
        }
        Ok(())
    }

    /// The averages by the parameters' names, to save.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("head.weight", Tensor::scalar(2f32))?;
    /// let state = Ema::new(&[w], 0.999)?.state();
    /// assert_eq!(state[0].0, "head.weight");
    /// assert_eq!(state[0].1.item()?, 2.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let names = self.params.iter().map(|p| p.name().to_string());
        names.zip(self.averages.iter().cloned()).collect()
    }

    /// Continues from averages that [`state`](Ema::state) returned, exactly.
    ///
    /// ```
    /// # use gradus_nn::{Ema, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(2f32))?;
    /// let mut ema = Ema::new(&[w], 0.999)?;
    /// ema.load_state(|_| Ok(Tensor::scalar(3f32)))?;
    /// assert_eq!(ema.state()[0].1.item()?, 3.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `average`, which gives the average of the parameter of a name; and if one does not fit its
    /// parameter.
    pub fn load_state(&mut self, average: impl Fn(&str) -> Result<Tensor>) -> Result<()> {
        let load = |parameter: &Parameter| {
            let average = average(parameter.name())?;
            parameter.check(&average)?;
            average.to_device(parameter.device())
        };
        self.averages = self.params.iter().map(load).collect::<Result<_>>()?;
        Ok(())
    }
}
