"""ONNX's operators on shapes and by index; see `onnx_operators`."""

import math

import numpy as np

from onnx_operators import NotThere, axes_of, full, index, ints, name_of, operator, where


@operator("Reshape")
def reshape(e, node, x, shape):
    sizes = ints(shape.array)
    if not node.get("allowzero", 0):
        sizes = [x.shape[d] if size == 0 else size for d, size in enumerate(sizes)]
    known = math.prod(size for size in sizes if size >= 0)
    return x.reshape(shape=[x.array.size // known if size < 0 else size for size in sizes])


@operator("Flatten")
def flatten(e, node, x):
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(shape=[math.prod(x.shape[:axis]), math.prod(x.shape[axis:])])


@operator("Transpose")
def transpose(e, node, x):
    return x.permute(dims=node.get("perm", list(reversed(range(x.ndim)))))


@operator("Expand")
def expand(e, node, x, shape):
    return x.broadcast_to(shape=list(np.broadcast_shapes(x.shape, ints(shape.array))))


@operator("Squeeze")
def squeeze(e, node, x, axes=None):
    axes = axes_of(node, axes) or [d for d, size in enumerate(x.shape) if size == 1]
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.squeeze(dim=axis)
    return x


@operator("Unsqueeze")
def unsqueeze(e, node, x, axes):
    axes = axes_of(node, axes)
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(dim=axis)
    return x


@operator("Concat")
def concat(e, node, *inputs):
    return e("cat", *inputs, dim=node.get("axis"))


@operator("Split")
def split(e, node, x, sizes=None):
    axis = node.get("axis", 0)
    if sizes is not None:
        return x.split_with_sizes(sizes=ints(sizes.array), dim=axis)
    parts = node.get("num_outputs", len(node.outputs))
    return x.split(size=-(-x.shape[axis] // parts), dim=axis)


@operator("Tile")
def tile(e, node, x, repeats):
    return x.repeat(times=ints(repeats.array))


@operator("Slice")
def slice_(e, node, x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts.array), ints(ends.array)
    axes = ints(axes.array) if axes is not None else range(len(starts))
    steps = ints(steps.array) if steps is not None else [1] * len(starts)
    for axis, *bounds in zip(axes, starts, ends, steps):
        ids = range(*slice(*bounds).indices(x.shape[axis]))
        if ids.step == 1:
            x = x.narrow(dim=axis, start=ids.start, length=len(ids))
        else:
            x = x.index_select(np.array(ids, np.uint32), dim=axis)
    return x


@operator("Pad")
def pad(e, node, x, pads, value=None, axes=None):
    axes = ints(axes.array) if axes is not None else range(x.ndim)
    pads, mode = ints(pads.array), node.get("mode", "constant")
    for at, axis in enumerate(axes):
        before, after = pads[at], pads[at + len(axes)]
        if mode != "constant":
            ids = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)
            x = x.index_select(ids.astype(np.uint32), dim=axis)
            continue
        for negative, start in ((before, -before), (after, 0)):
            if negative < 0:
                x = x.narrow(dim=axis, start=start, length=x.shape[axis] + negative)
        x = padded(e, x, axis, max(before, 0), max(after, 0), value)
    return x


def padded(e, x, axis, before, after, value):
    y = x.pad_zeros(dim=axis, before=before, after=after)
    if value is None:
        return y
    inside = e("full", shape=x.shape, value=1, dtype="u8").pad_zeros(dim=axis, before=before, after=after)
    return where(inside, y, value)


@operator("CenterCropPad")
def center_crop_pad(e, node, x, shape):
    for axis, size in zip(node.get("axes", range(x.ndim)), ints(shape.array)):
        less, more = x.shape[axis] - size, size - x.shape[axis]
        if less > 0:
            x = x.narrow(dim=axis, start=less // 2, length=size)
        else:
            x = x.pad_zeros(dim=axis, before=more // 2, after=more - more // 2)
    return x


@operator("DepthToSpace", "SpaceToDepth")
def depth_and_space(e, node, x):
    b, (n, c, h, w) = node.get("blocksize"), x.shape
    if node.op == "SpaceToDepth":
        order = [0, 3, 5, 1, 2, 4] if node.get("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
        y = x.reshape(shape=[n, c, h // b, b, w // b, b]).permute(dims=order)
        return y.reshape(shape=[n, c * b * b, h // b, w // b])
    if node.get("mode", "DCR") == "DCR":
        y = x.reshape(shape=[n, b, b, c // (b * b), h, w]).permute(dims=[0, 3, 4, 1, 5, 2])
    else:
        y = x.reshape(shape=[n, c // (b * b), b, b, h, w]).permute(dims=[0, 1, 4, 2, 5, 3])
    return y.reshape(shape=[n, c // (b * b), h * b, w * b])


# Making.


@operator("ConstantOfShape")
def constant_of_shape(e, node, shape):
    value = np.ravel(node.get("value", np.zeros(1, np.float32)))[0]
    return e("full", shape=ints(shape.array), value=float(value), dtype=name_of(value.dtype))


@operator("EyeLike")
def eye_like(e, node, x):
    if node.get("k", 0) != 0 or x.shape[0] != x.shape[1]:
        raise NotThere("eye makes square matrices with only the main diagonal")
    return e("eye", n=x.shape[0], dtype=name_of(node.output_dtype()))


@operator("Range")
def range_(e, node, start, limit, delta):
    numbers = {"start": start, "end": limit, "step": delta}
    numbers = {name: float(value.array) for name, value in numbers.items()}
    return e("arange", dtype=name_of(start.dtype), **numbers)


@operator("BlackmanWindow", "HammingWindow", "HannWindow")
def window(e, node, size):
    size = int(size.array)
    turns = size if node.get("periodic", 1) else size - 1
    x = e("arange", start=0, end=size, step=1, dtype="f32") * (2 * math.pi / turns)
    if node.op == "BlackmanWindow":
        return x.cos() * -0.5 + (x * 2.0).cos() * 0.08 + 0.42
    a = 25 / 46 if node.op == "HammingWindow" else 0.5
    return x.cos() * (a - 1) + a


@operator("OneHot")
def one_hot(e, node, indices, depth, values):
    axis, depth = node.get("axis", -1), int(np.ravel(depth.array)[0])
    ids = index(np.asarray(indices.array, np.int64), depth)
    classes = e("arange", start=0, end=depth, step=1, dtype="u32")
    hit = e("unsqueeze", ids, dim=-1).eq(classes)
    off, on = values.narrow(dim=0, start=0, length=1), values.narrow(dim=0, start=1, length=1)
    y = where(hit, on, off)
    order = list(range(indices.ndim))
    order.insert(axis if axis >= 0 else axis + indices.ndim + 1, indices.ndim)
    return y.permute(dims=order)


# By index.


@operator("Gather")
def gather(e, node, x, indices):
    axis = node.get("axis", 0) % x.ndim
    ids = index(indices.array, x.shape[axis])
    y = x.index_select(ids.ravel(), dim=axis)
    return y.reshape(shape=x.shape[:axis] + ids.shape + x.shape[axis + 1 :])


@operator("GatherElements")
def gather_elements(e, node, x, indices):
    axis = node.get("axis", 0)
    return x.gather(index(indices.array, x.shape[axis]), dim=axis)


@operator("Scatter", "ScatterElements")
def scatter_elements(e, node, x, indices, updates):
    axis, reduction = node.get("axis", 0), node.get("reduction", "none")
    ids = index(indices.array, x.shape[axis])
    if reduction == "add":
        return x.scatter_add(ids, updates, dim=axis)
    if reduction != "none":
        raise NotThere(f"scatter with {reduction}")
    hits = (x * 0.0).scatter_add(ids, updates * 0.0 + 1.0, dim=axis)
    return where(hits.gt(full(e, 0.0, hits)), (x * 0.0).scatter_add(ids, updates, dim=axis), x)


def flat_ids(indices, shape):
    """Indices into `len(last)` dimensions, as indices into these dimensions flattened."""
    ids = np.asarray(indices)
    sizes = shape[: ids.shape[-1]]
    ids = np.where(ids < 0, ids + np.array(sizes), ids)
    return np.ravel_multi_index(np.moveaxis(ids, -1, 0), sizes).astype(np.uint32)


@operator("GatherND")
def gather_nd(e, node, x, indices):
    batch, depth = node.get("batch_dims", 0), indices.shape[-1]
    if batch:
        raise NotThere("an index for each entry of a batch")
    ids = flat_ids(indices.array, x.shape)
    rows = x.reshape(shape=[math.prod(x.shape[:depth]), math.prod(x.shape[depth:])])
    return rows.index_select(ids.ravel(), dim=0).reshape(shape=ids.shape + x.shape[depth:])


@operator("ScatterND")
def scatter_nd(e, node, x, indices, updates):
    reduction, depth = node.get("reduction", "none"), indices.shape[-1]
    ids = flat_ids(indices.array, x.shape).ravel()
    width = math.prod(x.shape[depth:])
    rows, source = x.reshape(shape=[x.array.size // width, width]), updates.reshape(shape=[len(ids), width])
    if reduction == "add":
        return rows.index_add(ids, source, dim=0).reshape(shape=x.shape)
    if reduction != "none":
        raise NotThere(f"scatter with {reduction}")
    hits = (rows * 0.0).index_add(ids, source * 0.0 + 1.0, dim=0)
    y = where(hits.gt(full(e, 0.0, hits)), (rows * 0.0).index_add(ids, source, dim=0), rows)
    return y.reshape(shape=x.shape)


@operator("Compress")
def compress(e, node, x, condition):
    ids = np.flatnonzero(condition.array).astype(np.uint32)
    axis = node.get("axis")
    return x.index_select(ids, dim=axis) if axis is not None else x.reshape(shape=[x.array.size]).index_select(
        ids, dim=0)


@operator("ReverseSequence")
def reverse_sequence(e, node, x, lengths):
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    rows = []
    for at, length in enumerate(ints(lengths.array)):
        row = x.narrow(dim=batch, start=at, length=1)
        head = row.narrow(dim=time, start=0, length=length).flip(dims=[time])
        tail = row.narrow(dim=time, start=length, length=x.shape[time] - length)
        rows.append(e("cat", head, tail, dim=time))
    return e("cat", *rows, dim=batch)


@operator("TensorScatter")
def tensor_scatter(e, node, cache, update, starts):
    axis, count = node.get("axis", -2) % cache.ndim, update.shape[node.get("axis", -2)]
    rows = []
    for at, start in enumerate(ints(starts.array)):
        old, new = (x.narrow(dim=0, start=at, length=1) for x in (cache, update))
        ids = ((np.arange(count) + start) % cache.shape[axis]).astype(np.uint32)
        gone = old.index_add(ids, old.index_select(ids, dim=axis) * -1.0, dim=axis)
        rows.append(gone.index_add(ids, new, dim=axis))
    return e("cat", *rows, dim=0)


@operator("TopK")
def top_k(e, node, x, k):
    return x.topk(k=int(k.array[0]), dim=node.get("axis", -1), largest=bool(node.get("largest", 1)))
