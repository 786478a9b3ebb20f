//! What chapter 2 builds, finished, for its later exercises.

/// The strides of a tensor whose elements lie row after row.
///
/// ```
/// assert_eq!(check::strides::row_major(&[2, 3, 4]), [12, 4, 1]);
/// ```
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (0..shape.len()).rev().skip(1) {
        strides[d] = strides[d + 1] * shape[d + 1].max(1);
    }
    strides
}

/// The positions of all elements of a view, in the order of their indices, from its first element.
///
/// ```
/// assert_eq!(check::strides::positions(&[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
/// ```
pub fn positions(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let count = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        found.push(index.iter().zip(strides).map(|(i, stride)| i * stride).sum());
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            if index[d] < shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
    found
}

/// The shape that two shapes broadcast to, or `None`.
///
/// ```
/// assert_eq!(check::strides::broadcast_shapes(&[4, 1], &[3]), Some(vec![4, 3]));
/// ```
pub fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], d: usize| if d + s.len() >= rank { s[d + s.len() - rank] } else { 1 };
    (0..rank)
        .map(|d| match (at(a, d), at(b, d)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
