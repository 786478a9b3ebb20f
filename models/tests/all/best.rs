//! The best model of a run: how it is chosen, kept, saved and resumed; and the run and data of a
//! checkpoint.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::common::{load_weights, run, save, small_trainer};
use gradus_models::data::Fingerprint;
use gradus_models::tasks::Classification;
use gradus_models::training::{
    Destination, Evaluation, Recipe, RunMark, Session, SessionOptions, Trainer, latest_checkpoint,
    remove_foreign_checkpoints, remove_old_checkpoints,
};
use gradus_models::{Error, Tokenizer};
use gradus_tensor::io::safetensors::SafeTensors;

fn recipe() -> Recipe {
    Recipe { steps: Some(8), batch_size: 4, lr: 1e-3, warmup: 3.0, ..Recipe::default() }
}

fn result(accuracy: f64, loss: f64) -> Evaluation {
    Evaluation::new(3, loss, [("accuracy", accuracy), ("macro_f1", accuracy)])
}

fn bits(trainer: &Trainer<Classification>) -> Vec<Vec<f32>> {
    trainer.store().parameters().iter().map(|p| p.tensor().to_vec::<f32>().unwrap()).collect()
}

/// A trainer on the weights of a checkpoint.
fn restored(checkpoint: &Path) -> Trainer<Classification> {
    let trainer = small_trainer(recipe());
    load_weights(&trainer, checkpoint);
    trainer
}

#[test]
fn patience_is_not_counted_during_warm_up() {
    let mut trainer = small_trainer(recipe());
    let mut stale = Vec::new();
    for _ in 0..8 {
        run(&mut trainer, 1);
        // Never better than the first.
        trainer.evaluated(result(0.5, trainer.steps_done() as f64));
        stale.push(trainer.best().unwrap().stale);
    }
    assert_eq!(stale, [0, 0, 0, 1, 2, 3, 4, 5]);
    trainer.evaluated(result(0.5, 0.5));
    assert_eq!(
        (trainer.best().unwrap().stale, trainer.best().unwrap().step),
        (0, 8),
        "a lower loss is better"
    );
}

#[test]
fn the_best_weights_go_with_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    run(&mut trainer, 2);
    trainer.evaluated(result(0.7, 1.0 / 3.0));
    let best = bits(&trainer);
    let same_step = save(&trainer, dir.path());
    assert!(!same_step.join("best.safetensors").exists(), "the model is the best");
    run(&mut trainer, 3);
    trainer.evaluated(result(0.7, 0.4));
    let last = bits(&trainer);
    let later = save(&trainer, dir.path());
    for (checkpoint, present, stale) in [(&same_step, &best, 0), (&later, &last, 1)] {
        let mut other = restored(checkpoint);
        other.resume(checkpoint).unwrap();
        let found = other.best().unwrap();
        assert_eq!((found.step, found.stale, &found.result), (2, stale, &result(0.7, 1.0 / 3.0)));
        assert!(bits(&other) == *present);
        other.swap_best().unwrap();
        assert!(bits(&other) == best);
        other.swap_best().unwrap();
        assert!(bits(&other) == *present);
    }
    // The weights of the best model do not change with the model's.
    trainer.swap_best().unwrap();
    assert!(bits(&trainer) == best);
}

fn mark(id: &str, labels: [&str; 2], train: &str) -> RunMark {
    let labels = labels.map(String::from).to_vec();
    RunMark {
        id: id.into(),
        data: Fingerprint { labels, train: train.into(), dev: None, test: None },
    }
}

#[test]
fn a_checkpoint_belongs_to_a_run_and_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    trainer.set_run(mark("a", ["x", "y"], "1"));
    run(&mut trainer, 1);
    let checkpoint = save(&trainer, dir.path());
    for (run, part) in [
        (mark("b", ["x", "y"], "1"), "another run"),
        (mark("a", ["y", "x"], "1"), "their order is another"),
        (mark("a", ["x", "z"], "1"), "y is gone, z is new"),
        (mark("a", ["x", "y"], "2"), "the training set has changed"),
    ] {
        let mut other = restored(&checkpoint);
        other.set_run(run);
        let error = other.resume(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(other.steps_done(), 0);
    }
    let mut other = restored(&checkpoint);
    let mut run = mark("a", ["x", "y"], "1");
    run.data.test = Some("new".into());
    other.set_run(run);
    assert!(other.resume(&checkpoint).unwrap().test_changed);
}

#[test]
fn checkpoints_of_other_runs_are_not_taken_for_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    let mut at = |id: &str, steps: usize| {
        trainer.set_run(mark(id, ["x", "y"], "1"));
        crate::common::run(&mut trainer, steps);
        save(&trainer, dir.path())
    };
    let (own, own_newest, alien) = (at("a", 1), at("a", 1), at("b", 1));
    assert_eq!(latest_checkpoint(dir.path(), Some("a")).unwrap(), own_newest);
    assert_eq!(latest_checkpoint(dir.path(), Some("b")).unwrap(), alien);
    let error = latest_checkpoint(dir.path(), Some("c")).unwrap_err().to_string();
    assert!(error.contains("3 of another run"), "{error}");
    remove_old_checkpoints(dir.path(), Some("a"), 1).unwrap();
    assert!(!own.exists() && own_newest.exists() && alien.exists());
    remove_foreign_checkpoints(dir.path(), Some("b"), 3).unwrap();
    assert!(!own_newest.exists() && alien.exists());
    remove_foreign_checkpoints(dir.path(), Some("b"), 2).unwrap();
    assert!(!alien.exists(), "it lies ahead");
}

fn rewrite(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut state = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut state);
    std::fs::write(path, state.to_string()).unwrap();
}

/// A newer checkpoint that cannot be read is an error: the older one is not used in its place.
#[test]
fn a_damaged_checkpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    trainer.set_run(mark("a", ["x", "y"], "1"));
    run(&mut trainer, 1);
    let older = save(&trainer, dir.path());
    run(&mut trainer, 1);
    let state = save(&trainer, dir.path()).join("trainer_state.json");
    let whole = std::fs::read(&state).unwrap();
    for length in [0, 10, whole.len() - 2] {
        std::fs::write(&state, &whole[..length]).unwrap();
        let error = latest_checkpoint(dir.path(), Some("a")).unwrap_err().to_string();
        let parts = [state.to_str().unwrap(), "is damaged", older.to_str().unwrap()];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    std::fs::remove_file(&state).unwrap();
    assert!(latest_checkpoint(dir.path(), Some("a")).unwrap_err().to_string().contains("damaged"));
    std::fs::remove_dir_all(state.parent().unwrap()).unwrap();
    assert_eq!(latest_checkpoint(dir.path(), Some("a")).unwrap(), older);
}

/// Makes a checkpoint look like one of an older version, which had no hashes.
fn forget_hashes(checkpoint: &Path) {
    rewrite(&checkpoint.join("trainer_state.json"), |state| {
        state.as_object_mut().unwrap().remove("hashes").unwrap();
    });
}

#[test]
fn a_session_with_an_option_of_0_does_not_run() {
    let trainer = small_trainer(recipe());
    let config = trainer.task().model().encoder().config().clone();
    let tokenizer = Tokenizer::train_wordpiece(&["a b c"], 60).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination { folder: folder.path().to_path_buf(), config, tokenizer };
    let options = SessionOptions { eval_every: Some(0), ..SessionOptions::default() };
    let mut session = Session { trainer, dev: None, test: None, destination, options };
    let ended = session.run(&AtomicBool::new(false), &mut |_| Ok::<(), Error>(()));
    assert!(matches!(ended, Err(Error::Recipe { field: "eval_every", .. })));
    assert_eq!(session.trainer.steps_done(), 0);
}

#[test]
fn a_file_of_another_step_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    run(&mut trainer, 1);
    trainer.evaluated(result(0.7, 0.3));
    run(&mut trainer, 1);
    let older = save(&trainer, dir.path());
    run(&mut trainer, 1);
    let checkpoint = save(&trainer, dir.path());
    for name in ["model.safetensors", "optimizer.safetensors", "best.safetensors"] {
        let path = checkpoint.join(name);
        let own = std::fs::read(&path).unwrap();
        match name {
            // The best model is the same in both.
            "best.safetensors" => std::fs::copy(older.join("model.safetensors"), &path),
            name => std::fs::copy(older.join(name), &path),
        }
        .unwrap();
        let error = restored(&checkpoint).resume(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("belongs to another step"), "{error}");
        std::fs::write(&path, own).unwrap();
    }
    restored(&checkpoint).resume(&checkpoint).unwrap();
    forget_hashes(&checkpoint);
    std::fs::copy(older.join("optimizer.safetensors"), checkpoint.join("optimizer.safetensors"))
        .unwrap();
    restored(&checkpoint).resume(&checkpoint).unwrap();
}

/// The best weights are checked when the run is resumed, not when they are needed at its end.
#[test]
fn best_weights_of_another_model_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    run(&mut trainer, 1);
    trainer.evaluated(result(0.7, 0.3));
    run(&mut trainer, 1);
    let checkpoint = save(&trainer, dir.path());
    forget_hashes(&checkpoint);
    let best = checkpoint.join("best.safetensors");
    let file = SafeTensors::open(&best).unwrap();
    let tensors =
        || file.names().into_iter().map(|name| (name.clone(), file.tensor(&name).unwrap()));
    let name = "bert.pooler.dense.bias";
    let cut =
        tensors().map(|(n, t)| (n.clone(), if n == name { t.narrow(0, 0, 3).unwrap() } else { t }));
    let cut: Vec<_> = cut.collect();
    let lacking: Vec<_> = tensors().filter(|(n, _)| n != name).collect();
    for (tensors, part) in [(cut, "another model"), (lacking, "pooler")] {
        gradus_tensor::io::safetensors::save(&best, tensors, None).unwrap();
        let error = restored(&checkpoint).resume(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(part), "{error}");
    }
}

#[test]
fn a_loss_scale_belongs_to_a_run_in_f16() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = small_trainer(recipe());
    run(&mut trainer, 1);
    let checkpoint = save(&trainer, dir.path());
    rewrite(&checkpoint.join("trainer_state.json"), |state| {
        state["loss_scale"] = serde_json::json!([65536.0, 0.0, 0.0]);
        state["recipe"].as_object_mut().unwrap().remove("precision");
    });
    let error = restored(&checkpoint).resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("loss_scale") && error.contains("this run is in f32"), "{error}");
    let Some(gpu) = gradus_testing::gpu() else { return };
    let half = || {
        let recipe = Recipe { precision: gradus_models::Precision::F16, ..recipe() };
        crate::common::trainer_on(gpu, recipe, 16, 0.1)
    };
    let mut trainer = half();
    run(&mut trainer, 1);
    let checkpoint = save(&trainer, &dir.path().join("half"));
    rewrite(&checkpoint.join("trainer_state.json"), |state| {
        state.as_object_mut().unwrap().remove("loss_scale");
    });
    let error = half().resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("has no `loss_scale`"), "{error}");
}
