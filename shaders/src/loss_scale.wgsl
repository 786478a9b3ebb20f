// The verdict on a step whose loss was multiplied by a scale s, and the next scale.
//
// Shapes: norm [1], of the scaled gradients; state [3]: s, steps without overflow since s last changed, steps
// skipped so far; verdict [5]: factor of the gradients min(1, max_norm/(norm/s + 1e-6))/s, whether the step is skipped,
// steps skipped before, norm/s, s. The state changes in place: after an overflow to s·backoff, 0, one more skipped;
// after `interval` steps without one to s·growth (unless infinite) and 0.
// One thread; nothing is summed.
// Numerics: f32, in the CPU's order. The bits of a number show whether it is finite. The launcher passes an infinite
// max_norm as the largest number.

struct Args {
    norm_offset: u32,
    state_offset: u32,
    growth: f32,
    backoff: f32,
    interval: f32,
    max_norm: f32,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> norm: array<f32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> verdict: array<f32>;

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}

@compute @workgroup_size(1)
fn loss_scale(@builtin(workgroup_id) group: vec3<u32>) {
    if (group.x + group.y > 0u) {
        return;
    }
    let at = args.state_offset;
    let scale = state[at];
    let steady = state[at + 1u];
    let skipped = state[at + 2u];
    let scaled = norm[args.norm_offset];
    let plain = scaled / scale;
    let ratio = args.max_norm / (plain + 1e-6);
    let overflow = !is_finite(scaled);
    verdict[0] = select(1.0, ratio, ratio < 1.0) / scale;
    verdict[1] = select(0.0, 1.0, overflow);
    verdict[2] = skipped;
    verdict[3] = plain;
    verdict[4] = scale;
    if (overflow) {
        state[at] = scale * args.backoff;
        state[at + 1u] = 0.0;
        state[at + 2u] = skipped + 1.0;
    } else if (steady + 1.0 < args.interval) {
        state[at + 1u] = steady + 1.0;
    } else {
        let grown = scale * args.growth;
        state[at] = select(scale, grown, is_finite(grown));
        state[at + 1u] = 0.0;
    }
}
