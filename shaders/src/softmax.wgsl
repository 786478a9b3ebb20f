// Along rows of n elements: softmax y = e^(x − m) / s, log-softmax y = (x − m) − ln s, with m = max x
// and s = Σ e^(x − m); their derivatives dx = y·(g − Σ g·y) and dx = g − eʸ·Σg.
//
// Shapes: all [rows, n], row-major. A workgroup handles a row and reads it two or three times, after the
// first time from the cache. `rows.wgsl` gives the order of reduction.
// Numerics: in f32 for every storage type; the exponent is never positive, so nothing overflows and s ≥ 1.
// A row with only −∞ gives −∞ − (−∞) = NaN.

#if BACKWARD
@group(0) @binding(0) var<storage, read> y: array<$T>;
@group(0) @binding(1) var<storage, read> g: array<$T>;
@group(0) @binding(2) var<storage, read_write> dx: array<$T>;

@compute @workgroup_size($W)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = row_of(group, groups);
    if (row >= args.rows) {
        return;
    }
    let at_y = args.offsets[0] + row * args.n;
    let at_g = args.offsets[1] + row * args.n;
    var partial = 0.0;
    for (var i = local; i < args.n; i += $W) {
#if LOG
        partial += f32(g[at_g + i]);
#else
        partial += f32(g[at_g + i]) * f32(y[at_y + i]);
#end
    }
    let total = sum_of_row(partial, local);
    for (var i = local; i < args.n; i += $W) {
#if LOG
        dx[row * args.n + i] = $T(f32(g[at_g + i]) - exp_(f32(y[at_y + i])) * total);
#else
        dx[row * args.n + i] = $T(f32(y[at_y + i]) * (f32(g[at_g + i]) - total));
#end
    }
}
#else
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> y: array<$T>;

@compute @workgroup_size($W)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = row_of(group, groups);
    if (row >= args.rows) {
        return;
    }
    let at = args.offsets[0] + row * args.n;
    var largest = -infinity();
    for (var i = local; i < args.n; i += $W) {
        largest = larger(largest, f32(x[at + i]));
    }
    let m = max_of_row(largest, local);
    var partial = 0.0;
    for (var i = local; i < args.n; i += $W) {
        partial += exp_(f32(x[at + i]) - m);
    }
    let s = sum_of_row(partial, local);
#if LOG
    let logarithm = ln_(s);
#else
    let scale = 1.0 / s;
#end
    for (var i = local; i < args.n; i += $W) {
#if LOG
        y[row * args.n + i] = $T((f32(x[at + i]) - m) - logarithm);
#else
        y[row * args.n + i] = $T(exp_(f32(x[at + i]) - m) * scale);
#end
    }
}
#end
