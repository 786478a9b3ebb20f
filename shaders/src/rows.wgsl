// Shared by the families along rows: their arguments, and sums and maxima over a workgroup.
//
// A workgroup of $W threads handles one row of n elements; thread t takes elements t, t + $W, ….
// Order of reduction: each thread's elements in ascending order, then the threads pairwise. $W follows
// from n alone.

struct Rows {
    rows: u32,
    n: u32,
    eps: f32,
    offsets: array<u32, 6>, // of the inputs' first elements
    least: u32,             // with dropout: random words below it are dropped;
    key0: u32,              // the key, and the factor of the kept elements
    key1: u32,
    scale: f32,
    zero: u32,              // 0
}
var<immediate> args: Rows;

// x, opaque to the compiler, which may otherwise replace (a + b) − a by b and so lose the effect of rounding.
fn rounded(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ args.zero); }

var<workgroup> lanes: array<f32, $W>;

fn row_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// The sum of all threads' values, for each of them. All threads must come here.
fn sum_of_row(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = $W / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    let total = lanes[0];
    workgroupBarrier(); // before the next use overwrites it
    return total;
}

// The largest of all threads' values, NaN if any is.
fn max_of_row(value: f32, local: u32) -> f32 {
    lanes[local] = value;
    workgroupBarrier();
    for (var half = $W / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] = larger(lanes[local], lanes[local + half]);
        }
        workgroupBarrier();
    }
    let largest = lanes[0];
    workgroupBarrier();
    return largest;
}

fn larger(a: f32, b: f32) -> f32 { return select(b, a, a > b || is_nan(a)); }
