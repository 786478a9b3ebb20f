// SiLU of every element: y[i] = x[i] · σ(x[i]) = x[i] / (1 + e^(−x[i])).
//
// The engine calls this function once for every element of the result, on a thread of its own. The
// inputs are arrays of f32 called in0, in1, …; this kernel has one.

fn element(i: u32) -> f32 {
    let x = in0[i];
    return x / (1.0 + exp(-x));
}
