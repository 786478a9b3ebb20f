// xᵉ, for the families that have it; behind `math.wgsl`.
//
// eˡ for l = e·ln x, which loses as many digits as the integer part of l has: so ln x and l are sums of two f32, the
// second what the first leaves (Dekker, Numerische Mathematik 18, 1971). A driver may fuse a product with an addition, in
// one place and not in another: so products are cut to half their digits, of which it knows nothing, and those of halves
// are exact either way.

// The upper half of the digits: the product of two is exact.
fn upper(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }

// What a·b leaves of p, which is about as large.
fn left_of_product(a: f32, b: f32, p: f32) -> f32 {
    let a1 = upper(a);
    let b1 = upper(b);
    let a2 = a - a1;
    let b2 = b - b1;
    return ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;
}

// What a + b leaves of the sum s, for |a| ≥ |b|.
fn left_of_sum(a: f32, b: f32, s: f32) -> f32 { return b - (s - a); }

// ln x of a positive finite x in two parts: k·ln 2 + 2·artanh(s), s = (m − 1)/(m + 1).
fn ln_in_two(x: f32) -> vec2<f32> {
    let parts = parts_of(x);
    let k = parts.y;
    let below = parts.x - 1.0;
    let above = parts.x + 1.0;
    let above_left =
        select(left_of_sum(1.0, parts.x, above), left_of_sum(parts.x, 1.0, above), parts.x >= 1.0);
    let s = below / above;
    let p = upper(s * above);
    let s_left = (((below - p) - left_of_product(s, above, p)) - s * above_left) / above;
    let z = s * s;
    let series = s * z * (0.6666666667 + z * (0.4 + z * (0.2857142857 + z * (0.2222222222 + z * 0.1818181818))));
    // The upper part of ln 2 has so few digits that its product with k is exact.
    let whole = k * 0.693145751953125;
    var high = whole + 2.0 * s;
    var low = series + (2.0 * s_left + k * 1.42860677e-6);
    low += select(left_of_sum(2.0 * s, whole, high), left_of_sum(whole, 2.0 * s, high), k != 0.0);
    let sum = high + low;
    low = left_of_sum(high, low, sum);
    return vec2<f32>(sum, low);
}

// xᵉ of a positive finite x and a finite e.
fn positive_power(x: f32, e: f32) -> f32 {
    let l = ln_in_two(x);
    let first = upper(e * l.x);
    if (first > 100.0) { return infinity(); }
    if (first < -120.0) { return 0.0; }
    let rest = left_of_product(e, l.x, first) + e * l.y;
    let p = first + rest;
    let low = left_of_sum(first, rest, p);
    let power = exp_(p);
    // e^(p + low) = eᵖ·(1 + low), as far as the digits go.
    return select(power + power * low, power, (bitcast<u32>(power) & 0x7fffffffu) >= 0x7f800000u);
}

// As C and IEEE 754 have it, whatever the arguments.
fn pow_(x: f32, e: f32) -> f32 {
    if (e == 0.0 || x == 1.0) { return 1.0; }
    if (is_nan(x) || is_nan(e)) { return quiet_nan(); }
    let a = abs(x);
    let minus = (bitcast<u32>(x) & 0x80000000u) != 0u;
    let e_bits = bitcast<u32>(e) & 0x7fffffffu;
    if (e_bits == 0x7f800000u) {
        if (a == 1.0) { return 1.0; }
        return select(0.0, infinity(), (a > 1.0) == (e > 0.0));
    }
    let integer = floor(e) == e;
    // From 2²⁴ on all are even.
    let odd = integer && abs(e) < 16777216.0 && (abs(e) - 2.0 * floor(abs(e) * 0.5)) == 1.0;
    let a_bits = bitcast<u32>(a);
    var magnitude: f32;
    if (a_bits == 0u || a_bits == 0x7f800000u) {
        magnitude = select(0.0, infinity(), (a_bits == 0u) == (e < 0.0));
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
