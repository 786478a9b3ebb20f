//! What the machine can do at most, measured in every round beside the steps.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use gradus_cli::Outcome;
use gradus_tensor::ops::shader::{UserShader, launch};
use gradus_tensor::{DType, Device, Tensor};

/// The limits in one round.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Floating-point operations a second, of multiply-adds in registers.
    pub flops: f64,
    /// Bytes a second, of a stream that only reads.
    pub bytes: f64,
}

/// Measures the limits.
pub trait Measure {
    fn measure(&mut self) -> Outcome<Limits>;

    /// How much the stream reads: as much as the problem has, but not so little that nothing is
    /// measured.
    fn stream_bytes(&self) -> usize;
}

/// The limits of a device; the stream reads `bytes`.
pub fn of(device: Device, bytes: f64) -> Outcome<Box<dyn Measure>> {
    Ok(match device {
        Device::Cpu => Box::new(Cpu::new(bytes)),
        _ => Box::new(Gpu::new(device, bytes)?),
    })
}

/// Of all threads of the processor.
struct Cpu {
    /// Each thread's part of the stream: together as many bytes as the problem has, because a small
    /// problem comes from a cache, whose stream is faster than the memory's.
    parts: Vec<Vec<f32>>,
}

/// Seconds of each measurement.
const SECONDS: f64 = 0.01;
/// Multiply-adds of each chain between two looks at the clock.
const ROUNDS: usize = 100_000;

impl Cpu {
    fn new(bytes: f64) -> Cpu {
        let threads = rayon::current_num_threads();
        let numbers = (bytes as usize / 4 / threads).clamp(1 << 10, 1 << 28);
        Cpu { parts: (0..threads).map(|_| vec![1.0; numbers]).collect() }
    }
}

impl Measure for Cpu {
    fn measure(&mut self) -> Outcome<Limits> {
        let (mut operations, start) = (0, Instant::now());
        while start.elapsed().as_secs_f64() < SECONDS {
            let on_each = rayon::broadcast(|_| gradus_cpu::fma_loop(ROUNDS));
            operations += on_each.into_iter().sum::<u64>();
        }
        let flops = operations as f64 / start.elapsed().as_secs_f64();
        let (parts, mut passes, start) = (&self.parts, 0, Instant::now());
        let bytes = self.stream_bytes();
        // Passes enough that meeting the other threads costs nothing.
        let each = (4usize << 20).div_ceil(bytes).max(1);
        while start.elapsed().as_secs_f64() < SECONDS {
            rayon::broadcast(|thread| {
                for _ in 0..each {
                    black_box(gradus_cpu::read_loop(black_box(&parts[thread.index()])));
                }
            });
            passes += each;
        }
        let bytes = (bytes * passes) as f64 / start.elapsed().as_secs_f64();
        Ok(Limits { flops, bytes })
    }

    fn stream_bytes(&self) -> usize {
        4 * self.parts.iter().map(Vec::len).sum::<usize>()
    }
}

/// Of a GPU.
struct Gpu {
    device: Device,
    shader: Arc<UserShader>,
    data: Tensor,
    out: Tensor,
    /// Rounds of multiply-adds, and passes of the stream, that take [`SECONDS`].
    rounds: u32,
    passes: u32,
}

/// Threads of the shader of limits: many for any GPU.
const THREADS: usize = 1 << 17;

impl Gpu {
    fn new(device: Device, bytes: f64) -> Outcome<Gpu> {
        let fours = (bytes as usize / 16).max(THREADS * 2);
        let mut gpu = Gpu {
            device,
            shader: crate::shader::parse("limits.wgsl", include_str!("limits.wgsl"))?,
            data: Tensor::full_on(&[4 * fours], 1.0, DType::F32, device)?,
            out: Tensor::zeros_on(&[4 * THREADS], DType::F32, device)?,
            rounds: 8,
            passes: 1,
        };
        // Compiles both, so that no measurement does.
        gpu.seconds("multiply_adds", 1)?;
        gpu.seconds("stream", 1)?;
        Ok(gpu)
    }

    /// Seconds of so many launches of an entry point.
    fn seconds(&mut self, entry: &str, launches: u32) -> Outcome<f64> {
        let fours = self.data.numel() as u32 / 4;
        let arguments = [self.rounds, fours, THREADS as u32];
        self.device.synchronize()?;
        let start = Instant::now();
        for _ in 0..launches {
            let (inputs, groups) = ([&self.data], [THREADS as u32 / 64, 1, 1]);
            launch(&self.shader, entry, &inputs, &mut [&mut self.out], &arguments, groups)?;
        }
        self.device.synchronize()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Measure for Gpu {
    fn measure(&mut self) -> Outcome<Limits> {
        let mut fma = self.seconds("multiply_adds", 1)?;
        while fma < SECONDS && self.rounds < 1 << 20 {
            self.rounds *= 2;
            fma = self.seconds("multiply_adds", 1)?;
        }
        let mut stream = self.seconds("stream", self.passes)?;
        while stream < SECONDS && self.passes < 1 << 12 {
            self.passes *= 2;
            stream = self.seconds("stream", self.passes)?;
        }
        let operations = THREADS as f64 * f64::from(self.rounds) * 64.0;
        let bytes = self.stream_bytes() as f64 * f64::from(self.passes);
        Ok(Limits { flops: operations / fma, bytes: bytes / stream })
    }

    fn stream_bytes(&self) -> usize {
        4 * self.data.numel()
    }
}
