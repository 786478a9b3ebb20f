//! Attention of `heads` heads of n tokens and d numbers, and its backward pass, in one run:
//! S = Q·Kᵀ/√d, P = softmax(S) by rows, O = P·V; and from dO the gradients dQ, dK and dV.
//! All of these are `[heads, n, d]`.

mod online;
mod reference;
mod rows;
mod scores;
mod shipped;
#[path = "gpu/shipped.rs"]
mod shipped_gpu;
mod threads;
mod vectors;

use gradus_cli::Outcome;
use gradus_tensor::ops::attention::Attention as Options;
use gradus_tensor::ops::shader::UserShader;
use gradus_tensor::{Device, Tensor};

use crate::both::{self, Both, ForShaders, How};
use crate::family::{self, Lab, Settings, Work};
use crate::machine;
use crate::step::{Step, step};

/// The operands, as slices and on the device.
pub struct Attention {
    pub heads: usize,
    pub n: usize,
    pub d: usize,
    /// 1/√d.
    pub scale: f32,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// The gradient of O.
    g: Vec<f32>,
    /// Q, K, V and dO, `[heads·n, d]`: for the engine the heads are packed sequences.
    tensors: [Tensor; 4],
    offsets: Tensor,
    options: Options,
}

impl Attention {
    /// Q, K, V and dO of a head.
    pub fn head(&self, number: usize) -> (&[f32], &[f32], &[f32], &[f32]) {
        let range = number * self.n * self.d..(number + 1) * self.n * self.d;
        let [q, k, v, g] = [&self.q, &self.k, &self.v, &self.g].map(|all| &all[range.clone()]);
        (q, k, v, g)
    }
}

/// Where a step writes, of all heads or of one.
pub struct Results<'a> {
    pub o: &'a mut [f32],
    pub dq: &'a mut [f32],
    pub dk: &'a mut [f32],
    pub dv: &'a mut [f32],
}

impl<'a> From<[&'a mut [f32]; 4]> for Results<'a> {
    fn from([o, dq, dk, dv]: [&'a mut [f32]; 4]) -> Self {
        Results { o, dq, dk, dv }
    }
}

impl<'a> Results<'a> {
    pub fn all_zero(&mut self) {
        for x in [&mut *self.o, &mut *self.dq, &mut *self.dk, &mut *self.dv] {
            x.fill(0.0);
        }
    }

    /// The heads, each of `size` numbers.
    pub fn heads(self, size: usize) -> impl Iterator<Item = Results<'a>> {
        let forward = self.o.chunks_mut(size).zip(self.dq.chunks_mut(size));
        let backward = self.dk.chunks_mut(size).zip(self.dv.chunks_mut(size));
        forward.zip(backward).map(|((o, dq), (dk, dv))| Results { o, dq, dk, dv })
    }
}

const CPU: &[(Step, How<Attention>)] = &[
    (step!("bench/lab/src/attention/scores.rs"), How::Slices(|p, r| scores::both(p, r.into()))),
    (step!("bench/lab/src/attention/rows.rs"), How::Slices(|p, r| rows::both(p, r.into()))),
    (step!("bench/lab/src/attention/online.rs"), How::Slices(|p, r| online::both(p, r.into()))),
    (step!("bench/lab/src/attention/vectors.rs"), How::Slices(|p, r| vectors::both(p, r.into()))),
    (step!("bench/lab/src/attention/threads.rs"), How::Slices(|p, r| threads::both(p, r.into()))),
    (
        step!(
            "bench/lab/src/attention/shipped.rs",
            "tensor/cpu/src/attention.rs",
            "tensor/cpu/src/attention/forward.rs",
            "tensor/cpu/src/attention/backward.rs"
        ),
        How::Engine(shipped::both),
    ),
];

const GPU: &[(Step, How<Attention>)] = &[
    (step!("bench/lab/src/attention/gpu/scores.wgsl"), How::Shader),
    (step!("bench/lab/src/attention/gpu/online.wgsl"), How::Shader),
    (step!("bench/lab/src/attention/gpu/tiles.wgsl"), How::Shader),
    (
        step!("bench/lab/src/attention/gpu/shipped.rs", "shaders/src/attention.wgsl"),
        How::Engine(shipped_gpu::both),
    ),
];

/// The steps, for `--show` and `list`.
pub fn steps(on_gpu: bool) -> Vec<Step> {
    if on_gpu { family::steps(GPU) } else { family::steps(CPU) }
}

/// The lab. `mine` is one's own shader.
pub fn lab(settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
    let default = if machine::is_software(settings.device) { 256 } else { 512 };
    let [heads, n, d] = settings.sizes("HEADSxNxD", default, |n| [4, n, 64])?;
    let problem = Attention::new(settings, [heads, n, d])?;
    let expected = reference::of(&problem);
    let table = if settings.device == Device::Cpu { CPU } else { GPU };
    let (candidates, missing) =
        both::candidates((problem, expected), settings.device, table, mine)?;
    let tensor = 4.0 * (heads * n * d) as f64;
    Ok(Lab {
        title: format!(
            "attention of {heads} heads, {n} tokens, {d} numbers, forward and backward, f32"
        ),
        // Six products: S, O; dV, dP, dQ, dK. Reads Q, K, V and dO, writes O and three gradients.
        work: Work { flops: 12.0 * (heads * n * n * d) as f64, bytes: 8.0 * tensor },
        candidates,
        missing,
    })
}

impl Attention {
    fn new(settings: &Settings, [heads, n, d]: [usize; 3]) -> Outcome<Attention> {
        let normal = |name: &str| settings.normal(name, &[heads * n, d]);
        let [q, k, v, g] = [normal("q")?, normal("k")?, normal("v")?, normal("g")?];
        let bounds: Vec<u32> = (0..=heads).map(|head| (head * n) as u32).collect();
        let scale = 1.0 / (d as f64).sqrt();
        let on_device = |x: &Tensor| x.to_device(settings.device);
        Ok(Attention {
            heads,
            n,
            d,
            scale: scale as f32,
            q: q.to_vec()?,
            k: k.to_vec()?,
            v: v.to_vec()?,
            g: g.to_vec()?,
            tensors: [on_device(&q)?, on_device(&k)?, on_device(&v)?, on_device(&g)?],
            offsets: on_device(&Tensor::from_slice(&bounds, &[heads + 1])?)?,
            options: Options { scale, ..Options::default() },
        })
    }
}

impl Both for Attention {
    fn operands(&self) -> &[Tensor; 4] {
        &self.tensors
    }

    fn sizes(&self) -> [usize; 4] {
        [self.q.len(); 4]
    }

    /// Shaders may keep two numbers of each query, and two matrices of scores. Rows are the tokens
    /// of a head, columns the heads.
    fn for_shaders(&self) -> ForShaders {
        let (heads, n) = (self.heads, self.n);
        let sizes = [heads, n, self.d].map(|size| size as u32);
        ForShaders {
            arguments: [&sizes[..], &[self.scale.to_bits()]].concat(),
            sizes: (n, heads),
            more: vec![2 * heads * n, heads * n * n, heads * n * n],
        }
    }

    /// A thread that keeps rows has an array of a fixed length for them, `MOST_D`. Mesa's software
    /// Vulkan ends the loops of a thread after so many turns together, and says nothing.
    fn too_large_for(&self, shader: &UserShader) -> Option<String> {
        const MOST_TURNS: usize = 65_535;
        // A thread of a pass back goes three times over d for each token.
        let turns = 3 * self.n * self.d;
        if turns > MOST_TURNS && machine::is_software(self.tensors[0].device()) {
            return Some(format!(
                "software Vulkan ends a thread's loops after {MOST_TURNS} turns, and this size takes \
                 {turns}; give a smaller --size"
            ));
        }
        let most = shader.constant("MOST_D")?;
        let d = self.d;
        (d > most as usize).then(|| format!("a thread keeps at most {most} numbers, and d is {d}"))
    }
}
