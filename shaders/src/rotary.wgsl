// Rotary position embedding. Of each rotated head, for j below half of the table's width:
// y[j] = x[j]·cos − x[j + half]·sin, y[j + half] = x[j + half]·cos + x[j]·sin; sin with a minus for the inverse.
// All other columns are copied.
//
// Shapes: x `[tokens, width]`, any row stride; y the same, row-major; the table `[positions, 2·half]` (f32), the cosines
// of a position, then its sines; the positions `[tokens]`.
// One thread computes one element, in f32.

struct Args {
    numel: u32,
    width: u32,
    x_offset: u32,
    x_row: u32,
    table_offset: u32,
    positions_offset: u32,
    columns: u32, // of all rotated heads
    size: u32,    // of a head
    half: u32,
    sign: f32,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<$T>;

@compute @workgroup_size(256)
fn rotary_embedding(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= args.numel) {
        return;
    }
    let token = i / args.width;
    let column = i - token * args.width;
    let at = args.x_offset + token * args.x_row + column;
    let within = column % args.size;
    if (column >= args.columns || within >= 2u * args.half) {
        y[i] = x[at];
        return;
    }
    let second = within >= args.half;
    let j = select(within, within - args.half, second);
    let angle = args.table_offset + positions[args.positions_offset + token] * 2u * args.half + j;
    let sin = table[angle + args.half] * args.sign;
    let partner = f32(x[select(at + args.half, at - args.half, second)]);
    y[i] = $T(f32(x[at]) * table[angle] + partner * select(-sin, sin, second));
}
