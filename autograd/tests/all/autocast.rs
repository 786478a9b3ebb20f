//! Autocast: which operations compute in f16, and that each gradient comes back in the dtype of its
//! variable. Most tests need a GPU: the CPU has no attention in f16.

use gradus_autograd::{BackwardOptions, Var, autocast, checkpoint, grad};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{CrossEntropy, DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

const F16: DType = DType::F16;
const F32: DType = DType::F32;

pub fn leaf(shape: &[usize], seed: u64, device: Device) -> Var {
    let x = Tensor::randn(shape, F32, RngKey::new(seed)).unwrap();
    Var::leaf(x.mul_scalar(0.5).unwrap().to_device(device).unwrap())
}

fn lower<R>(body: impl FnOnce() -> R) -> R {
    autocast(Some(F16), body)
}

/// Asserts equality within `tolerance` of the largest element.
pub fn assert_near(what: &str, ours: &Tensor, truth: &Tensor, tolerance: f64) {
    assert_eq!((ours.shape(), ours.dtype()), (truth.shape(), truth.dtype()), "{what}");
    let (ours, truth) = (ours.to_f64_vec(), truth.to_f64_vec());
    let scale = truth.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (a, b) in ours.iter().zip(&truth) {
        assert!((a - b).abs() <= tolerance * scale, "{what}: {a}, should be {b} (of {scale})");
    }
}

#[test]
fn operations_have_their_dtypes() {
    let Some(device) = gpu() else { return };
    let (x, w, b) = (leaf(&[6, 8], 1, device), leaf(&[8, 8], 2, device), leaf(&[8], 3, device));
    let offsets = Tensor::from_slice(&[0u32, 2, 6], &[3]).unwrap().to_device(device).unwrap();
    let attention = Attention { heads: 2, scale: 0.5, ..Default::default() };
    let targets = Tensor::from_slice(&[0u32, 7, 3, 1, 2, 5], &[6]).unwrap();
    let targets = targets.to_device(device).unwrap();
    lower(|| {
        let y = x.linear(&w, Some(&b)).unwrap();
        let low = [
            &y,
            &x.linear_gelu(&w, None).unwrap(),
            &x.matmul(&w).unwrap(),
            &x.attention(&y, &x, None, &offsets, &attention).unwrap(),
            &x.linear_cat(&[&w, &w], &[&b, &b]).unwrap(),
            &x.linear_cat(&[&w, &w, &w], &[])
                .unwrap()
                .attention_qkvpacked(None, &offsets, &attention)
                .unwrap(),
            &y.dropout_add_layer_norm(&x, &b, Some(&b), 1e-5, None).unwrap(),
            &x.layer_norm(&b, Some(&b), 1e-5).unwrap(),
            &y.layer_norm(&b, Some(&b), 1e-5).unwrap(),
            &y.add(&y).unwrap(),
            &y.dropout(0.5, RngKey::new(1)).unwrap(),
            &y.gelu().unwrap(),
        ];
        assert!(low.iter().all(|v| v.dtype() == F16), "{:?}", low.map(|v| v.dtype()));
        let high = [
            &y.softmax(-1).unwrap(),
            &y.log_softmax(-1).unwrap(),
            &y.cross_entropy(&targets, &CrossEntropy::default()).unwrap(),
            &y.sum(&[0], false).unwrap(),
            &y.mean_all().unwrap(),
            &y.var(&[1], false, 1).unwrap(),
            &y.logsumexp(&[1], false).unwrap(),
            &y.exp().unwrap(),
            &y.square().unwrap(),
            // Mixed operands compute in the wider dtype.
            &y.add(&x).unwrap(),
            &x.mul(&y).unwrap(),
            &y.index_add(
                0,
                &Tensor::from_slice(&[1u32, 1, 0, 2, 5, 5], &[6])
                    .unwrap()
                    .to_device(device)
                    .unwrap(),
                &y,
            )
            .unwrap(),
            &y.at_least_f32().unwrap(),
        ];
        assert!(high.iter().all(|v| v.dtype() == F32), "{:?}", high.map(|v| v.dtype()));
    });
    // Outside autocast nothing is converted, and mixed dtypes are an error.
    let y = lower(|| x.linear(&w, None)).unwrap();
    assert_eq!(x.linear(&w, None).unwrap().dtype(), F32);
    assert!(y.add(&x).unwrap_err().to_string().contains("dtype"));
}

/// A product of some variables.
type Product = fn(&[Var]) -> gradus_tensor::Result<Var>;

/// The products, of which the CPU has f16 too: the result is f16 and near that of f32, the gradients
/// are f32 and near, recorded or not. f64 stays as it is.
#[test]
fn products_on_the_cpu() {
    let cpu = Device::Cpu;
    let leaves = [leaf(&[6, 8], 1, cpu), leaf(&[8, 8], 2, cpu), leaf(&[8], 3, cpu)];
    let products: [Product; 4] = [
        |v| v[0].matmul(&v[1]),
        |v| v[0].linear(&v[1], Some(&v[2])),
        |v| v[0].linear_gelu(&v[1], Some(&v[2])),
        |v| v[0].linear_cat(&[&v[1], &v[1]], &[&v[2], &v[2]]),
    ];
    for (at, product) in products.iter().enumerate() {
        let loss = |y: Var| y.to_dtype(F32).unwrap().square().unwrap().sum_all().unwrap();
        let (truth, low) = (product(&leaves).unwrap(), lower(|| product(&leaves)).unwrap());
        assert_eq!((truth.dtype(), low.dtype()), (F32, F16), "product {at}");
        let wide = low.to_dtype(F32).unwrap().into_tensor();
        assert_near(&format!("product {at}"), &wide, truth.tensor(), 2e-3);
        let truth = loss(truth).backward().unwrap();
        for create_graph in [false, true] {
            let options = BackwardOptions { create_graph, retain_graph: true };
            let grads = loss(low.clone()).backward_with(None, options).unwrap();
            for v in leaves.iter().filter(|v| truth.get(v).is_some()) {
                let what = format!("product {at}, {:?}, recorded: {create_graph}", v.shape());
                assert_near(&what, grads.get(v).unwrap(), truth.get(v).unwrap(), 5e-3);
            }
        }
        let double = leaves.each_ref().map(|v| v.to_dtype(DType::F64).unwrap());
        assert_eq!(lower(|| product(&double)).unwrap().dtype(), DType::F64, "product {at}");
    }
}

#[test]
fn sums_and_exponentials_on_the_cpu_are_f32() {
    let x = leaf(&[6, 8], 1, Device::Cpu);
    let y = x.to_dtype(F16).unwrap();
    lower(|| {
        for high in [y.exp(), y.square(), y.sum_all(), y.softmax(-1), y.add(&x), x.mul(&y)] {
            assert_eq!(high.unwrap().dtype(), F32);
        }
        for low in [y.add(&y), y.gelu(), y.neg()] {
            assert_eq!(low.unwrap().dtype(), F16);
        }
    });
    assert_eq!(y.exp().unwrap().dtype(), F16, "outside autocast nothing is converted");
}

/// A small network of all operations that convert; its gradients are f32 and near those of f32,
/// also when a part of it is computed again in backward, and when the gradients are recorded.
#[test]
fn gradients_are_f32_and_near() {
    let Some(device) = gpu() else { return };
    let leaves: Vec<Var> =
        [&[9usize, 16][..], &[32, 16], &[32], &[16, 32], &[16], &[16], &[16, 16]]
            .iter()
            .enumerate()
            .map(|(i, shape)| leaf(shape, i as u64, device))
            .collect();
    let offsets = Tensor::from_slice(&[0u32, 4, 9], &[3]).unwrap().to_device(device).unwrap();
    let attention = Attention { heads: 2, scale: 0.5, ..Default::default() };
    let network = move |v: &[Var]| {
        let y = v[0].layer_norm(&v[4], Some(&v[5]), 1e-5)?;
        let z = y.linear_gelu(&v[1], Some(&v[2]))?.linear(&v[3], Some(&v[4]))?;
        let z =
            z.dropout_add_layer_norm(&y, &v[4], Some(&v[5]), 1e-5, Some((0.2, RngKey::new(3))))?;
        let qkv = z.linear_cat(&[&v[1], &v[6]], &[&v[2], &v[5]])?;
        let z = qkv.attention_qkvpacked(None, &offsets, &attention)?;
        z.matmul(&v[3])?.layer_norm(&v[2], Some(&v[2]), 1e-5)?.square()?.mean_all()
    };
    let truth = network(&leaves).unwrap().backward().unwrap();
    let (again, network_again) = (leaves.clone(), network.clone());
    let plain = lower(|| network(&leaves)).unwrap().backward().unwrap();
    let twice = lower(|| checkpoint(move || network_again(&again))).unwrap().backward().unwrap();
    let loss = lower(|| network(&leaves)).unwrap();
    let options = BackwardOptions { create_graph: true, retain_graph: true };
    let recorded = grad(&[loss], &leaves, None, options).unwrap();
    for (i, v) in leaves.iter().enumerate() {
        let what = |kind: &str| format!("{kind}, leaf {i} {:?}", v.shape());
        let truth = truth.get(v).unwrap();
        assert_near(&what("plain"), plain.get(v).unwrap(), truth, 5e-3);
        assert_eq!(
            plain.get(v).unwrap().to_f64_vec(),
            twice.get(v).unwrap().to_f64_vec(),
            "{}",
            what("checkpoint")
        );
        let recorded = recorded[i].as_ref().unwrap();
        assert!(recorded.requires_grad());
        assert_near(&what("recorded"), recorded.tensor(), truth, 5e-3);
    }
}

/// The weight's gradient is the f32 sum of four products 2⁻¹²·2⁻¹⁴, which f16 cannot hold.
#[test]
fn gradients_of_weights_are_not_rounded() {
    let Some(device) = gpu() else { return };
    let full = |shape: &[usize], value: f64| {
        Var::leaf(Tensor::full_on(shape, value, F32, device).unwrap())
    };
    let (x, w, b) = (full(&[4, 3], 2f64.powi(-12)), full(&[2, 3], 1.0), full(&[2], 0.0));
    let y = lower(|| x.linear(&w, Some(&b))).unwrap();
    let seed = Tensor::full_on(&[4, 2], 2f64.powi(-14), F16, device).unwrap();
    let grads = y.backward_with(Some(seed), BackwardOptions::default()).unwrap();
    assert_eq!(grads.get(&w).unwrap().to_f64_vec(), [2f64.powi(-24); 6]);
    assert_eq!(grads.get(&b).unwrap().to_f64_vec(), [2f64.powi(-12); 2]);
}
