// Dropout: y[i] = x[i]·scale where word(i) ≥ least, else 0; and the mask itself.
//
// Shapes: x and y are row-major; elements count from x's first. word(i) is word i % 4 of counter i / 4,
// exactly as on the CPU, so both devices drop the same elements.
// One thread makes one counter and handles its four elements. A dropped element is 0 even where x is
// infinite or NaN.

struct Args {
    numel: u32,
    offset: u32, // of x's first element
    least: u32,  // random words below it are dropped
    key0: u32,
    key1: u32,
    scale: f32,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> y: array<$T>;
@group(0) @binding(0) var<storage, read_write> mask: array<u32>;

fn first(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return ((group.y * groups.x + group.x) * 256u + local) * 4u;
}

@compute @workgroup_size(256)
fn dropout(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = first(group, groups, local);
    let words = philox(vec4<u32>(i / 4u, 0u, 0u, 0u), vec2<u32>(args.key0, args.key1));
#for w in 0..4
    if (i + $w < args.numel) {
        y[i + $w] = $T(select(0.0, f32(x[args.offset + i + $w]) * args.scale, words[$w] >= args.least));
    }
#end
}

@compute @workgroup_size(256)
fn bernoulli_mask(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = first(group, groups, local);
    let words = philox(vec4<u32>(i / 4u, 0u, 0u, 0u), vec2<u32>(args.key0, args.key1));
#for w in 0..4
    if (i + $w < args.numel) {
        mask[i + $w] = select(0u, 1u, words[$w] >= args.least);
    }
#end
}
