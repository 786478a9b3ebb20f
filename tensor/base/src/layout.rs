//! Shapes, strides and broadcasting: where each element of a view lies in its storage.

pub use crate::sizes::{checked_numel, row_major};
use crate::{Result, bail, sizes};

/// A size that `Tensor::reshape` infers from the others.
pub const INFER: usize = usize::MAX;

/// Shape, strides (in elements) and offset of a view into a storage.
///
/// Element `[i0, i1, …]` lies at `offset + i0·strides[0] + i1·strides[1] + …`. A stride of 0
/// repeats one element along its dimension (broadcasting). A tensor of no dimensions is a scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Distance in elements between neighbours along each dimension.
    pub strides: Vec<usize>,
    /// Position of the first element in the storage.
    pub offset: usize,
}

/// The shape that two shapes broadcast to, by NumPy's rule: dimensions are matched from the right;
/// equal sizes match, and a size of 1 stretches.
///
/// ```
/// # use gradus_base::layout::broadcast_shapes;
/// assert_eq!(broadcast_shapes("add", &[2, 1], &[3])?, [2, 3]);
/// assert!(broadcast_shapes("add", &[2], &[3]).is_err());
/// # Ok::<(), gradus_base::Error>(())
/// ```
pub fn broadcast_shapes(op: &'static str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], d: usize| if d + s.len() >= rank { s[d + s.len() - rank] } else { 1 };
    let mut shape = Vec::with_capacity(rank);
    for d in 0..rank {
        match (at(a, d), at(b, d)) {
            (x, y) if x == y => shape.push(x),
            (1, y) => shape.push(y),
            (x, 1) => shape.push(x),
            (x, y) => bail!(
                op,
                Shape,
                "shapes {a:?} and {b:?} do not broadcast: dimension {d} is {x} in one and {y} in the \
                 other; sizes must be equal or 1"
            ),
        }
    }
    if checked_numel(&shape).is_none() {
        bail!(
            op,
            OutOfMemory,
            "shapes {a:?} and {b:?} broadcast to {shape:?}, more elements than fit in memory"
        );
    }
    Ok(shape)
}

/// Resolves a dimension that may count from the end (`-1` is the last).
///
/// ```
/// # use gradus_base::layout::resolve_dim;
/// assert_eq!(resolve_dim("sum", -1, 3)?, 2);
/// assert!(resolve_dim("sum", 3, 3).is_err());
/// # Ok::<(), gradus_base::Error>(())
/// ```
pub fn resolve_dim(op: &'static str, dim: isize, rank: usize) -> Result<usize> {
    let d = if dim < 0 { dim + rank as isize } else { dim };
    if rank == 0 {
        bail!(op, Shape, "dimension {dim} of a scalar, which has none; reshape it to [1]");
    }
    if d < 0 || d >= rank as isize {
        bail!(
            op,
            Shape,
            "dimension {dim} is out of range for {rank} dimensions; valid are {}..={}",
            -(rank as isize),
            rank as isize - 1
        );
    }
    Ok(d as usize)
}

/// Resolves several dimensions; an empty list means all. Sorted; a repeated one is an error.
///
/// ```
/// # use gradus_base::layout::resolve_dims;
/// assert_eq!(resolve_dims("sum", &[-1, 0], 3)?, [0, 2]);
/// assert_eq!(resolve_dims("sum", &[], 3)?, [0, 1, 2]);
/// # Ok::<(), gradus_base::Error>(())
/// ```
pub fn resolve_dims(op: &'static str, dims: &[isize], rank: usize) -> Result<Vec<usize>> {
    if dims.is_empty() {
        return Ok((0..rank).collect());
    }
    let mut out = Vec::with_capacity(dims.len());
    for &dim in dims {
        out.push(resolve_dim(op, dim, rank)?);
    }
    out.sort_unstable();
    if out.windows(2).any(|w| w[0] == w[1]) {
        bail!(op, Shape, "dimensions {dims:?} name one dimension twice");
    }
    Ok(out)
}

impl Layout {
    /// The row-major layout of `shape`, whose elements can be counted ([`checked_numel`]).
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// assert_eq!(Layout::contiguous(&[2, 3]).strides(), [3, 1]);
    /// ```
    pub fn contiguous(shape: &[usize]) -> Self {
        Layout { shape: shape.to_vec(), strides: row_major(shape), offset: 0 }
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Distance in elements between neighbours along each dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Position of the first element in the storage.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        sizes::work(&self.shape)
    }

    /// Whether the elements lie in row-major order without gaps.
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// assert!(Layout::contiguous(&[2, 3]).is_contiguous());
    /// assert!(!Layout::contiguous(&[3]).broadcast_to("add", &[2, 3])?.is_contiguous());
    /// # Ok::<(), gradus_base::Error>(())
    /// ```
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size == 0 {
                return true;
            }
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size;
            }
        }
        true
    }

    /// Dimension `i` of the result is dimension `order[i]` of this.
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// let turned = Layout::contiguous(&[2, 3]).permute([1, 0]);
    /// assert_eq!((turned.shape(), turned.strides()), (&[3, 2][..], &[1, 3][..]));
    /// ```
    pub fn permute(&self, order: impl IntoIterator<Item = usize>) -> Layout {
        let (shape, strides) = order.into_iter().map(|d| (self.shape[d], self.strides[d])).unzip();
        Layout { shape, strides, offset: self.offset }
    }

    /// This layout seen as `shape`, dimensions repeated with stride 0.
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// let row = Layout::contiguous(&[3]);
    /// let rows = row.broadcast_to("add", &[2, 3])?;
    /// assert_eq!(rows.strides(), [0, 1]); // both rows are the same three elements
    /// # Ok::<(), gradus_base::Error>(())
    /// ```
    pub fn broadcast_to(&self, op: &'static str, shape: &[usize]) -> Result<Layout> {
        let (from, to) = (self.shape.len(), shape.len());
        let fits = from <= to
            && self.shape.iter().zip(&shape[to - from..]).all(|(&a, &b)| a == b || a == 1);
        if !fits {
            bail!(op, Shape, "shape {:?} does not broadcast to {shape:?}", self.shape);
        }
        let mut strides = vec![0; to];
        for d in 0..from {
            if self.shape[d] != 1 {
                strides[to - from + d] = self.strides[d];
            }
        }
        Ok(Layout { shape: shape.to_vec(), strides, offset: self.offset })
    }

    /// This layout seen with another shape of as many elements, without moving any; `None` where
    /// the strides do not allow it.
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// let x = Layout::contiguous(&[2, 3]);
    /// assert_eq!(x.reshape(&[6]).unwrap().strides(), [1]);
    /// let repeated = Layout::contiguous(&[3]).broadcast_to("add", &[2, 3])?;
    /// assert!(repeated.reshape(&[6]).is_none()); // no stride gives 0, 1, 2, 0, 1, 2
    /// # Ok::<(), gradus_base::Error>(())
    /// ```
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout {
                shape: shape.to_vec(),
                strides: row_major(shape),
                offset: self.offset,
            });
        }
        // Merge old dimensions into runs that are contiguous among themselves, then split each run.
        let old: Vec<(usize, usize)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(s, _)| **s != 1)
            .map(|(&s, &t)| (s, t))
            .collect();
        let mut strides = vec![1; shape.len()];
        let (mut o, mut n) = (0, 0);
        while o < old.len() {
            let (mut old_size, mut new_size) = (old[o].0, 1);
            let (first_new, mut last_old) = (n, o);
            while new_size < old_size {
                if n == shape.len() {
                    return None;
                }
                new_size *= shape[n];
                n += 1;
                while new_size > old_size {
                    last_old += 1;
                    if last_old == old.len()
                        || old[last_old - 1].1 != old[last_old].0 * old[last_old].1
                    {
                        return None;
                    }
                    old_size *= old[last_old].0;
                }
            }
            let mut stride = old[last_old].1;
            for d in (first_new..n).rev() {
                strides[d] = stride;
                stride *= shape[d];
            }
            o = last_old + 1;
        }
        Some(Layout { shape: shape.to_vec(), strides, offset: self.offset })
    }

    /// Walks the storage positions of all elements in row-major order.
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// let repeated = Layout::contiguous(&[3]).broadcast_to("add", &[2, 3])?;
    /// assert_eq!(repeated.positions().collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    /// # Ok::<(), gradus_base::Error>(())
    /// ```
    pub fn positions(&self) -> Positions<'_> {
        Positions {
            layout: self,
            index: vec![0; self.shape.len()],
            position: self.offset,
            left: self.numel(),
        }
    }

    /// One past the furthest storage position that this layout reads (0 if it has no elements).
    ///
    /// ```
    /// # use gradus_base::Layout;
    /// assert_eq!(Layout::contiguous(&[2, 3]).end(), 6);
    /// ```
    pub fn end(&self) -> usize {
        if self.numel() == 0 {
            return 0;
        }
        let reach: usize = self.shape.iter().zip(&self.strides).map(|(&s, &t)| (s - 1) * t).sum();
        self.offset + reach + 1
    }
}

/// Iterator over storage positions; see [`Layout::positions`].
pub struct Positions<'a> {
    layout: &'a Layout,
    index: Vec<usize>,
    position: usize,
    left: usize,
}

impl Iterator for Positions<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let position = self.position;
        for d in (0..self.index.len()).rev() {
            self.index[d] += 1;
            self.position += self.layout.strides[d];
            if self.index[d] < self.layout.shape[d] {
                break;
            }
            self.position -= self.index[d] * self.layout.strides[d];
            self.index[d] = 0;
        }
        Some(position)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_views_only_where_strides_allow() {
        let transposed = Layout { shape: vec![4, 3], strides: vec![1, 4], offset: 0 };
        assert_eq!(transposed.reshape(&[12]), None);
        assert_eq!(transposed.reshape(&[2, 2, 3]).unwrap().strides, vec![2, 1, 4]);
        let broadcast = Layout { shape: vec![2, 3], strides: vec![0, 1], offset: 5 };
        assert_eq!(broadcast.reshape(&[6]), None);
        assert_eq!(broadcast.reshape(&[2, 1, 3]).unwrap().strides, vec![0, 3, 1]);
        let narrowed = Layout { shape: vec![2, 2, 3], strides: vec![12, 3, 1], offset: 0 };
        assert_eq!(narrowed.reshape(&[2, 6]).unwrap().strides, vec![12, 1]);
        assert_eq!(narrowed.reshape(&[4, 3]), None);
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shapes("add", &[3, 1], &[4]).unwrap(), vec![3, 4]);
        assert_eq!(broadcast_shapes("add", &[0], &[1]).unwrap(), vec![0]);
        let error = broadcast_shapes("add", &[2, 3], &[2]).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[add]"), "{error}");
    }
}
