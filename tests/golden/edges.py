"""Writes PyTorch's values and gradients at kinks, limits and overflows to tests/golden/edges.json.

    python tests/golden/edges.py

The inputs are 0, -0, infinities, NaN, the largest and smallest numbers, kinks, ties, constant rows and far
offsets, in f64 and f32. An entry has the operation and its parameters, the inputs, the output, several
incoming gradients (each one number everywhere), and for each of these the gradients of the inputs. Numbers
that JSON lacks are strings.
"""

import itertools
import json
import math
import pathlib

import torch
import torch.nn.functional as F

inf, nan = math.inf, math.nan
INCOMING = [1.0, inf, 0.0]
DTYPES = {"f64": torch.float64, "f32": torch.float32}
# The smallest number above 0, the smallest normal one, one whose square is 0, one whose square is
# infinite, the largest.
EXTREMES = {
    "f64": [5e-324, 2.2250738585072014e-308, 1e-200, 1e200, 1.7976931348623157e308],
    "f32": [1e-45, 1.1754943508222875e-38, 1e-30, 1e30, 3.4028234663852886e38],
}
entries = []


def number(x):
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    return x


def numbers(t):
    digits = 9 if t.dtype == torch.float32 else 17
    return [number(float(f"{x:.{digits}g}")) for x in t.detach().double().flatten().tolist()]


def add(op, f, inputs, dtype, incoming=INCOMING, **parameters):
    leaves = [torch.tensor(t, dtype=DTYPES[dtype], requires_grad=True) for t in inputs]
    y = f(*leaves)
    grads = []
    for g in incoming:
        found = torch.autograd.grad(y, leaves, torch.full_like(y, g), retain_graph=True)
        grads.append([numbers(d) for d in found])
    entries.append(
        {
            "op": op,
            "dtype": dtype,
            "parameters": parameters,
            "inputs": [{"shape": list(t.shape), "values": numbers(t)} for t in leaves],
            "shape": list(y.shape),
            "output": numbers(y),
            "incoming": [number(g) for g in incoming],
            "grads": grads,
        }
    )


def unary(dtype):
    ends = EXTREMES[dtype]
    points = [0.0, -0.0, 0.3, -0.3, 0.5, -0.5, 0.75, 1.0, -1.0, 2.5, -2.5, 6.0, -6.0, 15.0, -15.0, 60.0, -60.0,
              800.0, -800.0, *ends, *[-x for x in ends], inf, -inf, nan]
    names = "neg abs sign exp log log1p sqrt rsqrt reciprocal square sin cos tanh sigmoid erf relu floor ceil round"
    for name in names.split():
        inputs = points
        if name in ("sin", "cos"):  # for large angles the rounding of the angle decides
            inputs = [x for x in points if not 1e3 < abs(x) < inf]
        add(name, getattr(torch, name), [inputs], dtype)
    # From the threshold on PyTorch gives x itself; below it eˣ limits the precision.
    add("softplus", lambda x: F.softplus(x, threshold=80), [points], dtype)
    add("gelu", F.gelu, [points], dtype)
    add("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), [points], dtype)
    add("silu", F.silu, [points], dtype)
    add("affine", lambda x: x * 1.5 - 0.5, [points], dtype, mul=1.5, add=-0.5)
    add("affine", lambda x: x * 0.0, [points], dtype, mul=0.0, add=0.0)
    for e in [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, -1.0, -0.5]:
        add("powf", lambda x: x**e, [points], dtype, exponent=e)
    for low, high in [(-0.5, 0.75), (0.0, None), (None, 0.5), (0.0, 0.0)]:
        add("clamp", lambda x: x.clamp(low, high), [points], dtype, min=number(-inf if low is None else low),
            max=number(inf if high is None else high))


def binary(dtype):
    ends = EXTREMES[dtype]
    points = [0.0, -0.0, 0.5, -1.0, 2.0, 3.0, ends[2], -ends[3], ends[4], inf, -inf, nan]
    a, b = zip(*itertools.product(points, points))
    for name in "add sub mul div pow maximum minimum".split():
        add(name, getattr(torch, name), [a, b], dtype)
    condition = [i % 2 for i in range(len(points))]
    add("where", lambda a, b: torch.where(torch.tensor(condition) == 1, a, b), [points, points[::-1]], dtype,
        mask=condition, mask_shape=[len(points)])


# Rows of three, for reductions and functions along a dimension.
def rows(dtype):
    ends = EXTREMES[dtype]
    return [
        [1.0, 2.0, 2.0], [2.0, 2.0, 2.0], [0.0, -0.0, 0.0], [-1.0, 0.0, 1.0], [-inf, -inf, -inf], [-inf, 1.0, 2.0],
        [inf, 1.0, 2.0], [inf, inf, 1.0], [inf, -inf, 0.0], [nan, 1.0, 3.0], [nan, nan, 3.0], [800.0, 0.0, -800.0],
        [4097.0, 4098.0, 4100.0], [ends[2], 0.0, -ends[2]], [ends[3], 1.0, 2.0], [ends[4], 1.0, 0.0],
        [ends[4], ends[4], -ends[4]], [ends[1], ends[0], 0.0],
    ]


def along_rows(dtype):
    x = rows(dtype)
    # PyTorch's extremum of all elements selects and shares; the one along a dimension multiplies by the mask.
    each = lambda f: lambda x: torch.stack([f(row) for row in x])
    for name, f in [
        ("sum", lambda x: x.sum(1)), ("mean", lambda x: x.mean(1)), ("max", each(torch.max)),
        ("min", each(torch.min)), ("logsumexp", lambda x: x.logsumexp(1)), ("prod", lambda x: x.prod(1)),
    ]:
        add(name, f, [x], dtype, dims=[1])
    for correction in [0, 1, 2, 3]:
        add("var", lambda x: x.var(1, correction=correction), [x], dtype, dims=[1], correction=correction)
    add("softmax", lambda x: x.softmax(1), [x], dtype, dim=1)
    add("log_softmax", lambda x: x.log_softmax(1), [x], dtype, dim=1)
    add("normalize", lambda x: F.normalize(x, dim=1), [x], dtype)
    for reduction in ["none", "sum", "mean"]:
        for smoothing, weight in [(0.0, None), (0.2, [0.5, 0.0, 2.0])]:
            logits = [r for r in x if not any(math.isnan(v) for v in r) and r[0] < inf]
            targets = [i % 3 if i % 4 else 99 for i in range(len(logits))]
            add("cross_entropy",
                lambda x: F.cross_entropy(x, torch.tensor(targets), weight and torch.tensor(weight).to(x.dtype),
                                          ignore_index=99, label_smoothing=smoothing, reduction=reduction),
                [logits], dtype, [1.0], ids=targets, reduction=reduction, smoothing=smoothing, weight=weight)


def losses(dtype):
    ends = EXTREMES[dtype]
    points = [0.0, -0.0, 0.7, -0.7, 0.2, -3.0, 100.0, -100.0, ends[2], -ends[3], ends[4], inf, -inf, nan]
    zeros = [0.0] * len(points)
    halves = [0.0, 1.0, 0.5, 1.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 0.0, 1.0, 0.0, 1.0]
    for reduction in ["none", "mean"]:
        p = dict(reduction=reduction)
        add("mse", lambda a, b: F.mse_loss(a, b, **p), [points, zeros], dtype, **p)
        add("l1", lambda a, b: F.l1_loss(a, b, **p), [points, zeros], dtype, **p)
        add("huber", lambda a, b: F.huber_loss(a, b, delta=0.7, **p), [points, zeros], dtype, delta=0.7, **p)
        add("bce_with_logits",
            lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(halves, dtype=x.dtype), **p),
            [points], dtype, targets=halves, **p)
    a = [[0.0, 0.0], [1.0, 0.0], [3.0, 4.0], [1.0, 2.0], [ends[2], 0.0], [1.0, 1.0]]
    b = [[1.0, 2.0], [0.0, 2.0], [3.0, 4.0], [0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]]
    add("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, dim=1, eps=1e-8), [a, b], dtype, [1.0])
    for target in [1.0, -1.0]:
        add("cosine_embedding",
            lambda a, b: F.cosine_embedding_loss(a, b, torch.full((len(a),), target), reduction="none"),
            [a, b], dtype, [1.0], target=target)


for dtype in DTYPES:
    unary(dtype)
    binary(dtype)
    along_rows(dtype)
    losses(dtype)

path = pathlib.Path(__file__).with_name("edges.json")
lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
path.write_text(f"[\n{lines}\n]\n")
print(f"{len(entries)} entries, {path.stat().st_size} bytes, PyTorch {torch.__version__}")
