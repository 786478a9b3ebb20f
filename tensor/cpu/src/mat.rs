//! Matrices as kernels see them.

/// A matrix inside a storage: where it starts and how far apart its rows and columns lie.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
    pub(crate) col: usize,
}

impl<T> Mat<'_, T> {
    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Mat { row: self.col, col: self.row, ..self }
    }

    /// Panics unless all of `rows × cols` lies inside the storage.
    pub(crate) fn check(&self, rows: usize, cols: usize) {
        if rows > 0 && cols > 0 {
            let (down, across) =
                ((rows - 1).checked_mul(self.row), (cols - 1).checked_mul(self.col));
            let last = down.zip(across).and_then(|(down, across)| down.checked_add(across));
            assert!(
                last.is_some_and(|last| last < self.data.len()),
                "a matrix reaches beyond its storage"
            );
        }
    }
}
