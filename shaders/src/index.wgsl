// Reading and adding entries by id, ids already checked.
//
//   look_up:      y[o, j, i] = x[o, ids[…], i]
//   add_rows:     y[o, r, i] = base[o, r, i] + Σ source[o, j, i] over all j with id r
//   scatter_add:  y[o, index[o, j, i], i] += source[o, j, i]
//
// where o runs over the dimensions before the indexed one and i over those after it.
// look_up and add_rows: one thread computes one element of y. add_rows finds its additions in a table made on the CPU:
// entries 0..=rows give the positions in the table where the list of each row begins; the lists follow, j ascending.
// scatter_add: one thread goes along one line of the indexed dimension.
// Order of reduction: the additions to one element are made in order of j, in f32. add_rows sums runs of $RUN and adds
// their sums to the base (or 0); scatter_add adds one after another to the old value. Each element belongs to one
// thread, so no addition is lost and every run gives the same result.

#if KIND == look_up
// Operand 0 is x with entry 0 for every id, operand 1 the ids; `word` is the distance between entries.
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<$T>;

@compute @workgroup_size(256)
fn look_up(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i < p.numel) {
        y[i] = x[position(0u, i) + ids[position(1u, i)] * p.word];
    }
}
#end

#if KIND == add_rows
// Operand 0 is the source with entry 0 for every row, operand 1 counts the rows, operand 2 is the base;
// `word` is the distance between entries of the source.
@group(0) @binding(0) var<storage, read> source: array<$T>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
#if BASE
@group(0) @binding(2) var<storage, read> base: array<$T>;
@group(0) @binding(3) var<storage, read_write> y: array<$T>;
#else
@group(0) @binding(2) var<storage, read_write> y: array<$T>;
#end

@compute @workgroup_size(256)
fn add_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = element(group, groups, local);
    if (i >= p.numel) {
        return;
    }
#if BASE
    var sum = f32(base[position(2u, i)]);
#else
    var sum = 0.0;
#end
    let first = position(0u, i);
    let row = position(1u, i);
    let end = table[row + 1u];
    var at = table[row];
    while (at < end) {
        let rest = min(end - at, u32($RUN));
        var run = f32(source[first + table[at] * p.word]);
        for (var j = at + 1u; j < at + rest; j++) {
            run += f32(source[first + table[j] * p.word]);
        }
        sum += run;
        at += rest;
    }
    y[i] = $T(sum);
}
#end

#if KIND == scatter_add
// index and source are row-major [outer, length, inner]; y is row-major, and strides find its lines
// from those of the index.
struct Args {
    lines: u32,
    length: u32,
    inner: u32,
    step: u32, // between entries of a line of y
    index_offset: u32,
    source_offset: u32,
    rank: u32, // 1 to 6
    shape: array<u32, 6>,
    strides: array<u32, 6>,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read> source: array<$T>;
@group(0) @binding(2) var<storage, read_write> y: array<$T>;

@compute @workgroup_size(256)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = (group.y * groups.x + group.x) * 256u + local;
    if (line >= args.lines) {
        return;
    }
    var to = 0u;
    var rest = line;
    for (var d = args.rank; d > 0u; d--) {
        let q = rest / args.shape[d - 1u];
        to += (rest - q * args.shape[d - 1u]) * args.strides[d - 1u];
        rest = q;
    }
    let outer = line / args.inner;
    var source_at = outer * args.length * args.inner + (line - outer * args.inner);
    for (var j = 0u; j < args.length; j++) {
        let at = to + index[args.index_offset + source_at] * args.step;
        y[at] = $T(f32(y[at]) + f32(source[args.source_offset + source_at]));
        source_at += args.inner;
    }
}
#end
