//! All kernels that the processor has, and their plain twins, against sums in f64 over odd sizes and
//! strides.

mod float;
mod rounded;

/// A pool of so many threads.
fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
