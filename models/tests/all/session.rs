//! The course of a run: which events come, in which order, and what is written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::common::small_trainer;
use gradus_models::tasks::{Classification, Encoded};
use gradus_models::training::{
    Destination, Ended, Event, Every, Finished, Recipe, Session, SessionOptions, StepNumbers,
    has_checkpoints,
};
use gradus_models::{Encoding, Error, Tokenizer};

/// Five steps of four examples.
fn recipe() -> Recipe {
    Recipe { steps: Some(5), batch_size: 4, lr: 1e-3, warmup: 0.0, ..Recipe::default() }
}

/// A few examples of each label.
fn set() -> Encoded {
    let encoding = |i: u32| Encoding {
        ids: vec![2, 5 + i, 6 + 2 * i, 3],
        type_ids: vec![0; 4],
        ..Encoding::default()
    };
    ((0..9).map(encoding).collect::<Vec<_>>(), (0..9).map(|i| i % 3).collect::<Vec<_>>()).into()
}

fn session(recipe: Recipe, options: SessionOptions, folder: &Path) -> Session<Classification> {
    let trainer = small_trainer(recipe);
    let config = trainer.task().model().encoder().config().clone();
    let tokenizer = Tokenizer::train_wordpiece(&["a b c"], 60).unwrap();
    let destination = Destination { folder: folder.to_path_buf(), config, tokenizer };
    Session { trainer, dev: Some(set()), test: Some(set()), destination, options }
}

/// An event in a word and a number; nothing for the progress of an evaluation.
fn shown(event: &Event) -> Option<String> {
    Some(match event {
        Event::WithoutGradient(names) => format!("{} without gradient", names.len()),
        Event::Cut { tokens, .. } => format!("cut to {tokens}"),
        Event::Traced { traced, .. } => format!("traced step {}", traced.step.step),
        Event::CutElsewhere { step } => format!("another rank cuts at {step}"),
        Event::Ranks { traffic, .. } => format!("{} ranks", traffic.len()),
        Event::Timeline(marks) => format!("{} marks", marks.len()),
        Event::Step(numbers) => format!("step {}", numbers.step),
        Event::Inspected(_) | Event::Evaluating { .. } => return None,
        Event::Evaluated { split, step, .. } => format!("{split} {step}"),
        Event::Saved(path) => path.file_name().unwrap().to_string_lossy().into_owned(),
        Event::StoppedEarly => "stopped early".into(),
    })
}

fn finished(ended: Ended) -> Finished {
    match ended {
        Ended::Finished(finished) => *finished,
        Ended::Interrupted(checkpoint) => panic!("interrupted at {}", checkpoint.display()),
    }
}

#[test]
fn a_run_steps_evaluates_saves_and_ends() {
    let out = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        eval_every: Some(2),
        save_every: Some(Every::Steps(3)),
        keep: 1,
        ..Default::default()
    };
    let mut session = session(recipe(), options, out.path());
    let (mut events, mut tokens, mut before) = (Vec::new(), 0, 0.0);
    let begin = Instant::now();
    let ended = session.run(&AtomicBool::new(false), &mut |event| {
        if let Event::Step(n) = &event {
            assert_eq!(n.examples, 4 * n.step as usize, "examples of all steps");
            assert!(n.loss.is_finite() && n.tokens > 0 && n.seconds > 0.0);
            assert!((n.training_seconds - before - n.seconds).abs() < 1e-9);
            (tokens, before) = (tokens + n.tokens, n.training_seconds);
        }
        if let Event::Evaluating { done, of, .. } = &event {
            assert!(*done <= 9 && *of == 9);
        }
        events.extend(shown(&event));
        Ok::<(), Error>(())
    });
    let finished = finished(ended.unwrap());
    let took = begin.elapsed().as_secs_f64();
    let order = [
        "0 without gradient",
        "step 1",
        "step 2",
        "dev 2",
        "step 3",
        "checkpoint-3",
        "step 4",
        "dev 4",
        "step 5",
        "dev 5",
        "test 5",
    ];
    assert_eq!(events, order);
    assert_eq!((finished.steps, finished.examples, finished.tokens), (5, 20, tokens));
    assert!(finished.unsaved.is_none() && finished.test.is_some() && finished.last.is_some());
    assert!(before <= finished.training_seconds && finished.training_seconds <= finished.seconds);
    assert!(finished.seconds <= took, "{} of {took} s", finished.seconds);
    let checkpoints = |step: u64| out.path().join(format!("checkpoint-{step}")).is_dir();
    assert!(checkpoints(5) && !checkpoints(3), "one checkpoint is kept, the newest");
    assert!(out.path().join("model.safetensors").is_file());
    let best = finished.best.unwrap();
    assert_eq!(finished.kept, best.0);
}

/// Who stops at a step gets a checkpoint of the next.
#[test]
fn a_run_that_is_asked_to_stop_saves_and_stops() {
    let out = tempfile::tempdir().unwrap();
    let mut session = session(recipe(), SessionOptions::default(), out.path());
    let stop = AtomicBool::new(false);
    let ended = session.run(&stop, &mut |event| {
        stop.store(matches!(event, Event::Step(_)), Ordering::SeqCst);
        Ok::<(), Error>(())
    });
    match ended.unwrap() {
        Ended::Interrupted(path) => assert_eq!(path, out.path().join("checkpoint-2")),
        Ended::Finished(_) => panic!("it went on"),
    }
    assert!(!out.path().join("model.safetensors").exists());
}

/// At a rate of nothing no evaluation is better than the first.
#[test]
fn a_run_that_no_longer_improves_ends() {
    let out = tempfile::tempdir().unwrap();
    let options = SessionOptions { eval_every: Some(1), early_stop: Some(2), ..Default::default() };
    let still = Recipe { lr: 1e-30, ..recipe() };
    let mut session = session(still, options, out.path());
    let mut events = Vec::new();
    let ended = session.run(&AtomicBool::new(false), &mut |event| {
        events.extend(shown(&event));
        Ok::<(), Error>(())
    });
    let finished = finished(ended.unwrap());
    assert_eq!((finished.steps, finished.kept), (3, 1));
    assert_eq!(events[events.len() - 2..], ["stopped early", "test 3"]);
}

/// An error of whoever watches ends the run.
#[test]
fn an_error_of_the_watcher_ends_the_run() {
    let out = tempfile::tempdir().unwrap();
    let mut session = session(recipe(), SessionOptions::default(), out.path());
    let full = || Error::Input("the disk is full".into());
    let ended = session.run(&AtomicBool::new(false), &mut |event| match event {
        Event::Evaluating { .. } => Err(full()),
        _ => Ok(()),
    });
    assert!(ended.err().unwrap().to_string().contains("the disk is full"));
}

/// In f16 an overflow is no failure, as long as a lower scale can help.
#[test]
fn steps_that_fail() {
    let numbers = |loss: f64, skipped: bool, loss_scale: Option<f64>| StepNumbers {
        step: 1,
        epoch: 0.1,
        lr: 1e-3,
        loss,
        grad_norm: 1.0,
        skipped,
        skipped_steps: u64::from(skipped),
        loss_scale,
        tokens: 1,
        examples: 1,
        seconds: 0.1,
        training_seconds: 0.1,
    };
    for (loss, skipped, scale, failed) in [
        (1.0, false, None, false),
        (f64::NAN, false, None, true),
        (1.0, true, None, true),
        (1.0, true, Some(1024.0), false),
        (1.0, true, Some(1.0), false),
        (1.0, true, Some(0.5), true),
        (1.0, false, Some(0.5), false),
        (f64::INFINITY, true, Some(1024.0), true),
    ] {
        let found = numbers(loss, skipped, scale).failed();
        assert_eq!(found, failed, "loss {loss}, skipped: {skipped}, scale {scale:?}");
    }
}

#[test]
fn folders_without_checkpoints() {
    let out = tempfile::tempdir().unwrap();
    assert!(!has_checkpoints(&out.path().join("not there")).unwrap());
    // Another program's folder of the same name.
    std::fs::create_dir(out.path().join("checkpoint-9")).unwrap();
    assert!(!has_checkpoints(out.path()).unwrap());
    std::fs::write(out.path().join("checkpoint-9/optimizer.safetensors"), "").unwrap();
    assert!(has_checkpoints(out.path()).unwrap());
    let file = out.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(has_checkpoints(&file).is_err(), "a file is no folder");
}

#[test]
fn a_metric_has_a_name_that_the_task_knows() {
    let mut trainer = small_trainer(recipe());
    for name in ["loss", "macro_f1", "accuracy"] {
        trainer.set_metric(name).unwrap();
        assert_eq!(trainer.metric().name, name);
    }
    let error = trainer.set_metric("bleu").unwrap_err().to_string();
    assert!(error.contains("bleu") && error.contains("accuracy"), "{error}");
    assert_eq!(trainer.metric().name, "accuracy");
}
