// Cross-entropy of logits x [rows, classes] with targets y [rows], class weights w [classes] (1 without)
// and smoothing ε, in f32:
//
//   lse = m + l, m = max x, l = ln Σ e^(x − m)
//   loss = (1 − ε)·w[y]·(l + (m − x[y])) + ε/classes·Σ_j w[j]·((m − x[j]) + l)
//   dx[j] = s·(e^((x[j] − m) − l)·((1 − ε)·w[y] + ε/classes·Σw) − ε/classes·w[j] − (1 − ε)·w[y]·[j = y])
//
// where s is the loss's gradient, divided by D = Σ w[y] over the rows for the mean. Ignored rows give 0.
//
// rows: one workgroup for each row computes its loss and lse as (m, l). total: one workgroup computes the sum of the
// losses, divided by D for the mean. terms: one workgroup computes D (1 if not the mean) and Σw. backward: one thread
// computes one element of dx.
// Order of reduction: thread t of a workgroup takes elements t, t + THREADS, …; then the threads join
// pairwise, the farthest first. It depends on the sizes only.
// Numerics: m is subtracted first, so that a common offset of the logits cancels exactly.

struct Args {
    rows: u32,
    classes: u32,
    x_offset: u32,
    y_offset: u32,
    weight_offset: u32,
    lse_offset: u32,
    grad_offset: u32,
    grad_step: u32, // 1 where each row's loss has its own gradient, 0 where all share one
    ignores: u32,   // whether the target `ignore` is ignored
    ignore: u32,
    mean: u32,      // whether the sum is divided by D
    hard: f32,      // 1 − ε
    soft: f32,      // ε/classes
}
var<immediate> args: Args;

#if KIND == rows
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<u32>;
#if WEIGHT
@group(0) @binding(2) var<storage, read> weight: array<f32>;
#end
@group(0) @binding($FIRST) var<storage, read_write> losses: array<f32>;
@group(0) @binding($SECOND) var<storage, read_write> lse: array<f32>;
#end
#if KIND == total
@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<u32>;
#if WEIGHT
@group(0) @binding(2) var<storage, read> weight: array<f32>;
#end
@group(0) @binding($FIRST) var<storage, read_write> loss: array<f32>;
#end
#if KIND == terms
@group(0) @binding(0) var<storage, read> y: array<u32>;
#if WEIGHT
@group(0) @binding(1) var<storage, read> weight: array<f32>;
#end
@group(0) @binding($FIRST) var<storage, read_write> terms: array<f32>;
#end
#if KIND == backward
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<u32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> grad: array<f32>;
@group(0) @binding(4) var<storage, read> terms: array<f32>;
#if WEIGHT
@group(0) @binding(5) var<storage, read> weight: array<f32>;
#end
@group(0) @binding($FIRST) var<storage, read_write> dx: array<f32>;
#end

fn weight_of(class_: u32) -> f32 {
#if WEIGHT
    return weight[args.weight_offset + class_];
#else
    return 1.0;
#end
}

fn is_ignored(target_: u32) -> bool {
    return args.ignores != 0u && target_ == args.ignore;
}

#if KIND == backward
@compute @workgroup_size(256)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= args.rows * args.classes) {
        return;
    }
    let row = i / args.classes;
    let j = i - row * args.classes;
    let wanted = y[args.y_offset + row];
    if (is_ignored(wanted)) {
        dx[i] = 0.0;
        return;
    }
    let scale = grad[args.grad_offset + row * args.grad_step] / terms[0];
    let hard = scale * args.hard * weight_of(wanted);
    let soft = scale * args.soft;
    let p = hard + soft * terms[1];
    let lse_at = args.lse_offset + 2u * row;
    var d = p * exp_((x[args.x_offset + i] - lse[lse_at]) - lse[lse_at + 1u]);
    if (args.soft != 0.0) {
        d -= soft * weight_of(j);
    }
    if (j == wanted) {
        d -= hard;
    }
    dx[i] = d;
}
#else
var<workgroup> lanes: array<f32, $THREADS>;

// The sum over the workgroup, for all its threads.
fn sum_of(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    lanes[local] = value;
    workgroupBarrier();
    for (var half = $THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    return lanes[0];
}
#end

#if KIND == rows
// The maximum over the workgroup. NaN may be lost: the sum of exponentials keeps it.
fn max_of(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    lanes[local] = value;
    workgroupBarrier();
    for (var half = $THREADS / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] = max(lanes[local], lanes[local + half]);
        }
        workgroupBarrier();
    }
    return lanes[0];
}

@compute @workgroup_size($THREADS)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= args.rows) {
        return;
    }
    let first = args.x_offset + row * args.classes;
    var most = -infinity();
    for (var j = local; j < args.classes; j += $THREADS) {
        most = max(most, x[first + j]);
    }
    // An infinite maximum makes x − m NaN, and therefore the loss, as on the CPU.
    let m = max_of(local, most);
    var sum = 0.0;
    for (var j = local; j < args.classes; j += $THREADS) {
        sum += exp_(x[first + j] - m);
    }
    let total = sum_of(local, sum);
    let l = ln_(total);
    var spread = 0.0;
    if (args.soft != 0.0) {
        for (var j = local; j < args.classes; j += $THREADS) {
            spread += weight_of(j) * ((m - x[first + j]) + l);
        }
        spread = sum_of(local, spread);
    }
    if (local == 0u) {
        lse[2u * row] = m;
        lse[2u * row + 1u] = l;
        let wanted = y[args.y_offset + row];
        var loss = 0.0;
        if (!is_ignored(wanted)) {
            loss = weight_of(wanted) * (l + (m - x[first + wanted]));
            if (args.soft != 0.0) {
                loss = args.hard * loss + args.soft * spread;
            }
        }
        losses[row] = loss;
    }
}
#end

#if KIND == total
@compute @workgroup_size($THREADS)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    var d = 0.0;
    for (var row = local; row < args.rows; row += $THREADS) {
        sum += losses[row];
        let wanted = y[args.y_offset + row];
        if (!is_ignored(wanted)) {
            d += weight_of(wanted);
        }
    }
    sum = sum_of(local, sum);
    d = sum_of(local, d);
    if (args.mean != 0u) {
        // The mean is NaN where no row counts.
        sum = select(sum / d, quiet_nan(), sum == 0.0 && d == 0.0);
    }
    if (local == 0u) {
        loss[0] = sum;
    }
}
#end

#if KIND == terms
@compute @workgroup_size($THREADS)
fn compute_terms(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var d = 0.0;
    for (var row = local; row < args.rows; row += $THREADS) {
        let wanted = y[args.y_offset + row];
        if (!is_ignored(wanted)) {
            d += weight_of(wanted);
        }
    }
    d = sum_of(local, d);
    var all = 0.0;
    for (var j = local; j < args.classes; j += $THREADS) {
        all += weight_of(j);
    }
    all = sum_of(local, all);
    if (local == 0u) {
        terms[0] = select(1.0, d, args.mean != 0u);
        terms[1] = all;
    }
}
#end
