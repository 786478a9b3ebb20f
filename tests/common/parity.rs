//! A case of the registry on two devices: values and gradients.

use gradus::autograd::registry::{self, Case};
use gradus::autograd::{BackwardOptions, Op, Var};
use gradus::tensor::{DType, Device, Result, RngKey, Tensor};
use gradus_testing::{assert_devices_within, largest};

use super::conditioning::{rounded, slack, slack_of_attention, slack_of_terms};
use super::{VIEWS, View, seen_through};

/// The value and the gradients of a case, on the CPU.
type Outcome = (Tensor, Vec<Option<Tensor>>);

fn run(case: &Case, view: View, device: Device) -> Result<Outcome> {
    let inputs = case.inputs.iter().map(|t| t.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
    run_on(case, &inputs, view, device)
}

fn run_on(case: &Case, inputs: &[Tensor], view: View, device: Device) -> Result<Outcome> {
    let (mut leaves, mut opened) = (Vec::new(), Vec::new());
    for input in inputs {
        let (leaf, open) = seen_through(view, input)?;
        let leaf = match view {
            // A view of an uploaded tensor, so that the device works with its strides.
            View::Leaf if leaf.rank() > 1 => {
                leaf.transpose(0, -1)?.to_device(device)?.transpose(0, -1)?
            }
            _ => leaf.to_device(device)?,
        };
        leaves.push(Var::leaf(leaf));
        opened.push(open(&leaves[leaves.len() - 1])?);
    }
    let y = (case.f)(&opened)?;
    let value = y.tensor().to_device(Device::Cpu)?;
    if !y.requires_grad() {
        return Ok((value, Vec::new())); // a product of nothing is 1 for every input
    }
    // The seed has different numbers, so that a gradient in the wrong place is noticed.
    let seed = Tensor::rand(y.shape(), y.dtype(), RngKey::new(99))?.add_scalar(0.5)?;
    let grads = y.backward_with(Some(seed.to_device(device)?), BackwardOptions::default())?;
    let grad = |leaf: &Var| grads.get(leaf).map(|g| g.to_device(Device::Cpu)).transpose();
    Ok((value, leaves.iter().map(grad).collect::<Result<_>>()?))
}

/// What rounding may add to the difference of two devices, as the same case in f64 shows.
fn slack_of(case: &Case, view: View) -> Result<f64> {
    let in_f64 = |t: &Tensor| t.to_dtype(DType::F32)?.to_dtype(DType::F64);
    let inputs = case.inputs.iter().map(in_f64).collect::<Result<Vec<_>>>()?;
    let near = inputs.iter().map(rounded).collect::<Result<Vec<_>>>()?;
    let exact = run_on(case, &inputs, view, Device::Cpu)?;
    let near = run_on(case, &near, view, Device::Cpu)?;
    let gradients =
        exact.1.iter().zip(&near.1).filter_map(|(e, n)| Some(slack(e.as_ref()?, n.as_ref()?)));
    let of_values = gradients.fold(slack(&exact.0, &near.0), f64::max);
    Ok(of_values + slack_of_attention(case) + slack_of_terms(largest_terms(case, &inputs, view)?))
}

/// Where a view repeats numbers, the gradient of one number is a sum of many terms. Returns the
/// largest sum of the magnitudes of such terms, or of the incoming gradients.
fn largest_terms(case: &Case, inputs: &[Tensor], view: View) -> Result<f64> {
    let (mut leaves, mut opened) = (Vec::new(), Vec::new());
    for input in inputs {
        let (leaf, open) = seen_through(view, input)?;
        leaves.push(Var::leaf(leaf));
        opened.push(open(&leaves[leaves.len() - 1])?);
        opened[opened.len() - 1].retain_grad();
    }
    let y = (case.f)(&opened)?;
    if !y.requires_grad() {
        return Ok(0.0);
    }
    let seed = Tensor::rand(y.shape(), y.dtype(), RngKey::new(99))?.add_scalar(0.5)?;
    let sum = |t: &Tensor| t.to_f64_vec().iter().map(|x| x.abs()).sum::<f64>();
    let incoming = sum(&seed);
    let grads = y.backward_with(Some(seed), BackwardOptions::default())?;
    let terms = |(leaf, opened): (&Var, &Var)| match grads.get(opened) {
        Some(grad) if opened.numel() > leaf.numel() => {
            sum(grad).max(incoming) / leaf.numel().max(1) as f64
        }
        _ => 0.0,
    };
    Ok(leaves.iter().zip(&opened).map(terms).fold(0.0, f64::max))
}

/// Whether a device with low limits refuses a case by name: more workgroups than two dimensions
/// hold, or a tensor larger than a binding.
fn is_limit(error: &str) -> bool {
    ["starts at once", "is more than one binding"].iter().any(|limit| error.contains(limit))
}

/// Panics where the devices do not agree; the message names the case and `context`.
pub fn compare(case: &Case, view: View, device: Device, context: &str) {
    // A broadcast view could give layer norm rows of equal numbers, whose normalised values are
    // only rounding errors. Such a case is run without the view.
    let row = |x: &Tensor| x.shape()[..x.rank() - 1].iter().all(|&size| size == 1);
    let flat = matches!(view, View::Broadcast) && case.op == Op::LayerNorm && row(&case.inputs[0]);
    let view = if flat { View::Plain } else { view };
    let what = format!("{} {view:?}{context}", case.label);
    let on_gpu = match run(case, view, device) {
        Ok(outcome) => outcome,
        Err(error) if is_limit(&error.to_string()) => return,
        Err(error) => panic!("{what}: {error}"),
    };
    let on_cpu = run(case, view, Device::Cpu).expect("the CPU computes every case");
    // Terms of gradients may cancel, most of all through a broadcast view. Rounding errors are then
    // relative to the largest element of all.
    let all = on_cpu.1.iter().flatten().chain([&on_cpu.0]);
    let absolute = 5e-6 * all.fold(1.0, |m, x| largest(x, m)) + slack_of(case, view).unwrap();
    assert_devices_within(&what, absolute, &on_cpu.0, &on_gpu.0);
    assert_eq!(on_cpu.1.len(), on_gpu.1.len(), "{what}: gradients");
    for (i, (cpu, gpu)) in on_cpu.1.iter().zip(&on_gpu.1).enumerate() {
        let what = format!("{what}, gradient {i}");
        match (cpu, gpu) {
            (Some(cpu), Some(gpu)) => assert_devices_within(&what, absolute, cpu, gpu),
            (cpu, gpu) => assert_eq!(cpu.is_some(), gpu.is_some(), "{what}"),
        }
    }
}

/// Runs [`compare`] for every operation along long dimensions, with one view for each case.
pub fn compare_long(device: Device, seed: u64) {
    eprintln!("seed {seed}");
    let key = RngKey::new(seed);
    for (i, case) in registry::all_long_cases(key).iter().enumerate() {
        let view = VIEWS[key.place("view").step(i as u64).0 as usize % VIEWS.len()];
        compare(case, view, device, &format!(", seed {seed}"));
    }
}
