//! The choice of the next token.

use gradus_tensor::RngKey;

use super::GenerationConfig;

/// Chooses tokens by the settings of a generation.
pub struct Sampler<'a> {
    settings: &'a GenerationConfig,
    key: RngKey,
}

impl<'a> Sampler<'a> {
    /// For the text of that number; each has other draws.
    pub fn new(settings: &'a GenerationConfig, text: u64) -> Self {
        Sampler { settings, key: RngKey::new(settings.seed).place("generation").step(text) }
    }

    /// The next token after `ids`, of the logits of all tokens. The draw is that of the text's
    /// `number`-th new token.
    ///
    /// ```
    /// use gradus_models::generation::{GenerationConfig, Sampler};
    ///
    /// let settings = GenerationConfig { repetition_penalty: 3.0, ..Default::default() };
    /// let sampler = Sampler::new(&settings, 0);
    /// assert_eq!(sampler.next(vec![0.5, 2.0, 1.0], &[], 0), 1);
    /// assert_eq!(sampler.next(vec![0.5, 2.0, 1.0], &[1], 1), 2); // token 1 was there already
    /// ```
    pub fn next(&self, mut logits: Vec<f32>, ids: &[u32], number: u64) -> u32 {
        penalise(&mut logits, ids, self.settings.repetition_penalty as f32);
        if !self.settings.do_sample {
            return argmax(&logits);
        }
        let kept = probabilities(&logits, self.settings);
        let drawn = f64::from(self.key.step(number).word(0)) / 2f64.powi(32);
        let mut sum = 0.0;
        for &(id, probability) in &kept {
            sum += probability;
            if drawn < sum {
                return id;
            }
        }
        // Rounding may leave the sum below 1.
        kept.last().map_or(0, |&(id, _)| id)
    }
}

/// Makes tokens that are in the text already less probable.
fn penalise(logits: &mut [f32], ids: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

/// The first of the most probable tokens.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// The tokens that may be drawn with their probabilities, the most probable first.
fn probabilities(logits: &[f32], settings: &GenerationConfig) -> Vec<(u32, f64)> {
    let mut kept: Vec<(u32, f64)> = (0..)
        .zip(logits)
        .map(|(id, &logit)| (id, f64::from(logit) / settings.temperature))
        .collect();
    let descending = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if settings.top_k > 0 && settings.top_k < kept.len() {
        kept.select_nth_unstable_by(settings.top_k - 1, descending);
        kept.truncate(settings.top_k);
    }
    kept.sort_unstable_by(descending);
    softmax(&mut kept);
    let mut sum = 0.0;
    let enough = kept.iter().position(|&(_, probability)| {
        sum += probability;
        sum >= settings.top_p
    });
    if let Some(last) = enough.filter(|_| settings.top_p < 1.0) {
        kept.truncate(last + 1);
        let sum: f64 = kept.iter().map(|(_, probability)| probability).sum();
        kept.iter_mut().for_each(|(_, probability)| *probability /= sum);
    }
    kept
}

/// Turns logits, the largest first, into probabilities.
fn softmax(sorted: &mut [(u32, f64)]) {
    let largest = sorted.first().map_or(0.0, |&(_, logit)| logit);
    sorted.iter_mut().for_each(|(_, x)| *x = (*x - largest).exp());
    let sum: f64 = sorted.iter().map(|(_, x)| x).sum();
    sorted.iter_mut().for_each(|(_, x)| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `transformers` 5.24 makes of these logits: TemperatureLogitsWarper, TopKLogitsWarper and
    /// TopPLogitsWarper, then softmax.
    #[test]
    fn probabilities_are_those_of_transformers() {
        let logits = [1.0, -0.5, 2.0, 0.3, 1.7, -1.2];
        for (temperature, top_k, top_p, want) in CASES {
            let settings = GenerationConfig { temperature, top_k, top_p, ..Default::default() };
            let mut got = vec![0.0; logits.len()];
            for (id, probability) in probabilities(&logits, &settings) {
                got[id as usize] = probability;
            }
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < 1e-6, "{temperature} {top_k} {top_p}: {got} {want}");
            }
        }
    }

    type Case = (f64, usize, f64, [f64; 6]);
    const CASES: [Case; 6] = [
        (1.0, 0, 1.0, [0.1523797, 0.0340005, 0.414211, 0.0756695, 0.3068551, 0.0168842]),
        (0.7, 0, 1.0, [0.1187737, 0.0139344, 0.495611, 0.0436944, 0.3228603, 0.0051262]),
        (1.0, 3, 1.0, [0.1744581, 0.0, 0.4742264, 0.0, 0.3513155, 0.0]),
        (1.0, 0, 0.8, [0.1744581, 0.0, 0.4742264, 0.0, 0.3513155, 0.0]),
        (2.0, 4, 0.75, [0.2458338, 0.0, 0.4053114, 0.0, 0.3488548, 0.0]),
        (0.5, 0, 0.1, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
    ];

    #[test]
    fn the_penalty_is_that_of_transformers() {
        let mut logits = [1.0, -0.5, 2.0, 0.3, 1.7, -1.2];
        penalise(&mut logits, &[1, 2, 2], 1.5);
        assert_eq!(logits, [1.0, -0.75, 2.0 / 1.5, 0.3, 1.7, -1.2]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let settings =
            GenerationConfig { do_sample: true, top_k: 3, seed: 5, ..Default::default() };
        let logits = vec![1.0, -0.5, 2.0, 0.3, 1.7, -1.2];
        let want = probabilities(&logits, &settings);
        let mut drawn = [0u32; 6];
        const DRAWS: u32 = 4000;
        for text in 0..u64::from(DRAWS) {
            drawn[Sampler::new(&settings, text).next(logits.clone(), &[], 3) as usize] += 1;
        }
        for (id, probability) in want {
            let share = f64::from(drawn[id as usize]) / f64::from(DRAWS);
            assert!((share - probability).abs() < 0.03, "{id}: {share} of {probability}");
        }
        assert_eq!(drawn[1] + drawn[3] + drawn[5], 0, "beyond top_k");
    }
}
