// Shared by the kernels of products: arguments, buffers, the offsets of a matrix of the batch, stores.
//
// IN and OUT are the elements of the buffers: numbers, or fours of them. The bias is always f32.

struct Args {
    m: u32,
    k: u32,
    n: u32,
    tiles: u32,               // workgroups in use
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    bias_offset: u32,
    batch: array<u32, 3>,     // sizes, outermost first
    a_batch: array<u32, 3>,   // strides
    b_batch: array<u32, 3>,
}
var<immediate> args: Args;

@group(0) @binding(0) var<storage, read> a: array<$IN>;
@group(0) @binding(1) var<storage, read> b: array<$IN>;
#if BIAS
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<$OUT>;
#if KEEP
@group(0) @binding(4) var<storage, read_write> kept: array<$OUT>;
#end
#else
@group(0) @binding(2) var<storage, read_write> c: array<$OUT>;
#if KEEP
@group(0) @binding(3) var<storage, read_write> kept: array<$OUT>;
#end
#if SUMS
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
#end
#end

// The place of a tile of size×size: its matrix of the batch, its first row, its first column. Tiles count along n, then
// m, then the batch.
fn place_of(tile: u32, size: u32) -> vec3<u32> {
    let across = (args.n + size - 1u) / size;
    let down = (args.m + size - 1u) / size;
    let matrix = tile / (across * down);
    let within = tile - matrix * across * down;
    return vec3<u32>(matrix, within / across * size, within % across * size);
}

// The offsets of A and of B in this matrix of the batch.
fn begin_of(matrix: u32) -> vec2<u32> {
    var at = vec2<u32>(args.a_offset, args.b_offset);
    var rest = matrix;
    for (var d = 3u; d > 0u; d--) {
        let q = rest / args.batch[d - 1u];
        let i = rest - q * args.batch[d - 1u];
        at += i * vec2<u32>(args.a_batch[d - 1u], args.b_batch[d - 1u]);
        rest = q;
    }
    return at;
}

// Stores an element of C from its complete sum.
#if SCALAR_OUT
fn store(at: u32, column: u32, sum: f32) {
#if BIAS
    let value = sum + bias[args.bias_offset + column];
#else
    let value = sum;
#end
#if KEEP
    kept[at + column] = $C(value);
#end
#if GELU
    c[at + column] = $C(gelu(value));
#else
    c[at + column] = $C(value);
#end
}
#else
// Stores four elements of C from `column` on; both are multiples of 4.
fn store_four(at: u32, column: u32, sum: vec4<f32>) {
#if BIAS
    let first = args.bias_offset + column;
    let value = sum + vec4<f32>(bias[first], bias[first + 1u], bias[first + 2u], bias[first + 3u]);
#else
    let value = sum;
#end
#if KEEP
    kept[(at + column) / 4u] = vec4<$C>(value);
#end
#if GELU
    c[(at + column) / 4u] = vec4<$C>(vec4<f32>(gelu(value.x), gelu(value.y), gelu(value.z), gelu(value.w)));
#else
    c[(at + column) / 4u] = vec4<$C>(value);
#end
}
#end
