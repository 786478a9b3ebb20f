//! Initial values of parameters.

use gradus_tensor::{DType, Result, RngKey, Tensor, bail};

/// How a parameter begins. For a weight `[out, in, …]`, fan-in is `in·…` and fan-out `out·…`, as in
/// PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All this value.
    Constant(f64),
    /// Normal around 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal around 0 with the tails beyond two standard deviations cut off (as TensorFlow's
    /// `truncated_normal`, with which BERT was first trained).
    TruncatedNormal {
        /// Standard deviation of the normal before the cut; the result's is 0.880 of it.
        std: f64,
    },
    /// Uniform in [low, high).
    Uniform {
        /// Lower limit.
        low: f64,
        /// Upper limit.
        high: f64,
    },
    /// Uniform within ±√(6/(fan-in + fan-out)) (Glorot & Bengio, AISTATS 2010).
    XavierUniform,
    /// Normal with variance 2/(fan-in + fan-out) (Glorot & Bengio, AISTATS 2010).
    XavierNormal,
    /// Uniform within ±√(6/((1 + a²)·fan-in)) (He et al., arXiv:1502.01852).
    KaimingUniform {
        /// Slope of the leaky ReLU that follows: 0 for a ReLU, √5 for PyTorch's default of a linear
        /// layer.
        a: f64,
    },
    /// Normal with variance 2/fan-in (He et al., arXiv:1502.01852).
    KaimingNormal,
}

impl Init {
    /// A tensor of `shape`; random numbers come from `key`.
    ///
    /// ```
    /// # use gradus_nn::Init;
    /// # use gradus_tensor::{DType, RngKey};
    /// let (key, f32) = (RngKey::new(0), DType::F32);
    /// assert_eq!(Init::Constant(0.5).tensor(&[2], f32, key)?.to_vec::<f32>()?, [0.5, 0.5]);
    /// let weight = Init::XavierUniform.tensor(&[4, 2], f32, key)?; // within ±√(6/(2 + 4)) = ±1
    /// assert!(weight.to_f64_vec().iter().all(|x| x.abs() <= 1.0));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the fans are needed and `shape` has fewer than two dimensions; if a standard deviation
    /// is negative or a range empty or not finite.
    pub fn tensor(self, shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
        let normal = |std: f64| {
            check(std.is_finite() && std >= 0.0, self)?;
            Tensor::randn(shape, dtype, key)?.mul_scalar(std)
        };
        let uniform = |low: f64, high: f64| {
            check(low.is_finite() && high.is_finite() && low <= high, self)?;
            Tensor::rand(shape, dtype, key)?.affine(high - low, low)
        };
        match self {
            Init::Zeros => Tensor::zeros(shape, dtype),
            Init::Ones => Tensor::ones(shape, dtype),
            Init::Constant(value) => Tensor::full(shape, value, dtype),
            Init::Normal { std } => normal(std),
            Init::TruncatedNormal { std } => {
                check(std.is_finite() && std >= 0.0, self)?;
                truncated_normal(shape, dtype, key)?.mul_scalar(std)
            }
            Init::Uniform { low, high } => uniform(low, high),
            Init::XavierUniform => {
                let (fan_in, fan_out) = self.fans(shape)?;
                let bound = (6.0 / (fan_in + fan_out)).sqrt();
                uniform(-bound, bound)
            }
            Init::XavierNormal => {
                let (fan_in, fan_out) = self.fans(shape)?;
                normal((2.0 / (fan_in + fan_out)).sqrt())
            }
            Init::KaimingUniform { a } => {
                let (fan_in, _) = self.fans(shape)?;
                let bound = (6.0 / ((1.0 + a * a) * fan_in)).sqrt();
                uniform(-bound, bound)
            }
            Init::KaimingNormal => normal((2.0 / self.fans(shape)?.0).sqrt()),
        }
    }

    /// Fan-in and fan-out, at least 1, so that an empty weight is not an error.
    fn fans(self, shape: &[usize]) -> Result<(f64, f64)> {
        let [fan_out, fan_in, rest @ ..] = shape else {
            bail!(
                "init",
                Shape,
                "{self:?} needs a weight [out, in, …], the shape is {shape:?}; use Normal or \
                 Uniform"
            );
        };
        let receptive = rest.iter().product::<usize>() as f64;
        let fan = |n: usize| (n as f64 * receptive).max(1.0);
        Ok((fan(*fan_in), fan(*fan_out)))
    }
}

fn check(valid: bool, init: Init) -> Result<()> {
    if !valid {
        bail!("init", "{init:?} is no distribution; give a finite scale of 0 or more");
    }
    Ok(())
}

/// Standard normal numbers within ±2, by the inverse of the distribution function: one random word
/// for each element, so that element i depends on the key and on i alone.
fn truncated_normal(shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
    let words = Tensor::randint(0, u32::MAX, shape, key)?.to_vec::<u32>()?;
    let values: Vec<f64> = words
        .into_iter()
        .map(|word| {
            let u = (word as f64 + 0.5) / 4_294_967_296.0;
            inverse_normal(CUT_BELOW + (1.0 - 2.0 * CUT_BELOW) * u)
        })
        .collect();
    Tensor::from_slice(&values, shape)?.to_dtype(dtype)
}

/// Φ(−2).
const CUT_BELOW: f64 = 0.022_750_131_948_179_21;

/// Φ⁻¹(p) for p within 10⁻¹¹ of neither 0 nor 1, to 16 digits: Wichura, "Algorithm AS 241", Applied
/// Statistics 37 (1988), routine PPND16, without its far tails.
fn inverse_normal(p: f64) -> f64 {
    const CENTRE: ([f64; 8], [f64; 8]) = (
        [
            3.387_132_872_796_366_5e0,
            1.331_416_678_917_843_8e2,
            1.971_590_950_306_551_3e3,
            1.373_169_376_550_946e4,
            4.592_195_393_154_987e4,
            6.726_577_092_700_87e4,
            3.343_057_558_358_813e4,
            2.509_080_928_730_122_7e3,
        ],
        [
            1.0,
            4.231_333_070_160_091e1,
            6.871_870_074_920_579e2,
            5.394_196_021_424_751e3,
            2.121_379_430_158_659_7e4,
            3.930_789_580_009_271e4,
            2.872_908_573_572_194_3e4,
            5.226_495_278_852_854e3,
        ],
    );
    const TAIL: ([f64; 8], [f64; 8]) = (
        [
            1.423_437_110_749_683_5e0,
            4.630_337_846_156_546e0,
            5.769_497_221_460_691e0,
            3.647_848_324_763_204_5e0,
            1.270_458_252_452_368_4e0,
            2.417_807_251_774_506e-1,
            2.272_384_498_926_918_4e-2,
            7.745_450_142_783_414e-4,
        ],
        [
            1.0,
            2.053_191_626_637_759e0,
            1.676_384_830_183_803_8e0,
            6.897_673_349_851e-1,
            1.481_039_764_274_800_8e-1,
            1.519_866_656_361_645_7e-2,
            5.475_938_084_995_345e-4,
            1.050_750_071_644_416_9e-9,
        ],
    );
    let ratio = |(above, below): &([f64; 8], [f64; 8]), r: f64| {
        let polynomial = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        polynomial(above) / polynomial(below)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&CENTRE, 0.180625 - q * q);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    ratio(&TAIL, r - 1.6).copysign(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: Init, shape: &[usize]) -> (f64, f64, f64) {
        let x = init.tensor(shape, DType::F32, RngKey::new(3)).unwrap().to_f64_vec();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let std = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        (mean, std, x.iter().fold(0.0, |m: f64, x| m.max(x.abs())))
    }

    /// Values of Python's `statistics.NormalDist().inv_cdf`.
    #[test]
    fn the_inverse_of_the_normal() {
        for (p, x) in [
            (0.022_750_131_948_179_21, -2.0),
            (0.05, -1.644_853_626_951_472_9),
            (0.3, -0.524_400_512_708_040_9),
            (0.5, 0.0),
            (0.92, 1.405_071_560_309_633),
            (0.975, 1.959_963_984_540_053_8),
        ] {
            let y = inverse_normal(p);
            assert!((y - x).abs() < 3e-15, "{p}: {y} instead of {x}");
        }
    }

    /// Element i is Φ⁻¹ of the middle of the part of the distribution that the i-th word names.
    #[test]
    fn words_become_middles_of_equal_parts() {
        let key = RngKey::new(3);
        let words = Tensor::randint(0, u32::MAX, &[100], key).unwrap().to_vec::<u32>().unwrap();
        let x = truncated_normal(&[100], DType::F64, key).unwrap().to_f64_vec();
        for (word, x) in words.into_iter().zip(x) {
            let middle = (2 * u64::from(word) + 1) as f64 / 2f64.powi(33);
            let want = inverse_normal(CUT_BELOW + (1.0 - 2.0 * CUT_BELOW) * middle);
            assert!((x - want).abs() < 1e-14, "{word}: {x}, not {want}");
        }
    }

    #[test]
    fn distributions_have_their_moments() {
        let shape = [300, 400];
        let near = |(mean, std, max): (f64, f64, f64), expected: f64, limit: f64| {
            assert!(mean.abs() < 0.02 * expected, "mean {mean}");
            assert!((std / expected - 1.0).abs() < 0.01, "std {std} instead of {expected}");
            assert!(max <= limit * 1.000_001, "{max} is beyond {limit}");
        };
        let any = f64::INFINITY;
        near(moments(Init::Normal { std: 0.02 }, &shape), 0.02, any);
        // The variance of a normal cut at ±2 is 1 − 4φ(2)/(2Φ(2) − 1).
        let cut = (1.0 - 4.0 * 0.053_990_966_513_188_06 / (1.0 - 2.0 * CUT_BELOW)).sqrt();
        near(moments(Init::TruncatedNormal { std: 0.5 }, &shape), 0.5 * cut, 1.0);
        let uniform = |bound: f64, m| near(m, bound / 3f64.sqrt(), bound);
        uniform(0.1, moments(Init::Uniform { low: -0.1, high: 0.1 }, &shape));
        uniform((6f64 / 700.0).sqrt(), moments(Init::XavierUniform, &shape));
        near(moments(Init::XavierNormal, &shape), (2f64 / 700.0).sqrt(), any);
        // PyTorch's default of a linear layer: ±1/√in.
        uniform(0.05, moments(Init::KaimingUniform { a: 5f64.sqrt() }, &shape));
        near(moments(Init::KaimingNormal, &shape), (2f64 / 400.0).sqrt(), any);
        uniform((6f64 / 1200.0).sqrt(), moments(Init::KaimingUniform { a: 0.0 }, &[200, 300, 4]));
    }

    #[test]
    fn constants_and_errors() {
        let key = RngKey::new(0);
        let make = |init: Init, shape: &[usize]| init.tensor(shape, DType::F32, key);
        assert_eq!(make(Init::Zeros, &[2]).unwrap().to_f64_vec(), [0.0; 2]);
        assert_eq!(make(Init::Ones, &[2]).unwrap().to_f64_vec(), [1.0; 2]);
        assert_eq!(make(Init::Constant(2.5), &[2]).unwrap().to_f64_vec(), [2.5; 2]);
        let error = make(Init::XavierUniform, &[3]).unwrap_err().to_string();
        assert!(error.contains("XavierUniform") && error.contains("[3]"), "{error}");
        assert!(make(Init::Normal { std: -1.0 }, &[3]).is_err());
        assert!(make(Init::Uniform { low: 1.0, high: 0.0 }, &[3]).is_err());
        assert_eq!(make(Init::XavierUniform, &[0, 3]).unwrap().shape(), [0, 3]);
    }
}
