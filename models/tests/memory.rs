//! Memory that does not grow from step to step. The test is alone in its process, because it counts
//! the process's memory.

mod common;

use common::{run, small_trainer};
use gradus_models::training::Recipe;
use gradus_tensor::memory_use;

#[test]
fn memory_does_not_grow_from_step_to_step() {
    let recipe = Recipe { steps: Some(230), batch_size: 16, lr: 1e-4, ..Recipe::default() };
    let mut trainer = small_trainer(recipe);
    run(&mut trainer, 30);
    let before = memory_use();
    run(&mut trainer, 200);
    let after = memory_use();
    eprintln!("before {before:?}, after {after:?}");
    assert!(after.live < before.live + (1 << 20), "{before:?} {after:?}");
}
