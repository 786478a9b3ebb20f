//! Every step of every family agrees with its reference, at odd sizes too, and has a header that
//! tells what it is. Nothing is timed.

use gradus_tensor::Device;

use crate::family::{Family, Settings};
use crate::measure::check;

/// Sizes for each family, most of them no multiple of anything.
fn sizes(family: Family) -> Vec<Vec<usize>> {
    match family {
        Family::Matmul => vec![
            vec![1, 1, 1],
            vec![5, 7, 3],
            vec![33, 65, 17],
            vec![98, 400, 36],
            vec![67, 20, 132],
        ],
        Family::Softmax => vec![vec![1, 1], vec![3, 5], vec![19, 130], vec![2, 1000]],
        Family::LayerNorm => vec![vec![1, 2], vec![3, 5], vec![19, 130], vec![131, 33]],
        Family::Attention => vec![vec![1, 1, 1], vec![2, 5, 3], vec![3, 67, 17], vec![2, 130, 32]],
    }
}

fn all_agree(device: Device) {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(|| {
        let on_gpu = device != Device::Cpu;
        for family in Family::ALL.into_iter().filter(|f| !f.steps(on_gpu).is_empty()) {
            for size in sizes(family) {
                let settings = Settings { device, size: size.clone(), seed: 7 };
                let mut lab = family.lab(&settings, None).unwrap();
                for candidate in &mut lab.candidates {
                    let name = candidate.step.source.path;
                    let wrong = check(candidate, device).unwrap().wrong;
                    assert_eq!(wrong, None, "{name} at {size:?}");
                }
                let count = lab.candidates.len() + lab.missing.len();
                assert_eq!(count, family.steps(on_gpu).len(), "{}", family.name());
            }
        }
    });
}

#[test]
fn every_step_on_the_processor_agrees_with_its_reference() {
    all_agree(Device::Cpu);
}

#[test]
fn every_step_on_a_gpu_agrees_with_its_reference() {
    if let Some(gpu) = gradus_testing::gpu() {
        all_agree(gpu);
    }
}

#[test]
fn every_step_tells_what_it_is() {
    for family in Family::ALL {
        for step in [family.steps(false), family.steps(true)].concat() {
            let (header, path) = (step.header(), step.source.path);
            for part in [header.name, header.summary, header.adds, header.why, header.order] {
                assert!(!part.is_empty(), "{path}: its header has name, summary, Adds, Why, Order");
            }
        }
    }
}
