//! Reading and adding rows by id.

/// The number of additions to one element that `index_add` sums on their own. Every device has the
/// same, so all add in one order.
pub const RUN: usize = 256;
