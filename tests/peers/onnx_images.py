"""ONNX's convolutions and pools: patches with `index_select`, then a product or a reduction; see `onnx_operators`."""

import math

import numpy as np

from onnx_operators import NotThere, full, operator
from onnx_shapes import padded


class Window:
    """The places of a kernel on the spatial dimensions of x: for each dimension the indices `[places, size]` into the
    padded dimension, and the padding."""

    def __init__(self, node, spatial, kernel):
        rank = len(spatial)
        self.strides = node.get("strides", [1] * rank)
        dilations = node.get("dilations", [1] * rank)
        pads, auto = node.get("pads", [0] * 2 * rank), node.get("auto_pad", "NOTSET")
        self.pads, self.indices = [], []
        for d, size in enumerate(spatial):
            stride, reach = self.strides[d], dilations[d] * (kernel[d] - 1) + 1
            before, after = pads[d], pads[d + rank]
            if auto.startswith("SAME"):
                missing = max(0, (-(-size // stride) - 1) * stride + reach - size)
                before, after = missing // 2, missing - missing // 2
                if auto == "SAME_LOWER":
                    before, after = after, before
            room = size + before + after - reach
            places = (-(-room // stride) if node.get("ceil_mode", 0) else room // stride) + 1
            # No window begins in the padding at the end.
            if (places - 1) * stride >= size + before:
                places -= 1
            starts = np.arange(places)[:, None] * stride
            self.indices.append(starts + np.arange(kernel[d]) * dilations[d])
            self.pads.append((before, max(after, int(self.indices[-1].max()) + 1 - size - before)))

    def patches(self, e, x, value=None):
        """x `[n, c, spatial…]` as `[n, c, places…, sizes…]`, `value` (zero where None) in the padding."""
        for d, (ids, pads) in enumerate(zip(self.indices, self.pads)):
            if any(pads):
                x = padded(e, x, 2 + d, *pads, value)
        rank = len(self.indices)
        for d, ids in enumerate(self.indices):
            # The earlier dimensions are already split in two.
            axis = 2 + 2 * d
            x = x.index_select(ids.ravel().astype(np.uint32), dim=axis)
            x = x.reshape(shape=[*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :]])
        places, sizes = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
        return x.permute(dims=[0, 1, *places, *sizes])


def last(x, count):
    return list(range(x.ndim - count, x.ndim))


@operator("MaxPool")
def max_pool(e, node, x):
    if len(node.outputs) > 1:
        raise NotThere("the indices of the largest")
    kernel = node.get("kernel_shape")
    lowest = full(e, -math.inf if x.dtype.kind == "f" else 0, x)
    patches = Window(node, x.shape[2:], kernel).patches(e, x, lowest)
    return patches.max(dims=last(patches, len(kernel)))


@operator("AveragePool")
def average_pool(e, node, x):
    kernel = node.get("kernel_shape")
    window = Window(node, x.shape[2:], kernel)
    sums = window.patches(e, x).sum(dims=list(range(x.ndim, x.ndim + len(kernel))))
    ones = x * 0.0 + 1.0
    if node.get("count_include_pad", 0):
        # Elements beyond the requested padding do not count.
        pads = node.get("pads", [0] * 2 * len(kernel))
        for d in range(len(kernel)):
            given = (pads[d], pads[d + len(kernel)])
            ones = padded(e, ones, 2 + d, *given, full(e, 1.0, x))
            window.pads[d] = tuple(max(0, own - pad) for own, pad in zip(window.pads[d], given))
    counts = window.patches(e, ones)
    return sums / counts.sum(dims=list(range(x.ndim, x.ndim + len(kernel))))


@operator("LpPool")
def lp_pool(e, node, x):
    kernel, p = node.get("kernel_shape"), float(node.get("p", 2))
    patches = Window(node, x.shape[2:], kernel).patches(e, x.abs().powf(e=p))
    return patches.sum(dims=last(patches, len(kernel))).powf(e=1 / p)


def convolved(e, window, x, weight, groups):
    """Products of patches and kernels, group by group."""
    patches = window.patches(e, x)
    places = [len(ids) for ids in window.indices]
    n, per, out = x.shape[0], x.shape[1] // groups, weight.shape[0] // groups
    results = []
    for group in range(groups):
        own = patches.narrow(dim=1, start=group * per, length=per)
        rank = len(places)
        rows = own.permute(dims=[0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank)])
        rows = rows.reshape(shape=[n * math.prod(places), math.prod(weight.shape[1:])])
        kernels = weight.narrow(dim=0, start=group * out, length=out)
        y = rows.linear(kernels.reshape(shape=[out, math.prod(weight.shape[1:])]))
        results.append(y.reshape(shape=[n, *places, out]).permute(dims=[0, 1 + rank, *range(1, 1 + rank)]))
    return e("cat", *results, dim=1)


@operator("Conv")
def conv(e, node, x, weight, bias=None):
    y = convolved(e, Window(node, x.shape[2:], weight.shape[2:]), x, weight, node.get("group", 1))
    return y if bias is None else y + bias.reshape(shape=[weight.shape[0], *[1] * (x.ndim - 2)])


@operator("CausalConvWithState")
def causal_conv(e, node, x, weight, bias=None, past=None):
    kept = weight.shape[2] - 1
    whole = x.pad_zeros(dim=2, before=kept, after=0) if past is None else e("cat", past, x, dim=2)
    y = convolved(e, Window(node, whole.shape[2:], weight.shape[2:]), whole, weight, x.shape[1])
    y = y if bias is None else y + bias.reshape(shape=[x.shape[1], 1])
    y = y.silu() if node.get("activation", "none") in ("silu", "swish") else y
    return y, whole.narrow(dim=2, start=whole.shape[2] - kept, length=kept)


@operator("LRN")
def lrn(e, node, x):
    size = node.get("size")
    before, channels = (size - 1) // 2, x.shape[1]
    square = padded(e, x.square(), 1, before, size - 1 - before, None)
    ids = np.arange(channels)[:, None] + np.arange(size)
    windows = square.index_select(ids.ravel().astype(np.uint32), dim=1)
    total = windows.reshape(shape=[x.shape[0], channels, size, *x.shape[2:]]).sum(dims=[2])
    scale = total * (node.get("alpha", 1e-4) / size) + node.get("bias", 1.0)
    return x * scale.powf(e=-node.get("beta", 0.75))
