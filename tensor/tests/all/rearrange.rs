//! Index, concat, sort and dropout operations against naive references: random shapes with sizes 0
//! and 1, transposed, narrowed and broadcast views, and the same bits for every number of threads.

use gradus_shaders::index::RUN;
use gradus_tensor::{DType, Result, RngKey, Tensor};
use proptest::prelude::*;
use proptest::sample::Index;

/// A view of random values with `shape`, made in one of five ways.
fn view(shape: &[usize], way: u8, seed: u64) -> Tensor {
    let rank = shape.len();
    let draw = |shape: &[usize]| {
        // Few distinct values, so that sorting has ties.
        let x = Tensor::randint(0, 9, shape, RngKey::new(seed)).unwrap();
        x.to_dtype(DType::F32).unwrap().affine(0.37, -1.1).unwrap()
    };
    let mut stored = shape.to_vec();
    match way {
        1 if rank >= 2 => {
            stored.swap(0, rank - 1);
            draw(&stored).transpose(0, -1).unwrap()
        }
        2 if rank >= 1 => {
            stored[rank - 1] += 3;
            draw(&stored).narrow(-1, 2, shape[rank - 1]).unwrap()
        }
        3 | 4 if rank >= 1 => {
            stored[if way == 3 { 0 } else { rank - 1 }] = 1;
            draw(&stored).broadcast_to(shape).unwrap()
        }
        _ => draw(shape),
    }
}

fn ids(shape: &[usize], below: usize, seed: u64) -> Tensor {
    Tensor::randint(0, below.max(1) as u32, shape, RngKey::new(seed)).unwrap()
}

/// All indices of a shape, in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        let longer = |i: Vec<usize>| (0..size).map(move |j| [&i[..], &[j]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// The tensor of the references: row-major values with their shape. Equality compares bits.
#[derive(Clone, Debug)]
struct Plain {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl PartialEq for Plain {
    fn eq(&self, other: &Plain) -> bool {
        let bits = |p: &Plain| p.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        self.shape == other.shape && bits(self) == bits(other)
    }
}

impl Plain {
    fn of(t: &Tensor) -> Plain {
        Plain { shape: t.shape().to_vec(), values: t.to_f64_vec() }
    }

    fn make(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Plain {
        Plain { shape: shape.to_vec(), values: indices(shape).iter().map(|i| f(i)).collect() }
    }

    fn get(&self, index: &[usize]) -> f64 {
        self.values[index.iter().zip(&self.shape).fold(0, |at, (&i, &size)| at * size + i)]
    }

    /// Adds in f32, as the kernels do.
    fn add(&mut self, index: &[usize], value: f64) {
        let at = index.iter().zip(&self.shape).fold(0, |at, (&i, &size)| at * size + i);
        self.values[at] = (self.values[at] as f32 + value as f32) as f64;
    }
}

/// The sum of `start` and the addends to one element, in f32. Runs of this length are summed first,
/// which is the order of `index_add`; runs of 1 give the order of `scatter_add`.
fn in_runs(length: usize, start: f64, addends: &[f64]) -> f64 {
    let sum = |run: &[f64]| run[1..].iter().fold(run[0] as f32, |sum, &x| sum + x as f32);
    addends.chunks(length).fold(start as f32, |y, run| y + sum(run)) as f64
}

fn with(index: &[usize], dim: usize, value: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[dim] = value;
    index
}

/// The result, after a check that one thread and two threads give the same bits.
fn run(op: impl Fn() -> Result<Tensor> + Sync) -> Plain {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Plain::of(&op().unwrap()))
    };
    let (one, two) = (on(1), on(2));
    assert!(one == two, "the threads changed the result");
    one
}

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![6 => 1usize..6, 1 => Just(0), 1 => Just(1)], 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn rows_by_id(
        shape in shapes(), ways in (0u8..5, 0u8..5), dim in any::<Index>(), count in 0usize..40,
        seed in any::<u64>(),
    ) {
        let d = dim.index(shape.len());
        let count = if shape[d] == 0 { 0 } else { count };
        let x = view(&shape, ways.0, seed);
        let rows = ids(&[count], shape[d], seed ^ 1);
        let row: Vec<usize> = rows.to_f64_vec().iter().map(|&i| i as usize).collect();
        let plain = Plain::of(&x);
        let picked = with(&shape, d, count);
        let selected = run(|| x.index_select(d as isize, &rows));
        prop_assert_eq!(selected, Plain::make(&picked, |i| plain.get(&with(i, d, row[i[d]]))));

        let source = view(&picked, ways.1, seed ^ 2);
        let addends = Plain::of(&source);
        let sum = Plain::make(&shape, |i| {
            let hits = (0..count).filter(|&j| row[j] == i[d]);
            in_runs(RUN as usize, plain.get(i), &hits.map(|j| addends.get(&with(i, d, j))).collect::<Vec<_>>())
        });
        prop_assert_eq!(run(|| x.index_add(d as isize, &rows, &source)), sum);
    }

    #[test]
    fn elements_by_id(
        shape in shapes(), ways in (0u8..5, 0u8..5), dim in any::<Index>(),
        cut in prop::collection::vec(0usize..3, 4), count in 0usize..7, seed in any::<u64>(),
        index_is_view in any::<bool>(),
    ) {
        let d = dim.index(shape.len());
        let mut short: Vec<usize> =
            shape.iter().zip(&cut).map(|(&s, &c)| s.saturating_sub(c)).collect();
        short[d] = if shape[d] == 0 { 0 } else { count };
        let x = view(&shape, ways.0, seed);
        let mut index = ids(&short, shape[d], seed ^ 1);
        if index_is_view && index.rank() >= 2 {
            index = index.t().unwrap().copy().unwrap().t().unwrap();
        }
        let (plain, id) = (Plain::of(&x), Plain::of(&index));
        let to = |i: &[usize]| with(i, d, id.get(i) as usize);
        let gathered = run(|| x.gather(d as isize, &index));
        prop_assert_eq!(gathered, Plain::make(&short, |i| plain.get(&to(i))));

        let larger: Vec<usize> = short.iter().zip(&cut).map(|(&s, &c)| s + c).collect();
        let source = view(&larger, ways.1, seed ^ 2);
        let (addends, mut sum) = (Plain::of(&source), plain.clone());
        for i in indices(&short) {
            sum.add(&to(&i), addends.get(&i));
        }
        prop_assert_eq!(run(|| x.scatter_add(d as isize, &index, &source)), sum);
    }

    #[test]
    fn embeddings(
        rows in 1usize..20, h in 0usize..9, tokens in prop::collection::vec(0usize..9, 0..4),
        ways in (0u8..5, 0u8..5), seed in any::<u64>(),
    ) {
        let table = view(&[rows, h], ways.0, seed);
        let ids = ids(&tokens, rows, seed ^ 1);
        let (plain, id) = (Plain::of(&table), Plain::of(&ids));
        let shape = [&tokens[..], &[h]].concat();
        let row = |i: &[usize]| id.get(&i[..tokens.len()]) as usize;
        let looked = run(|| table.embedding(&ids));
        prop_assert_eq!(looked, Plain::make(&shape, |i| plain.get(&[row(i), i[tokens.len()]])));

        let grad = view(&shape, ways.1, seed ^ 2);
        let addends = Plain::of(&grad);
        let mut hits = vec![Vec::new(); rows * h];
        for i in indices(&shape) {
            hits[row(&i) * h + i[tokens.len()]].push(addends.get(&i));
        }
        let sum = Plain::make(&[rows, h], |at| in_runs(RUN as usize, 0.0, &hits[at[0] * h + at[1]]));
        prop_assert_eq!(run(|| Tensor::embedding_backward(&grad, &ids, rows)), sum);
    }

    #[test]
    fn joining_and_cutting(
        shape in shapes(), parts in prop::collection::vec((0u8..5, 0usize..4), 1..5),
        dim in any::<Index>(), seed in any::<u64>(), size in 1usize..5,
    ) {
        let d = dim.index(shape.len());
        let dim = d as isize;
        let sizes: Vec<usize> = parts.iter().map(|p| p.1).collect();
        let parts: Vec<Tensor> =
            parts.iter().map(|&(way, size)| view(&with(&shape, d, size), way, seed)).collect();
        let joined = run(|| Tensor::cat(&parts.iter().collect::<Vec<_>>(), dim));
        let whole = Tensor::cat(&parts.iter().collect::<Vec<_>>(), dim).unwrap();
        prop_assert_eq!(joined.shape[d], sizes.iter().sum::<usize>());
        let (mut start, plains) = (0, parts.iter().map(Plain::of).collect::<Vec<_>>());
        for part in &plains {
            for i in indices(&part.shape) {
                prop_assert_eq!(joined.get(&with(&i, d, start + i[d])), part.get(&i));
            }
            start += part.shape[d];
        }
        for pieces in [
            whole.split(size, dim).unwrap(),
            whole.chunk(size, dim).unwrap(),
            whole.split_with_sizes(&sizes, dim).unwrap(),
        ] {
            let again = Tensor::cat(&pieces.iter().collect::<Vec<_>>(), dim).unwrap();
            prop_assert_eq!(Plain::of(&again), joined.clone());
        }
        let (a, b) = (view(&shape, 1, seed), view(&shape, 3, seed ^ 9));
        let plain = [Plain::of(&a), Plain::of(&b)];
        let mut both = shape.clone();
        both.insert(d, 2);
        let stacked = run(|| Tensor::stack(&[&a, &b], dim));
        prop_assert_eq!(stacked, Plain::make(&both, |i| {
            let mut at = i.to_vec();
            plain[at.remove(d)].get(&at)
        }));
    }

    #[test]
    fn padding_repeating_reversing(
        shape in shapes(), (way, seed) in (0u8..5, any::<u64>()), dim in any::<Index>(),
        (before, after) in (0usize..3, 0usize..3), times in prop::collection::vec(0usize..3, 5),
        flipped in prop::collection::vec(any::<bool>(), 4),
    ) {
        let d = dim.index(shape.len());
        let x = view(&shape, way, seed);
        let plain = Plain::of(&x);
        let padded = with(&shape, d, shape[d] + before + after);
        prop_assert_eq!(
            run(|| x.pad_zeros(d as isize, before, after)),
            Plain::make(&padded, |i| match i[d].checked_sub(before) {
                Some(j) if j < shape[d] => plain.get(&with(i, d, j)),
                _ => 0.0,
            })
        );
        let times = &times[..shape.len() + 1];
        let mut long = vec![times[0]];
        long.extend(shape.iter().zip(&times[1..]).map(|(s, t)| s * t));
        prop_assert_eq!(
            run(|| x.repeat(times)),
            Plain::make(&long, |i| {
                plain.get(&i[1..].iter().zip(&shape).map(|(i, s)| i % s).collect::<Vec<_>>())
            })
        );
        let dims: Vec<isize> =
            (0..shape.len()).filter(|&e| flipped[e]).map(|e| e as isize).collect();
        let turned = |i: &[usize]| -> Vec<usize> {
            (0..i.len()).map(|e| if flipped[e] { shape[e] - 1 - i[e] } else { i[e] }).collect()
        };
        prop_assert_eq!(run(|| x.flip(&dims)), Plain::make(&shape, |i| plain.get(&turned(i))));
    }

    #[test]
    fn sorting(
        shape in shapes(), way in 0u8..5, dim in any::<Index>(), descending in any::<bool>(),
        k in any::<Index>(), seed in any::<u64>(),
    ) {
        let (d, dim) = (dim.index(shape.len()), dim.index(shape.len()) as isize);
        // Some values become NaN.
        let nan = Tensor::full(&[], f64::NAN, DType::F32).unwrap();
        let mask = Tensor::bernoulli_mask(&shape, 0.1, RngKey::new(seed)).unwrap();
        let x = view(&shape, way, seed).where_(&mask, &nan).unwrap();
        let plain = Plain::of(&x);
        // The index of the j-th entry of the line through i, by a stable sort.
        let nth = |i: &[usize]| {
            let mut order: Vec<usize> = (0..shape[d]).collect();
            let value = |j: usize| plain.get(&with(i, d, j));
            order.sort_by(|&a, &b| {
                let (a, b) = (value(a), value(b));
                let by = a.partial_cmp(&b).unwrap_or(a.is_nan().cmp(&b.is_nan()));
                if descending { by.reverse() } else { by }
            });
            order[i[d]]
        };
        let k = k.index(shape[d] + 1);
        for k in [shape[d], k] {
            let kept = with(&shape, d, k);
            let order = Plain::make(&kept, |i| nth(i) as f64);
            let values = Plain::make(&kept, |i| plain.get(&with(i, d, nth(i))));
            prop_assert_eq!(run(|| Ok(x.topk(k, dim, descending)?.0)), values.clone());
            prop_assert_eq!(run(|| Ok(x.topk(k, dim, descending)?.1)), order.clone());
            if k == shape[d] {
                prop_assert_eq!(run(|| Ok(x.sort(dim, descending)?.0)), values);
                prop_assert_eq!(run(|| x.argsort(dim, descending)), order);
            }
        }
    }
}

/// Sizes at which every kernel splits its work.
#[test]
fn large_inputs_do_not_depend_on_threads() {
    let key = RngKey::new(4);
    let x = Tensor::randn(&[700, 300], DType::F32, key).unwrap();
    let many = ids(&[5000], 700, 1);
    let few = ids(&[5000], 2, 2);
    let grad = Tensor::randn(&[5000, 300], DType::F32, key.step(1)).unwrap();
    let serial = |ids: &Tensor, rows: usize, run: usize| {
        let (id, g) = (ids.to_vec::<u32>().unwrap(), grad.to_vec::<f32>().unwrap());
        let mut hits = vec![Vec::new(); rows * 300];
        for (j, &g) in g.iter().enumerate() {
            hits[id[j / 300] as usize * 300 + j % 300].push(f64::from(g));
        }
        hits.iter().map(|hits| in_runs(run, 0.0, hits)).collect::<Vec<_>>()
    };
    for (ids, rows) in [(&many, 700), (&few, 2)] {
        let back = run(|| Tensor::embedding_backward(&grad, ids, rows));
        assert_eq!(back.values, serial(ids, rows, RUN as usize));
        // Along the last dimension, from a transposed source, onto zeros.
        let zeros = Tensor::zeros(&[300, rows], DType::F32).unwrap();
        let across = run(|| zeros.index_add(1, ids, &grad.t().unwrap()));
        assert_eq!(Plain::of(&zeros.t().unwrap()).shape, [rows, 300]);
        for (at, value) in back.values.iter().enumerate() {
            assert_eq!(across.values[at % 300 * rows + at / 300], *value);
        }
        // Where all rows of an index are equal, scatter_add is index_add with another order of
        // sums.
        let back = Plain { values: serial(ids, rows, 1), ..back };
        let index = ids.unsqueeze(1).unwrap().broadcast_to(&[5000, 300]).unwrap();
        let zeros = Tensor::zeros(&[rows, 300], DType::F32).unwrap();
        assert_eq!(run(|| zeros.scatter_add(0, &index, &grad)), back);
        let (index, grad) = (index.t().unwrap(), grad.t().unwrap());
        assert_eq!(run(|| zeros.t()?.scatter_add(1, &index, &grad)?.t()), back);
    }
    let looked = run(|| x.embedding(&many));
    assert_eq!(looked, run(|| x.t()?.index_select(1, &many)?.t()));
    let index = many.unsqueeze(1).unwrap().broadcast_to(&[5000, 300]).unwrap();
    assert_eq!(looked, run(|| x.gather(0, &index)));
    let wide = run(|| Tensor::cat(&[&x, &x.flip(&[0])?, &x.pad_zeros(0, 3, 4)?], 0));
    assert_eq!(wide.values[..210_000], Plain::of(&x).values);
    run(|| Tensor::cat(&[&x.t()?, &x.t()?], 1)?.repeat(&[2, 3]));
    let long = x.reshape(&[210_000]).unwrap();
    let (sorted, order) = (run(|| Ok(long.sort(0, true)?.0)), run(|| long.argsort(0, true)));
    for k in [5, 1000] {
        assert_eq!(run(|| Ok(long.topk(k, 0, true)?.0)).values, sorted.values[..k]);
        assert_eq!(run(|| Ok(long.topk(k, 0, true)?.1)).values, order.values[..k]);
    }
    assert!(sorted.values.windows(2).all(|w| w[0] >= w[1]));
    run(|| x.sort(0, false)?.0.dropout(0.1, key));
    let dropped = run(|| long.dropout(0.1, key));
    let share = dropped.values.iter().filter(|&&v| v == 0.0).count() as f64 / 210_000.0;
    assert!((share - 0.1).abs() < 0.003, "{share}");
}
