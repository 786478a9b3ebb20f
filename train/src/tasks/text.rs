//! Raw text, which `train mlm` and `train lm` learn from.

use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::Error;
use gradus_models::data::{Corpora, Corpus, Fingerprint};

use crate::data::refuse_evaluation;
use crate::flags::Flags;

/// The share of the text that is set aside where there is no dev file.
const DEV_FRACTION: f64 = 0.05;

/// The most bytes of a dev set and of a test set: more takes minutes and says no more.
const MAX_EVALUATED: u64 = 256 << 10;

/// The windows of text that a vocabulary is learnt from: about as many MiB.
const MAX_LEARNT: usize = 16;

/// The text of a run.
pub struct Text {
    pub train: Corpus,
    pub dev: Option<String>,
    pub test: Option<String>,
    pub fingerprint: Fingerprint,
}

impl Text {
    /// Opens the text at `path`; `column` has the text of rows. The flags then hold what a resumed run
    /// needs to read the same.
    ///
    /// # Errors
    /// When a file cannot be read, or a flag about it is wrong.
    pub fn open(
        shared: &SharedArgs,
        (flags, column): (&mut Flags, Option<&str>),
        path: &Path,
    ) -> Outcome<Text> {
        let Corpora { mut train, dev, test, remarks } = corpora(column, path)?;
        remarks.iter().for_each(|remark| note(shared, format!("warning: {remark}")));
        let read = |name, corpus: Option<Corpus>| match corpus {
            Some(corpus) => text(shared, name, corpus).map(Some),
            None => Ok(None),
        };
        let test = read("test", test)?;
        let dev = match dev {
            Some(_) if flags.dev_fraction.is_some_and(|share| share > 0.0) => {
                let why = "--dev-fraction: the data has a dev file of its own";
                return Err(Failure::usage(why));
            }
            Some(dev) => read("dev", Some(dev))?,
            None => read("dev", set_aside(shared, flags, &mut train)?)?,
        };
        if dev.is_none() {
            refuse_evaluation(flags)?;
        }
        let hash = |text: &String| gradus_models::data::hash_text(text);
        let fingerprint = Fingerprint {
            labels: Vec::new(),
            train: train.hash()?,
            dev: dev.as_ref().map(hash),
            test: test.as_ref().map(hash),
        };
        Ok(Text { train, dev, test, fingerprint })
    }

    /// The training text, and the dev and test texts that there are.
    pub fn into_parts(self) -> (Corpus, Vec<(&'static str, String)>) {
        let others = [("dev", self.dev), ("test", self.test)].into_iter();
        (self.train, others.filter_map(|(name, text)| Some((name, text?))).collect())
    }

    /// Windows from all over the text, to learn a vocabulary from.
    pub fn sample(&self) -> impl Iterator<Item = gradus_models::Result<String>> {
        let all = self.train.windows();
        let step = all.div_ceil(MAX_LEARNT);
        (0..all).step_by(step).map(|window| self.train.read(window))
    }

    /// A few words about it.
    pub fn about(&self) -> String {
        format!("{:.1} MB of text", self.train.bytes() as f64 / 1e6)
    }
}

/// The text, from the column that the flags name.
fn corpora(column: Option<&str>, path: &Path) -> Outcome<Corpora> {
    let corpora = Corpora::with_column(path, column)?;
    let Corpora { train, dev, test, .. } = &corpora;
    let sets = [Some(train), dev.as_ref(), test.as_ref()];
    if column.is_some() && !sets.into_iter().flatten().any(Corpus::has_rows) {
        return Err(Failure::usage(format!(
            "--text-column: {} is plain text, without columns; leave the flag out",
            path.display()
        )));
    }
    Ok(corpora)
}

/// Takes the end of the text as the dev set.
fn set_aside(
    shared: &SharedArgs,
    flags: &mut Flags,
    train: &mut Corpus,
) -> Outcome<Option<Corpus>> {
    let fraction = flags.dev_fraction.unwrap_or(DEV_FRACTION);
    flags.dev_fraction = Some(fraction);
    let all = train.bytes();
    let bytes = ((all as f64 * fraction) as u64).min(MAX_EVALUATED);
    if bytes == 0 {
        return Ok(None);
    }
    let dev = train.split_off(bytes)?;
    if let Some(dev) = &dev {
        let (kib, share) = (dev.bytes() as f64 / 1024.0, dev.bytes() as f64 * 100.0 / all as f64);
        note(
            shared,
            format!("no dev file: the last {kib:.0} KiB of the text ({share:.1} %) are set aside"),
        );
    }
    Ok(dev)
}

/// The text of a dev or test set, or the beginning of a long one.
fn text(shared: &SharedArgs, name: &str, mut corpus: Corpus) -> Outcome<String> {
    let all = corpus.bytes();
    if all > MAX_EVALUATED {
        corpus.split_off(all - MAX_EVALUATED)?;
        note(
            shared,
            format!("the {name} text is long: its first {} KiB are used", MAX_EVALUATED >> 10),
        );
    }
    let parts = (0..corpus.windows()).map(|window| corpus.read(window));
    Ok(parts.collect::<Result<String, Error>>()?)
}
