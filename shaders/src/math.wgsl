// Scalar functions with the CPU's polynomials (`tensor/cpu/src/math.rs`), so that both devices agree
// to a few ulp on every driver.

// WGSL has no literals for NaN and infinity, so their bits go through a variable.
fn quiet_nan() -> f32 {
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}
fn infinity() -> f32 {
    var bits = 0x7f800000u;
    return bitcast<f32>(bits);
}

// 2ᵏ for k in −127..=128; −127 gives 0.
fn power_of_two(k: i32) -> f32 {
    return bitcast<f32>(u32(k + 127) << 23u);
}

// eˣ: Cody–Waite reduction x = n·ln 2 + r, a polynomial for eʳ, 2ⁿ in two halves.
fn exp_(x: f32) -> f32 {
    let c = select(select(x, -104.0, x < -104.0), 89.0, x > 89.0);
    let n = round(c * 1.4426950408889634);
    var r = c - n * 0.693359375;
    r = r - n * -2.12194440e-4;
    var q = 1.9875691e-4;
    q = q * r + 1.3981999e-3;
    q = q * r + 8.333452e-3;
    q = q * r + 4.1665796e-2;
    q = q * r + 1.6666665e-1;
    q = q * r + 5.0000001e-1;
    q = q * (r * r) + r + 1.0;
    let k = i32(n);
    let half = k >> 1u;
    let e = q * power_of_two(half) * power_of_two(k - half);
    return select(e, x, is_nan(x));
}

// For a positive finite x: m in [√½, √2) and the integer k with x = m·2ᵏ. It works on the bits, because a driver may
// treat a float below 2⁻¹²⁶ as 0, but not the integer of its bits (times 2⁻¹⁴⁹).
fn parts_of(x: f32) -> vec2<f32> {
    var bits = bitcast<u32>(x);
    var k = -127;
    if (bits < 0x00800000u) {
        bits = bitcast<u32>(f32(bits));
        k = -149 - 127;
    }
    k += i32(bits >> 23u);
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
    if (m > 1.4142135) {
        m = m * 0.5;
        k += 1;
    }
    return vec2<f32>(m, f32(k));
}

// ln x, exact to an ulp everywhere (Cephes' `logf`); a driver's `log` may be off by 2⁻²¹ near 1. NaN below 0, −∞ at 0.
fn ln_(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) == 0u) { return -infinity(); }
    if (bits > 0x7f800000u) { return quiet_nan(); } // below 0, or NaN
    if (bits == 0x7f800000u) { return x; }
    let parts = parts_of(x);
    let k = parts.y;
    let f = parts.x - 1.0;
    let z = f * f;
    var q = 7.0376836292e-2;
    q = q * f - 1.1514610310e-1;
    q = q * f + 1.1676998740e-1;
    q = q * f - 1.2420140846e-1;
    q = q * f + 1.4249322787e-1;
    q = q * f - 1.6668057665e-1;
    q = q * f + 2.0000714765e-1;
    q = q * f - 2.4999993993e-1;
    q = q * f + 3.3333331174e-1;
    q = q * f * z - 2.12194440e-4 * k - 0.5 * z;
    return f + q + 0.693359375 * k;
}

// tanh: an odd polynomial where e²ˣ − 1 would cancel, 1 − 2/(e²ˣ + 1) beyond.
fn tanh_(x: f32) -> f32 {
    let a = abs(x);
    let z = x * x;
    var q = -5.7049887e-3;
    q = q * z + 2.0639089e-2;
    q = q * z - 5.3739715e-2;
    q = q * z + 1.3331442e-1;
    q = q * z - 3.3333282e-1;
    let small = x + x * z * q;
    let large = 1.0 - 2.0 / (exp_(2.0 * a) + 1.0);
    return select(select(select(large, -large, x < 0.0), small, a < 0.625), x, a < 2.0e-4); // −0 too
}

// The standard normal distribution function Φ(x) and density φ(x).
fn normal(x: f32) -> vec2<f32> {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3 * a);
    var q = 3.5675791e-2;
    q = q * t - 1.5720713e-1;
    q = q * t + 2.0636021e-1;
    q = q * t - 5.368955e-2;
    q = q * t + 1.2856464e-1;
    q = q * t + 9.991261e-2;
    q = q * t + 1.2075409e-1;
    q = q * t + 1.1962929e-1;
    let e = exp_(-0.5 * a * a);
    let tail = t * q * e;
    return vec2<f32>(select(tail, 1.0 - tail, x > 0.0), 0.3989422804014327 * e);
}

fn gelu(x: f32) -> f32 {
    // −∞·Φ(−∞) would be NaN. Every x below −40 gives 0.
    return select(x * normal(x).x, 0.0, x < -40.0);
}

// erf: its Taylor series (11 terms) below 1, 2·Φ(x·√2) − 1 above.
fn erf_(x: f32) -> f32 {
    let z = x * x;
    var q = 1.480719281587922e-08;
    q = q * z - 1.6365844691234924e-07;
    q = q * z + 1.6462114365889248e-06;
    q = q * z - 1.4925650358406252e-05;
    q = q * z + 0.00012055332981789665;
    q = q * z - 0.0008548327023450853;
    q = q * z + 0.005223977625442188;
    q = q * z - 0.026866170645131252;
    q = q * z + 0.11283791670955128;
    q = q * z - 0.37612638903183754;
    q = q * z + 1.1283791670955126;
    let large = 1.0 - 2.0 * (1.0 - normal(abs(x) * 1.4142135623730951).x);
    return select(select(large, -large, x < 0.0), x * q, abs(x) < 1.0 || is_nan(x));
}

