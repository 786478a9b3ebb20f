// Optimiser steps in place, (p, m, v) ← f(p, m, v, g), and √Σg² over many tensors.
//
//   AdamW: g ← scale·g + l2·p; m ← m + (1 − β₁)·(g − m); v ← β₂·v + (1 − β₂)·g²;
//          p ← p·keep − rate·m / (√v/root + ε)
//   SGD:   g ← scale·g + l2·p; b ← μ·b + gain·g; p ← p − rate·b (Nesterov: rate·(g + μ·b))
//
// Shapes: the tensors of a step are row-major and of one size, each from an offset of its own; scale is
// one number that is read here. A step's thread takes one element; nothing is summed.
//
// Norm: a workgroup of `squares` sums 4096 elements of one tensor, 16 a thread, 256 apart, then the
// threads pairwise; `norm` is one workgroup that sums all partial sums in the same manner. So the order
// is fixed by the shapes.
// Numerics: factors are computed in f64 by the launcher and rounded once. Squares are summed in f32 in
// three ranges of magnitude (Blue, ACM TOMS 4, 1978), the outer ones scaled by a power of two, so that
// neither overflow nor underflow spoils a norm that f32 can hold.

#if ENTRY == adamw
struct Args {
    numel: u32,
    p_offset: u32,
    g_offset: u32,
    m_offset: u32,
    v_offset: u32,
    scale_offset: u32,
    keep: f32,
    l2: f32,
    in1: f32,
    decay2: f32,
    in2: f32,
    rate: f32,
    root: f32,
    eps: f32,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> g: array<f32>;
#if SCALE
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
#else
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
#end

@compute @workgroup_size(256)
fn adamw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= args.numel) {
        return;
    }
    let weight = p[args.p_offset + i];
    var slope = g[args.g_offset + i];
#if SCALE
    slope *= scale[args.scale_offset];
#end
    slope += args.l2 * weight;
    let old = m[args.m_offset + i];
    let mean = old + args.in1 * (slope - old);
    let square = args.decay2 * v[args.v_offset + i] + args.in2 * slope * slope;
    m[args.m_offset + i] = mean;
    v[args.v_offset + i] = square;
    p[args.p_offset + i] = weight * args.keep - args.rate * mean / (sqrt(square) / args.root + args.eps);
}
#end

#if ENTRY == sgd
struct Args {
    numel: u32,
    p_offset: u32,
    g_offset: u32,
    b_offset: u32,
    scale_offset: u32,
    first: u32,    // whether the buffer's old content counts for nothing
    nesterov: u32,
    l2: f32,
    rate: f32,
    momentum: f32,
    gain: f32,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> g: array<f32>;
#if SCALE
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> b: array<f32>;
#else
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
#end

@compute @workgroup_size(256)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= args.numel) {
        return;
    }
    let weight = p[args.p_offset + i];
    var slope = g[args.g_offset + i];
#if SCALE
    slope *= scale[args.scale_offset];
#end
    slope += args.l2 * weight;
    var step = slope;
#if BUFFER
    var old = 0.0;
    if (args.first == 0u) {
        old = args.momentum * b[args.b_offset + i];
    }
    let new_ = old + args.gain * slope;
    b[args.b_offset + i] = new_;
    step = select(new_, slope + args.momentum * new_, args.nesterov != 0u);
#end
    p[args.p_offset + i] = weight - args.rate * step;
}
#end

#if NORM
struct Args {
    numel: u32,  // elements of the tensor; of `norm`: partial sums
    offset: u32, // of the tensor's first element
    first: u32,  // the first partial sum of the tensor
}
var<immediate> args: Args;

// Three sums each: of large, middle and small elements.
var<workgroup> sums: array<vec3<f32>, 256>;

fn joined(mine: vec3<f32>, local: u32) -> vec3<f32> {
    sums[local] = mine;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (local < half) {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}
#end

#if ENTRY == squares
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;

// The square in its range. Large: from 2⁴⁶ on (with infinity and NaN), times 2⁻⁸⁴ before squaring; small:
// below 2⁻⁴⁰, times 2⁸⁰. 2³² squares of a range stay finite.
fn square(x: f32) -> vec3<f32> {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    if (bits >= 0x56800000u) {
        let y = x * 0x1p-84f;
        return vec3<f32>(y * y, 0.0, 0.0);
    }
    if (bits >= 0x2b800000u) {
        return vec3<f32>(0.0, x * x, 0.0);
    }
    let y = x * 0x1p80f;
    return vec3<f32>(0.0, 0.0, y * y);
}

@compute @workgroup_size(256)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = group.y * groups.x + group.x;
    if (chunk >= (args.numel - 1u) / 4096u + 1u) {
        return;
    }
    let rest = args.numel - chunk * 4096u;
    var mine = vec3<f32>(0.0);
    for (var i = local; i < min(rest, 4096u); i += 256u) {
        mine += square(x[args.offset + chunk * 4096u + i]);
    }
    let sum = joined(mine, local);
    if (local == 0u) {
        let at = (args.first + chunk) * 3u;
        partial[at] = sum.x;
        partial[at + 1u] = sum.y;
        partial[at + 2u] = sum.z;
    }
}
#end

#if ENTRY == norm
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

// One workgroup.
@compute @workgroup_size(256)
fn norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    if (group.x + group.y > 0u) {
        return;
    }
    var mine = vec3<f32>(0.0);
    for (var i = local; i < args.numel; i += 256u) {
        mine += vec3<f32>(partial[i * 3u], partial[i * 3u + 1u], partial[i * 3u + 2u]);
    }
    let sum = joined(mine, local);
    if (local == 0u) {
        // √(a² + b²) = a·√(1 + (b/a)²): factors of 2⁻¹⁶⁰ on the sums, in two halves, would be folded into
        // one that is 0.
        let middle = sqrt(sum.y);
        let small = sqrt(sum.z) * 0x1p-80f;
        let large = bitcast<u32>(sum.x);
        var norm = small;
        if (large >= 0x7f800000u) {
            norm = sum.x; // infinity or NaN
        } else if (large > 0u) {
            let most = sqrt(sum.x) * 0x1p84f;
            let ratio = middle / most;
            norm = most * sqrt(1.0 + ratio * ratio);
        } else if (bitcast<u32>(sum.y) > 0u) {
            let ratio = small / middle;
            norm = middle * sqrt(1.0 + ratio * ratio);
        }
        y[0] = norm;
    }
}
#end
