// Optimiser steps in place, (p, m, v) ← f(p, m, v, g), and √Σg² over many tensors.
//
//   AdamW: g ← scale·g + l2·p; m ← m + (1 − β₁)·(g − m); v ← β₂·v + (1 − β₂)·g²;
//          p ← p·keep − rate·m / (√v/root + ε)
//   SGD:   g ← scale·g + l2·p; b ← μ·b + gain·g; p ← p − rate·b (Nesterov: rate·(g + μ·b))
//
// VERDICT reads a verdict of loss scaling in place of scale. If its second number says to skip the step, the kernel
// changes nothing. The steps skipped before (its third number) do not count in AdamW's corrections, which the kernel
// then computes itself: rate = η/(1 − β₁ᵗ), root = √(1 − β₂ᵗ).
//
// Shapes: a launch takes several parameters (MANY), each with its gradient and state, row-major and of one size; all
// but the gradient begin at element 0. scale is one number in a buffer. A workgroup takes 1024 elements of one
// parameter, a thread 4, 256 apart; nothing is summed.
//
// Norm: a workgroup of `squares` sums 4096 elements of one tensor, 16 in each thread, 256 apart, then the
// threads pairwise; `norm` is one workgroup that sums all partial sums in the same manner. So the shapes
// fix the order.
// Numerics: the launcher computes factors in f64 and rounds them once. Squares are summed in f32 in
// three ranges of magnitude (Blue, ACM TOMS 4, 1978), the outer ones scaled by a power of two, so that
// neither overflow nor underflow spoils a norm that f32 can hold.

#if STEP
#if ENTRY == adamw
struct Args {
    scale_offset: u32,
    keep: f32,
    l2: f32,
    in1: f32,
    decay2: f32,
    in2: f32,
    rate: f32,
    root: f32,
    eps: f32,
#if VERDICT
    step: f32,
    log1: f32, // ln β₁
    log2: f32,
#end
    numel: array<u32, $MANY>,
    start: array<u32, $MANY>, // of the gradients' first elements
}
#else
struct Args {
    scale_offset: u32,
    first: u32,    // whether to ignore the buffer's old content; with a verdict the kernel decides itself
    nesterov: u32,
    l2: f32,
    rate: f32,
    momentum: f32,
    gain: f32,
#if VERDICT
    step: f32,
#end
    numel: array<u32, $MANY>,
    start: array<u32, $MANY>, // of the gradients' first elements
}
#end
var<immediate> args: Args;

$BINDINGS

// The gradient with its factor and the L2 penalty.
fn slope(gradient: f32, weight: f32) -> f32 {
#if SCALE
    return gradient * scale[args.scale_offset] + args.l2 * weight;
#else
    return gradient + args.l2 * weight;
#end
}

#if VERDICT
// 1 − eˣ for x below 0; for small x by its series.
fn gone(x: f32) -> f32 {
    if (x < -0.5) {
        return 1.0 - exp_(x);
    }
    var q = 1.0 + x / 9.0;
#for I in 0..7
    q = 1.0 + x / (8.0 - $I.0) * q;
#end
    return -x * q;
}
#end

@compute @workgroup_size(256)
fn $ENTRY(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if VERDICT
    if (scale[args.scale_offset + 1u] != 0.0) {
        return;
    }
    let step_number = max(args.step - scale[args.scale_offset + 2u], 1.0);
#if ENTRY == adamw
    let rate = args.rate / gone(step_number * args.log1);
    let root = sqrt(gone(step_number * args.log2));
#else
    let first = step_number == 1.0;
    let gain = select(args.gain, 1.0, first);
#end
#else
#if ENTRY == adamw
    let rate = args.rate;
    let root = args.root;
#else
    let first = args.first != 0u;
    let gain = args.gain;
#end
#end
    // Find the tensor, and the chunk of it.
    var which = u32($MANY);
    var chunk = group.y * groups.x + group.x;
    for (var i = 0u; i < u32($MANY); i++) {
        let chunks = (args.numel[i] + 1023u) / 1024u;
        if (which == u32($MANY)) {
            if (chunk < chunks) {
                which = i;
            } else {
                chunk -= chunks;
            }
        }
    }
#for i in 0..$MANY
    if (which == $i) {
        let end = min(args.numel[$i], (chunk + 1u) * 1024u);
        for (var at = chunk * 1024u + local; at < end; at += 256u) {
            let weight = p$i[at];
            let s = slope(g$i[args.start[$i] + at], weight);
#if ENTRY == adamw
            let old = m$i[at];
            let mean = old + args.in1 * (s - old);
            let square = args.decay2 * v$i[at] + args.in2 * s * s;
            m$i[at] = mean;
            v$i[at] = square;
            p$i[at] = weight * args.keep - rate * mean / (sqrt(square) / root + args.eps);
#else
            var step = s;
#if BUFFER
            var old = 0.0;
            if (!first) {
                old = args.momentum * b$i[at];
            }
            let new_ = old + gain * s;
            b$i[at] = new_;
            step = select(new_, s + args.momentum * new_, args.nesterov != 0u);
#end
            p$i[at] = weight - args.rate * step;
#end
        }
    }
#end
}
#end

#if NORM
struct Args {
    first: u32,                // index of the launch's first partial sum
    numel: array<u32, $MANY>,  // elements of the tensors; of `norm`: partial sums
    start: array<u32, $MANY>,  // of the tensors' first elements
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
$BINDINGS

// The square in its range. Large: from 2⁴⁶ on (with infinity and NaN), times 2⁻⁸⁴ before squaring; small:
// below 2⁻⁴⁰, times 2⁸⁰. The sum of 2³² squares of one range is finite.
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
    let unit = group.y * groups.x + group.x;
    var which = u32($MANY);
    var chunk = unit;
    for (var i = 0u; i < u32($MANY); i++) {
        let chunks = (args.numel[i] + 4095u) / 4096u;
        if (which == u32($MANY)) {
            if (chunk < chunks) {
                which = i;
            } else {
                chunk -= chunks;
            }
        }
    }
    if (which == u32($MANY)) {
        return;
    }
    var mine = vec3<f32>(0.0);
#for i in 0..$MANY
    if (which == $i) {
        let end = min(args.numel[$i], (chunk + 1u) * 4096u);
        for (var at = chunk * 4096u + local; at < end; at += 256u) {
            mine += square(x$i[args.start[$i] + at]);
        }
    }
#end
    let sum = joined(mine, local);
    if (local == 0u) {
        let at = (args.first + unit) * 3u;
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
    for (var i = local; i < args.numel[0]; i += 256u) {
        mine += vec3<f32>(partial[i * 3u], partial[i * 3u + 1u], partial[i * 3u + 2u]);
    }
    let sum = joined(mine, local);
    if (local == 0u) {
        // √(a² + b²) = a·√(1 + (b/a)²). Factors of 2⁻¹⁶⁰ on the sums, in two halves, would not work: a
        // compiler would fold them into one factor, which is 0.
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
