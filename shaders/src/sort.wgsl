// The first k of each line of x [lines, n] in order, with their indices in x: values, indices [lines, k].
//
// Each value becomes an unsigned key that sorts in the wanted order, as on the CPU (floats: sign bit flipped,
// the rest inverted where negative; −0 as 0; every NaN above ∞; inverted for a descending order). The place
// of an entry is the number of entries of its line with a lower key, or with the same key and a lower
// index. So every place is taken once, and equal values keep their order.
// A workgroup places 256 entries of one line, one in each thread; the line's keys go through workgroup memory,
// 256 at a time. Nothing is computed, so nothing is rounded. A line takes n² comparisons.

struct Args {
    lines: u32,
    n: u32,
    k: u32,
    offset: u32,     // of x's first element
    blocks: u32,     // workgroups a line
    descending: u32, // all bits, or none
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> values: array<$T>;
@group(0) @binding(2) var<storage, read_write> indices: array<u32>;

var<workgroup> tile: array<u32, 256>;

fn key(value: $T) -> u32 {
#if FLOAT
#if T == f16
    var bits = bitcast<u32>(f32(value));
#else
    var bits = value;
#end
    let magnitude = bits & 0x7fffffffu;
    bits = select(bits, 0u, magnitude == 0u);
    let ordered = bits ^ select(0x80000000u, 0xffffffffu, (bits >> 31u) != 0u);
    return select(ordered, 0xffffffffu, magnitude > 0x7f800000u) ^ args.descending;
#else
    return value ^ args.descending;
#end
}

@compute @workgroup_size(256)
fn place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = group.y * groups.x + group.x;
    let line = number / args.blocks;
    if (line >= args.lines) {
        return;
    }
    let i = (number - line * args.blocks) * 256u + local;
    let first = args.offset + line * args.n;
    var mine = 0u;
    if (i < args.n) {
        mine = key(x[first + i]);
    }
    var place = 0u;
    for (var start = 0u; start < args.n; start += 256u) {
        workgroupBarrier();
        if (start + local < args.n) {
            tile[local] = key(x[first + start + local]);
        }
        workgroupBarrier();
        let count = min(256u, args.n - start);
        for (var j = 0u; j < count; j++) {
            let other = tile[j];
            place += select(0u, 1u, other < mine || (other == mine && start + j < i));
        }
    }
    if (i < args.n && place < args.k) {
        values[line * args.k + place] = x[first + i];
        indices[line * args.k + place] = i;
    }
}
