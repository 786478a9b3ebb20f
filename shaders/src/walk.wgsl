// Walking strided views: shared by the elementwise families.
//
// Up to three operands share one shape of at most six dimensions (the launcher merges dimensions that
// follow each other in memory, so a contiguous tensor has one). Element i, counted in row-major order,
// lies at offset[k] + Σ index[d]·strides[k][d] of operand k; a stride of 0 repeats.
// Positions are counted in elements, in 32 bits.

struct Walk {
    numel: u32,
    rank: u32,               // 1 to 6
    a: f32,                  // arguments of the operation
    b: f32,
    offset: array<u32, 3>,
    word: u32,               // one more argument, an integer
    shape: array<u32, 6>,
    strides: array<u32, 18>, // of operand 0, 1, 2
}
var<immediate> p: Walk;

fn position(k: u32, index: u32) -> u32 {
    var at = p.offset[k];
    var rest = index;
    for (var d = p.rank - 1u; d > 0u; d--) {
        let q = rest / p.shape[d];
        at += (rest - q * p.shape[d]) * p.strides[k * 6u + d];
        rest = q;
    }
    return at + rest * p.strides[k * 6u];
}

// The element of a thread: workgroups are counted along x, then y.
fn element(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + local;
}
