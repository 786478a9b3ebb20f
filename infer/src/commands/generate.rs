//! `infer generate`.

use std::time::Instant;

use gradus_cli::{Failure, Outcome, SharedArgs, layered, note};
use gradus_models::generation::{FinishReason, GenerationConfig};
use gradus_models::pipelines::{Generated, TextGenerator};
use serde::Serialize;

use super::opened;
use crate::args::{Generate, GenerateFlags};
use crate::input;
use crate::output::Sink;

const USAGE: &str = "infer generate --model MODEL \"Once upon a time\"";

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    sample: u64,
    #[serde(flatten)]
    generated: &'a Generated,
}

pub fn run(shared: &SharedArgs, args: Generate) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    check(&flags)?;
    let model = input::model(&flags.common.run, USAGE)?;
    let mut sink = Sink::open(&shared, flags.common.output.as_deref())?;
    let device = shared.start()?;
    let prompts = prompts(args.text, &flags)?;
    let open = || TextGenerator::open(model);
    let generator = opened(&shared, device, &flags.common.run, open)?;
    let settings = flags.over(generator.settings(), shared.seed())?;
    let (start, mut tokens, mut results) = (Instant::now(), 0, 0);
    let samples = flags.samples.unwrap_or(1) as u64;
    for prompt in &prompts {
        for sample in 0..samples {
            if results > 0
                && let Some(out) = sink.people()
            {
                writeln!(out, "---")?;
            }
            let stops = flags.stop.as_deref().unwrap_or_default();
            let generated = one(&generator, (prompt, sample), (&settings, stops), &mut sink)?;
            tokens += generated.generated_tokens;
            results += 1;
            let record = Record { text: prompt, sample, generated: &generated };
            sink.write(&record, |out| writeln!(out))?;
            sink.flush()?;
            if generated.finish_reason == FinishReason::Cancelled {
                return Ok(()); // nobody reads
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    note(&shared, format!("{tokens} tokens, {:.1} tokens/s", tokens as f64 / seconds));
    sink.finish(&shared, results)
}

/// Goes on with a prompt. People see the prompt, then the text as it comes.
fn one(
    generator: &TextGenerator,
    (prompt, sample): (&str, u64),
    (settings, stops): (&GenerationConfig, &[String]),
    sink: &mut Sink,
) -> Outcome<Generated> {
    if let Some(out) = sink.people() {
        write!(out, "{prompt}")?;
        out.flush()?;
    }
    let mut show = |piece: &str| match sink.people() {
        Some(out) => write!(out, "{piece}").and_then(|()| out.flush()).is_ok(),
        None => true,
    };
    Ok(generator.generate(prompt, settings, stops, sample, &mut show)?)
}

fn check(flags: &GenerateFlags) -> Outcome {
    let fail = |message: &str| Err(Failure::usage(message));
    if flags.common.run.max_length.is_some() {
        return fail(
            "--max-length cuts no prompt; --max-new-tokens says how long the text becomes",
        );
    }
    if flags.common.run.batch_size.is_some() {
        return fail("--batch-size: texts are generated one after another");
    }
    if flags.samples == Some(0) {
        return fail("--samples is 0; it must be 1 or more");
    }
    if flags.stop.iter().flatten().any(String::is_empty) {
        return fail("--stop is empty; name the text at which to stop");
    }
    let sampling = [
        ("--temperature", flags.temperature.is_some()),
        ("--top-k", flags.top_k.is_some()),
        ("--top-p", flags.top_p.is_some()),
    ];
    match sampling.iter().find(|(_, given)| *given) {
        Some((name, _)) if flags.greedy => {
            Err(Failure::usage(format!("{name} is for drawing tokens; --greedy draws none")))
        }
        _ => Ok(()),
    }
}

/// The prompts: those of the command line, a file's whole text, or the texts of --input.
fn prompts(positional: Vec<String>, flags: &GenerateFlags) -> Outcome<Vec<String>> {
    let Some(path) = &flags.prompt_file else {
        let texts = input::texts(positional, &flags.common, None, USAGE)?;
        return Ok(texts.into_iter().map(|(text, _)| text).collect());
    };
    let read = std::fs::read_to_string(path);
    let text =
        read.map_err(|e| Failure::error(format!("--prompt-file {}: {e}", path.display())))?;
    // Editors end a file with a newline that is not meant.
    Ok(vec![text.strip_suffix('\n').unwrap_or(&text).to_string()])
}

impl GenerateFlags {
    /// The settings of the model, under those of the flags.
    fn over(&self, own: &GenerationConfig, seed: u64) -> Outcome<GenerationConfig> {
        let draws = self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some();
        let settings = GenerationConfig {
            max_new_tokens: self.max_new_tokens.unwrap_or(own.max_new_tokens),
            max_length: own.max_length.filter(|_| self.max_new_tokens.is_none()),
            do_sample: !self.greedy && (draws || own.do_sample),
            temperature: self.temperature.unwrap_or(own.temperature),
            top_k: self.top_k.unwrap_or(own.top_k),
            top_p: self.top_p.unwrap_or(own.top_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(own.repetition_penalty),
            seed,
            ..own.clone()
        };
        let usage = |e: gradus_models::Error| Failure::usage(flag_names(&e.to_string()));
        settings.validate().map_err(usage)?;
        if self.samples.is_some_and(|n| n > 1) && !settings.do_sample {
            return Err(Failure::usage(
                "--samples: without drawing all texts are the same; add --temperature 1",
            ));
        }
        Ok(settings)
    }
}

/// An error about a setting, with the flag's name.
fn flag_names(text: &str) -> String {
    const FIELDS: [&str; 4] = ["max_new_tokens", "temperature", "top_p", "repetition_penalty"];
    let text = text.strip_prefix("[input] ").unwrap_or(text);
    match FIELDS.iter().find(|field| text.starts_with(**field)) {
        Some(field) => text.replacen(field, &format!("--{}", field.replace('_', "-")), 1),
        None => text.to_string(),
    }
}
