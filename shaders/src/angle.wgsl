// Sine and cosine of any x, for the families that need them; follows `math.wgsl`.
//
// WGSL promises 2⁻¹¹ within ±π for a driver's own functions, and nothing beyond. Here x is reduced to r in ±π/4 and a
// quadrant with integers, by as many digits of 1/2π as the exponent of x needs (Payne & Hanek, SIGNUM 18, 1983); then
// come Cephes' polynomials. At most 2 ulp.

// The 64 bits of a·b: the lower word, then the upper word.
fn wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u); // at most (2¹⁶ − 1)·2¹⁶
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>((other << 16u) | (low & 0xffffu), a1 * b1 + (middle >> 16u) + (other >> 16u));
}

// Word `i` of 1/2π after the point, its first digits in word 1; word 0 is 0.
fn turn_word(i: u32) -> u32 {
    switch i {
        case 1u: { return 0x28be60dbu; }
        case 2u: { return 0x9391054au; }
        case 3u: { return 0x7f09d5f4u; }
        case 4u: { return 0x7d4d3770u; }
        case 5u: { return 0x36d8a566u; }
        case 6u: { return 0x4f10e410u; }
        case 7u: { return 0x7f9458eau; }
        default: { return 0u; }
    }
}

// 32 digits of 1/2π, from bit `shift` of word `i` on.
fn turn_digits(i: u32, shift: u32) -> u32 {
    let here = turn_word(i);
    if (shift == 0u) { return here; }
    return (here << shift) | (turn_word(i + 1u) >> (32u - shift));
}

struct Angle {
    r: f32,
    quadrant: u32,
}

// The reduction of a finite x: x = quadrant·π/2 + r plus whole turns.
fn reduced(x: f32) -> Angle {
    let bits = bitcast<u32>(x);
    if (abs(x) < 0.7853981) { return Angle(x, 0u); }
    // x = mantissa·2^(place − 32), the mantissa's highest bit set, place ≥ 0.
    let mantissa = (bits << 8u) | 0x80000000u;
    let place = ((bits >> 23u) & 255u) - 126u;
    let first = place / 32u;
    let shift = place % 32u;
    // The product with three words of digits; digits above two words are whole turns.
    let low = wide(mantissa, turn_digits(first + 2u, shift));
    let middle = wide(mantissa, turn_digits(first + 1u, shift));
    let lower = middle.x + low.y;
    var upper = middle.y + u32(lower < middle.x) + mantissa * turn_digits(first, shift);
    // Two bits of quadrant, then the fraction of a quarter turn, rounded to the nearest.
    var quadrant = upper >> 30u;
    upper = (upper << 2u) | (lower >> 30u);
    var fraction = vec2<u32>(lower << 2u, upper);
    let beyond = (upper & 0x80000000u) != 0u;
    if (beyond) {
        quadrant += 1u;
        fraction = vec2<u32>(~fraction.x + 1u, ~fraction.y + u32(fraction.x == 0u));
    }
    // As many digits as an f32 holds, from the first that is not 0.
    let zeros = select(countLeadingZeros(fraction.y), 32u, fraction.y == 0u);
    var digits = fraction.x;
    if (zeros < 32u) { digits = fraction.y; }
    if (zeros > 0u && zeros < 32u) { digits = (fraction.y << zeros) | (fraction.x >> (32u - zeros)); }
    // A quarter turn times digits·2^(−32 − zeros), in two steps so that no number falls below 2⁻¹²⁶.
    var r = f32(digits) * 2.3283064365386963e-10 * 1.5707963267948966 * power_of_two(-i32(zeros));
    let minus = beyond != ((bits & 0x80000000u) != 0u);
    if ((bits & 0x80000000u) != 0u) { quadrant = (4u - (quadrant & 3u)) & 3u; }
    return Angle(select(r, -r, minus), quadrant & 3u);
}

fn sine_of_quadrant(r: f32, quadrant: u32) -> f32 {
    let z = r * r;
    let far = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
    let sine = select(far, r, abs(r) < 2.0e-4); // −0 too
    let cosine =
        ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
    let value = select(sine, cosine, (quadrant & 1u) != 0u);
    return select(value, -value, (quadrant & 2u) != 0u);
}

fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u; }

fn sin_(x: f32) -> f32 {
    if (!is_finite(x)) { return quiet_nan(); }
    let angle = reduced(x);
    return sine_of_quadrant(angle.r, angle.quadrant);
}

fn cos_(x: f32) -> f32 {
    if (!is_finite(x)) { return quiet_nan(); }
    let angle = reduced(x);
    return sine_of_quadrant(angle.r, angle.quadrant + 1u);
}
