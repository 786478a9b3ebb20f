// xᵉ, for the families that need it; follows `math.wgsl`.
//
// xᵉ = eˡ with l = e·ln x, which loses as many digits as the integer part of l has. So ln x and l are sums of two f32,
// the first with half the digits (Dekker, Numerische Mathematik 18, 1971). Products of such numbers are exact, whether
// or not a driver fuses them with additions. A driver may replace (a + b) − a by b, (a − b) + 1 by (a + 1) − b, and
// a·b + a·c by a·(b + c). It cannot see through `upper` and `trimmed`, which cut off bits.

// The upper half of the digits, towards 0.
fn upper(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }

// x without its last digit.
fn trimmed(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffffffeu); }

// ln x of a positive finite x in two parts: k·ln 2 + 2·artanh(s), s = (m − 1)/(m + 1).
fn ln_in_two(x: f32) -> vec2<f32> {
    let parts = parts_of(x);
    let m = parts.x;
    let k = parts.y;
    let above = upper(m + 1.0);
    let above_rest = m - upper(above - 1.0);
    let s = upper((m - 1.0) / (m + 1.0));
    let s_rest = (((m - 1.0) - s * above) - trimmed(s * above_rest)) / (m + 1.0);
    let whole_s = s + s_rest;
    let z = whole_s * whole_s;
    let series =
        whole_s * z * (0.6666666667 + z * (0.4 + z * (0.2857142857 + z * (0.2222222222 + z * 0.1818181818))));
    // The upper part of ln 2 has so few digits that its product with k is exact.
    let whole = k * 0.693145751953125;
    let high = upper(whole + 2.0 * s);
    let rest = (whole - high) + 2.0 * s;
    return vec2<f32>(high, rest + ((2.0 * s_rest + series) + k * 1.42860677e-6));
}

// xᵉ of a positive finite x and a finite e.
fn positive_power(x: f32, e: f32) -> f32 {
    let l = ln_in_two(x);
    let first = upper(e * l.x);
    if (first > 100.0) { return infinity(); }
    if (first < -120.0) { return 0.0; }
    let e_upper = upper(e);
    let r = ((e_upper * l.x - first) + trimmed((e - e_upper) * l.x)) + e * l.y;
    // e^(first + r), |r| below 0.1.
    let power = exp_(first);
    return power + power * (r * (1.0 + r * (0.5 + r * (0.16666667 + r * (0.041666667 + r * 0.0083333333)))));
}

// As C and IEEE 754 define it, for all arguments.
fn pow_(x: f32, e: f32) -> f32 {
    // Compares bits, because a driver may treat a number below 2⁻¹²⁶ as 0.
    let e_bits = bitcast<u32>(e) & 0x7fffffffu;
    if (e_bits == 0u || x == 1.0) { return 1.0; }
    if (is_nan(x) || is_nan(e)) { return quiet_nan(); }
    let a = abs(x);
    let minus = (bitcast<u32>(x) & 0x80000000u) != 0u;
    let inverse = (bitcast<u32>(e) & 0x80000000u) != 0u;
    if (e_bits == 0x7f800000u) {
        if (a == 1.0) { return 1.0; }
        return select(0.0, infinity(), (a > 1.0) != inverse);
    }
    let integer = e_bits >= 0x3f800000u && floor(e) == e;
    // From 2²⁴ on all numbers are even.
    let odd = integer && abs(e) < 16777216.0 && (abs(e) - 2.0 * floor(abs(e) * 0.5)) == 1.0;
    let a_bits = bitcast<u32>(a);
    var magnitude: f32;
    if (a_bits == 0u || a_bits == 0x7f800000u) {
        magnitude = select(0.0, infinity(), (a_bits == 0u) == inverse);
    } else if (minus && !integer) {
        return quiet_nan();
    } else if (e == 2.0) {
        magnitude = a * a;
    } else if (e == 3.0) {
        magnitude = a * a * a;
    } else {
        magnitude = positive_power(a, e);
    }
    return select(magnitude, -magnitude, minus && odd);
}
