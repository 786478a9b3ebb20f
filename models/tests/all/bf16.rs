//! BERT trained in bf16 on the CPU: compared with f32, resumed, on several threads. A processor on
//! which bf16 is no faster computes in f32, and the tests ask for that.

use gradus_models::Precision;
use gradus_models::tasks::Classification;
use gradus_models::training::{Recipe, Trainer};
use gradus_tensor::{DType, Device, is_bf16_fast};

use crate::common::{load_weights, run, save, trainer_on};

fn task(precision: Precision) -> Trainer<Classification> {
    let recipe =
        Recipe { steps: Some(20), batch_size: 16, lr: 5e-3, precision, ..Recipe::default() };
    trainer_on(Device::Cpu, recipe, 16, 0.1)
}

/// Loss and norm of the gradients of some steps.
fn steps(trainer: &mut Trainer<Classification>, count: usize) -> Vec<(f64, f64)> {
    let one = |_| {
        let step = trainer.step().unwrap().unwrap();
        (step.loss.item().unwrap(), step.grad_norm.item().unwrap())
    };
    (0..count).map(one).collect()
}

#[test]
fn twenty_steps_follow_f32() {
    let truth = steps(&mut task(Precision::F32), 20);
    let mut trainer = task(Precision::Bf16);
    let ours = steps(&mut trainer, 20);
    let far = |of: fn(&(f64, f64)) -> f64| {
        let far = ours.iter().zip(&truth).map(|(a, b)| (of(a) / of(b) - 1.0).abs());
        far.fold(0f64, f64::max)
    };
    let (loss, norm) = (far(|step| step.0), far(|step| step.1));
    eprintln!("20 steps in bf16: loss within {loss:.1e} of f32, norm within {norm:.1e}");
    assert!(loss < 1e-2 && norm < 5e-2, "{loss:.1e} {norm:.1e}");
    assert_eq!(loss > 1e-7, is_bf16_fast(), "in bf16 where that is fast: {loss:.1e}");
    assert!(trainer.store().parameters().iter().all(|p| p.dtype() == DType::F32));
}

#[test]
fn threads_do_not_matter_and_a_resumed_run_goes_on_bit_for_bit() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let truth = pool.install(|| steps(&mut task(Precision::Bf16), 6));
    let folder = tempfile::tempdir().unwrap();
    let mut first = task(Precision::Bf16);
    run(&mut first, 4);
    let checkpoint = save(&first, folder.path());
    let mut second = task(Precision::Bf16);
    load_weights(&second, &checkpoint);
    second.resume(&checkpoint).unwrap();
    assert_eq!(steps(&mut second, 2), truth[4..]);
    // In another precision it is another run.
    let error = task(Precision::F32).resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("another recipe") && error.contains("bf16"), "{error}");
}
