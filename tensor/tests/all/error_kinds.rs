//! A case of each kind of error, on the CPU and on a GPU.

use gradus_tensor::{DType, Device, Error, ErrorKind, Result, Tensor};

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn ones(shape: &[usize], dtype: DType, device: Device) -> Tensor {
    Tensor::ones(shape, dtype).unwrap().to_device(device).unwrap()
}

fn each_kind_on(device: Device) {
    let x = ones(&[2, 3], DType::F32, device);
    assert_eq!(kind(x.matmul(&x)), ErrorKind::Shape);
    assert_eq!(kind(x.reshape(&[5])), ErrorKind::Shape);
    assert_eq!(kind(x.exp().unwrap().sum(&[2], false)), ErrorKind::Shape);
    assert_eq!(kind(x.add(&ones(&[2, 3], DType::U32, device))), ErrorKind::DType);
    assert_eq!(kind(ones(&[2], DType::U32, device).exp()), ErrorKind::DType);
    assert_eq!(kind(x.clamp(1.0, 0.0)), ErrorKind::Value);
    let label = Tensor::from_slice(&[0u32, 7], &[2]).unwrap().to_device(device).unwrap();
    assert_eq!(kind(x.cross_entropy(&label, &Default::default())), ErrorKind::Value);
    let all = x.select(0, 0).unwrap().broadcast_to(&[1 << 40, 3]).unwrap();
    assert_eq!(kind(all.matmul(&all.t().unwrap())), ErrorKind::OutOfMemory);
}

#[test]
fn every_kind_on_the_cpu() {
    each_kind_on(Device::Cpu);
    assert_eq!(kind(Tensor::zeros(&[1 << 50], DType::F32)), ErrorKind::OutOfMemory);
    assert_eq!(kind(Tensor::zeros(&[usize::MAX, 2], DType::F32)), ErrorKind::OutOfMemory);
    assert_eq!(
        kind(ones(&[1], DType::F32, Device::Cpu).to_device(Device::Gpu(999))),
        ErrorKind::Device
    );
    let missing = gradus_tensor::io::safetensors::SafeTensors::open("no/such/file");
    assert_eq!(kind(missing), ErrorKind::File);
}

/// What differs decides, and the module's path does not hide it.
#[test]
fn an_operand_that_must_match_differs_in_its_shape_or_its_dtype() {
    let cpu = Device::Cpu;
    let x = ones(&[2], DType::F32, cpu);
    let softmax = |grad: Tensor| x.softmax_backward(&grad, 0);
    assert_eq!(kind(softmax(ones(&[3], DType::F32, cpu))), ErrorKind::Shape);
    assert_eq!(kind(softmax(ones(&[2], DType::F64, cpu))), ErrorKind::DType);
    assert_eq!(kind(softmax(ones(&[3], DType::F64, cpu))), ErrorKind::Shape);
    let error =
        Error::of(ErrorKind::DeviceLost, "matmul", "gpu:0 failed").at("layer").at("encoder");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::DeviceLost, "encoder.layer: [matmul] gpu:0 failed",)
    );
}

#[test]
fn every_kind_on_a_gpu() {
    let Some(device) = gradus_testing::gpu() else { return };
    each_kind_on(device);
    let x = ones(&[2, 3], DType::F32, device);
    assert_eq!(kind(x.add(&ones(&[2, 3], DType::F32, Device::Cpu))), ErrorKind::Device);
    assert_eq!(kind(ones(&[1], DType::F64, Device::Cpu).to_device(device)), ErrorKind::DType);
}
