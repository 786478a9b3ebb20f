// The limits of a GPU: multiply-adds in registers, and a stream that only reads.

struct Args {
    rounds: u32, // of multiply-adds
    fours: u32,  // of the stream
    threads: u32,
}
var<immediate> args: Args;
@group(0) @binding(0) var<storage, read> data: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

// Eight chains that do not depend on each other, 64 operations a round and thread.
@compute @workgroup_size(64)
fn multiply_adds(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = vec4<f32>(0.999);
    let term = vec4<f32>(f32(id.x) * 1e-6);
    var x0 = term;
    var x1 = term + 1.0;
    var x2 = term + 2.0;
    var x3 = term + 3.0;
    var x4 = term + 4.0;
    var x5 = term + 5.0;
    var x6 = term + 6.0;
    var x7 = term + 7.0;
    for (var i = 0u; i < args.rounds; i++) {
        x0 = fma(x0, factor, term);
        x1 = fma(x1, factor, term);
        x2 = fma(x2, factor, term);
        x3 = fma(x3, factor, term);
        x4 = fma(x4, factor, term);
        x5 = fma(x5, factor, term);
        x6 = fma(x6, factor, term);
        x7 = fma(x7, factor, term);
    }
    out[id.x] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
}

@compute @workgroup_size(64)
fn stream(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var i = id.x;
    for (; i + args.threads < args.fours; i += 2u * args.threads) {
        sum0 += data[i];
        sum1 += data[i + args.threads];
    }
    if (i < args.fours) {
        sum0 += data[i];
    }
    out[id.x] = sum0 + sum1;
}
