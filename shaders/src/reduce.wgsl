// y[o] = finish(join of map(x[o, r]) over r in 0..n), and the index of the first extremum.
//
// Shapes: x is a strided view whose kept and reduced dimensions the launcher has merged to at most four
// each; y is row-major. A large n is cut into blocks, each with its own row of y, and a second launch joins
// the rows.
// A workgroup of 256 threads takes $COLS outputs and one block, with $LANES threads for each output.
// Order of reduction: element r of a block goes to lane r mod $LANES, in ascending order; the lanes
// join pairwise. It follows from the shape alone, not from the strides or the driver.
// Numerics: floats are computed in f32, and y is f32 even for f16; integers wrap around. An earlier launch computes the
// centre: for the variance the mean, from differences to the first element; for log-sum-exp the maximum.

struct Args {
    outputs: u32,
    n: u32,
    block: u32,              // elements of r in a workgroup
    tiles: u32,              // workgroups of a block
    groups: u32,             // workgroups in use
    offset: u32,             // of x's first element
    divisor: f32,
    kept_rank: u32,          // 1 to 4
    reduced_rank: u32,       // 1 to 4
    sizes: array<u32, 8>,    // of the kept dimensions; from 4 on, of the reduced ones
    strides: array<u32, 8>,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> x: array<$X>;
#if CENTRED
@group(0) @binding(1) var<storage, read> centre: array<$T>; // a value for each output
@group(0) @binding(2) var<storage, read_write> y: array<$T>;
#else
@group(0) @binding(1) var<storage, read_write> y: array<$T>;
@group(0) @binding(1) var<storage, read_write> position: array<u32>;
#end

// The offset of index `index` over the dimensions from `first` on.
fn walk(first: u32, rank: u32, index: u32) -> u32 {
    var at = 0u;
    var rest = index;
    for (var d = first + rank - 1u; d > first; d--) {
        let q = rest / args.sizes[d];
        at += (rest - q * args.sizes[d]) * args.strides[d];
        rest = q;
    }
    return at + rest * args.strides[first];
}

#if ALONG
// Neighbouring threads are lanes of one output, because x runs along r in memory.
fn lane_of(local: u32) -> u32 { return local % $LANES; }
fn column_of(local: u32) -> u32 { return local / $LANES; }
#else
// Neighbouring threads are neighbouring outputs, because x runs along o in memory.
fn lane_of(local: u32) -> u32 { return local / $COLS; }
fn column_of(local: u32) -> u32 { return local % $COLS; }
#end

#if FLOAT
fn larger(a: f32, b: f32) -> f32 { return select(b, a, a > b || is_nan(a)); }
fn smaller(a: f32, b: f32) -> f32 { return select(b, a, a < b || is_nan(a)); }
fn lowest() -> f32 { return -infinity(); }
fn highest() -> f32 { return infinity(); }
fn nan(x: f32) -> bool { return is_nan(x); }
#else
fn larger(a: u32, b: u32) -> u32 { return max(a, b); }
fn smaller(a: u32, b: u32) -> u32 { return min(a, b); }
fn lowest() -> u32 { return 0u; }
fn highest() -> u32 { return 0xffffffffu; }
fn nan(x: u32) -> bool { return false; }
#end

#if JOIN == sum
fn identity() -> $T { return $T(0); }
fn join(a: $T, b: $T) -> $T { return a + b; }
#end
#if JOIN == prod
fn identity() -> $T { return $T(1); }
fn join(a: $T, b: $T) -> $T { return a * b; }
#end
#if JOIN == max
fn identity() -> $T { return lowest(); }
fn join(a: $T, b: $T) -> $T { return larger(a, b); }
#end
#if JOIN == min
fn identity() -> $T { return highest(); }
fn join(a: $T, b: $T) -> $T { return smaller(a, b); }
#end

#if CENTRED
// A maximum that is not finite is not subtracted, because ∞ − ∞ would be NaN.
fn finite(m: f32) -> f32 {
    let bits = bitcast<u32>(m) & 0x7fffffffu;
    return select(m, 0.0, bits >= 0x7f800000u);
}
#end

#if MAP == plain
fn map(x: $T, o: u32) -> $T { return x; }
#end
#if MAP == minus
fn map(x: f32, o: u32) -> f32 { return x - centre[o]; }
#end
#if MAP == square
fn map(x: f32, o: u32) -> f32 {
    let d = x - centre[o];
    return d * d;
}
#end
#if MAP == exp
fn map(x: f32, o: u32) -> f32 { return exp_(x - finite(centre[o])); }
#end

#if FINISH == none
fn finish(a: $T, o: u32) -> $T { return a; }
#end
#if FINISH == divide
fn finish(a: f32, o: u32) -> f32 { return a / args.divisor; }
#end
#if FINISH == log
fn finish(a: f32, o: u32) -> f32 {
    return ln_(a) + finite(centre[o]);
}
#end

var<workgroup> partial: array<$T, 256>;

#if JOIN == extremum
var<workgroup> places: array<u32, 256>;

// Whether (a, i) comes before (b, j); 0xffffffff stands for no element.
fn better(a: $T, i: u32, b: $T, j: u32) -> bool {
    if (i == 0xffffffffu || j == 0xffffffffu) { return i < j; }
    if (nan(a) || nan(b)) { return nan(a) && (!nan(b) || i < j); }
    if (a == b) { return i < j; }
#if LARGEST
    return a > b;
#else
    return a < b;
#end
}

@compute @workgroup_size(256)
fn arg_extremum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if (tile >= args.groups) {
        return;
    }
    let lane = lane_of(local);
    let column = column_of(local);
    let o = tile * $COLS + column;
    var best = $T(0);
    var place = 0xffffffffu;
    if (o < args.outputs) {
        let base = args.offset + walk(0u, args.kept_rank, o);
        for (var r = lane; r < args.n; r += $LANES) {
            let value = $T(x[base + walk(4u, args.reduced_rank, r)]);
            if (better(value, r, best, place)) {
                best = value;
                place = r;
            }
        }
    }
    let slot = lane * $COLS + column;
    partial[slot] = best;
    places[slot] = place;
    workgroupBarrier();
    for (var half = $LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            let other = slot + half * $COLS;
            if (better(partial[other], places[other], partial[slot], places[slot])) {
                partial[slot] = partial[other];
                places[slot] = places[other];
            }
        }
        workgroupBarrier();
    }
    if (lane == 0u && o < args.outputs) {
        position[o] = places[slot];
    }
}
#else
@compute @workgroup_size(256)
fn reduce(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let id = group.y * groups.x + group.x;
    if (id >= args.groups) {
        return;
    }
    let block = id / args.tiles;
    let lane = lane_of(local);
    let column = column_of(local);
    let o = (id - block * args.tiles) * $COLS + column;
    var total = identity();
    if (o < args.outputs) {
        let base = args.offset + walk(0u, args.kept_rank, o);
        let first = block * args.block;
        let end = min(first + args.block, args.n);
        for (var r = first + lane; r < end; r += $LANES) {
            total = join(total, map($T(x[base + walk(4u, args.reduced_rank, r)]), o));
        }
    }
#if LANES == 1
#else
    let slot = lane * $COLS + column;
    partial[slot] = total;
    workgroupBarrier();
    for (var half = $LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            partial[slot] = join(partial[slot], partial[slot + half * $COLS]);
        }
        workgroupBarrier();
    }
    total = partial[slot];
#end
    if (lane == 0u && o < args.outputs) {
        y[block * args.outputs + o] = finish(total, o);
    }
}
#end
