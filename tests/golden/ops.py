"""Writes PyTorch's values and gradients of every operation that it has to tests/golden/ops.json.

    python tests/golden/ops.py

An entry has the operation's name and parameters, the inputs, the incoming gradient, the output, and the
gradients of the inputs. Inputs are rounded to f32, and outputs are computed from them in f64, so that only
one side of the comparison rounds.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
entries = []


def numbers(t):
    return [float(f"{x:.9g}") for x in t.detach().flatten().tolist()]


def add(op, f, inputs, **parameters):
    leaves = [t.float().double().requires_grad_() for t in inputs]
    y = f(*leaves)
    g = (torch.rand(y.shape) + 0.5).double()
    grads = torch.autograd.grad(y, leaves, g, allow_unused=True)
    grads = [torch.zeros_like(x) if d is None else d for x, d in zip(leaves, grads)]
    entries.append(
        {
            "op": op,
            "parameters": parameters,
            "inputs": [{"shape": list(t.shape), "values": numbers(t)} for t in leaves],
            "incoming": numbers(g),
            "shape": list(y.shape),
            "output": numbers(y),
            "grads": [numbers(d) for d in grads],
        }
    )


x = torch.randn(3, 5)
positive = torch.rand(3, 5) + 0.2
row = torch.randn(5)
column = torch.rand(3, 1) + 0.3

# Functions of one element.
for name in "neg abs sign exp square sin cos tanh sigmoid erf floor ceil round relu".split():
    add(name, getattr(torch, name), [x])
for name in "log log1p sqrt rsqrt reciprocal".split():
    add(name, getattr(torch, name), [positive])
far = torch.tensor([-30.0, -6.0, -1.0, 0.5, 4.0, 30.0])
add("softplus", lambda x: F.softplus(x, threshold=100), [far])
add("gelu", F.gelu, [torch.cat([x.flatten(), far])])
add("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), [torch.cat([x.flatten(), far])])
add("silu", F.silu, [torch.cat([x.flatten(), far])])
add("affine", lambda x: x * 1.5 - 0.5, [x])
add("powf", lambda x: x**3, [x])
add("clamp", lambda x: x.clamp(-0.5, 0.75), [x])

# Functions of two elements, broadcast.
for name in "add sub mul maximum minimum".split():
    add(name, getattr(torch, name), [x, row])
add("div", torch.div, [x, column])
add("pow", torch.pow, [column, x])
condition = torch.rand(3, 5) < 0.5
add("where", lambda a, b: torch.where(condition, a, b), [x, row],
    mask=condition.int().flatten().tolist(), mask_shape=[3, 5])
equal = torch.tensor([1.0, 2.0, 2.0, -1.0, 2.0])
add("maximum", torch.maximum, [equal, torch.full((5,), 2.0)])

# Shapes.
cube = torch.randn(2, 3, 4)
add("reshape", lambda x: x.reshape(4, 6), [cube], shape=[4, 6])
add("permute", lambda x: x.permute(2, 0, 1), [cube], dims=[2, 0, 1])
add("narrow", lambda x: x.narrow(-1, 1, 2), [cube], dim=-1, start=1, length=2)
add("broadcast_to", lambda x: x.broadcast_to(2, 3, 5), [column], shape=[2, 3, 5])
add("sum_to", lambda x: x.sum_to_size(3, 1), [cube], shape=[3, 1])
add("to_dtype", lambda x: x.double(), [x])

# Reductions.
for name, f in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("min", torch.amin),
                ("logsumexp", torch.logsumexp)]:
    add(name, lambda x: f(x, (0, 2)), [cube], dims=[0, 2])
add("var", lambda x: x.var((1,), correction=1), [cube], dims=[1], correction=1)
add("max", lambda x: x.amax((0,)), [equal], dims=[0])

# Products.
add("matmul", torch.matmul, [cube, torch.randn(4, 2)])
add("matmul", torch.matmul, [torch.randn(3, 1, 2, 3), torch.randn(2, 3, 4)])
add("linear", F.linear, [cube, torch.randn(5, 4), row])

# Normalisations.
add("softmax", lambda x: x.softmax(1), [cube], dim=1)
add("log_softmax", lambda x: x.log_softmax(-1), [cube * 5], dim=-1)
add("layer_norm", lambda x, w, b: F.layer_norm(x, (4,), w, b, 1e-5),
    [cube, torch.randn(4), torch.randn(4)], eps=1e-5)
logits, targets = torch.randn(6, 5) * 3, torch.tensor([0, 4, 99, 2, 2, 1])
weight = (torch.rand(5) + 0.3).float()
for reduction in ["mean", "sum", "none"]:
    for smoothing, weights in [(0.0, None), (0.2, weight)]:
        add("cross_entropy",
            lambda x: F.cross_entropy(x, targets, None if weights is None else weights.double(),
                                      ignore_index=99, label_smoothing=smoothing,
                                      reduction=reduction),
            [logits], ids=targets.tolist(), reduction=reduction, smoothing=smoothing,
            weight=None if weights is None else numbers(weights))

# Attention over sequences of 2, 1 and 4 tokens, each by itself.
heads, lengths = 2, [2, 1, 4]


def attention(q, k, v):
    outputs = []
    for q, k, v in zip(q.split(lengths), k.split(lengths), v.split(lengths)):
        split = lambda x: x.view(len(x), heads, -1).transpose(0, 1)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v))
        outputs.append(y.transpose(0, 1).reshape(len(q[:, 0]), -1))
    return torch.cat(outputs)


add("attention", attention, [torch.randn(7, 6) for _ in range(3)], heads=heads, ids=[0, 2, 3, 7],
    scale=1 / math.sqrt(3))

# By index.
ids = torch.tensor([2, 0, 2])
add("index_select", lambda x: x.index_select(1, ids), [cube], dim=1, ids=ids.tolist())
add("index_add", lambda x, s: x.index_add(1, ids, s), [cube, torch.randn(2, 3, 4)], dim=1,
    ids=ids.tolist())
index = torch.randint(0, 3, (2, 5, 4))
add("gather", lambda x: x.gather(1, index), [cube], dim=1, ids=index.flatten().tolist(),
    ids_shape=[2, 5, 4])
add("scatter_add", lambda x, s: x.scatter_add(1, index, s), [cube, torch.randn(2, 5, 4)], dim=1,
    ids=index.flatten().tolist(), ids_shape=[2, 5, 4])
tokens = torch.tensor([[1, 3, 1], [0, 1, 3]])
add("embedding", lambda w: F.embedding(tokens, w), [torch.randn(4, 3)],
    ids=tokens.flatten().tolist(), ids_shape=[2, 3])

# Joining.
add("cat", lambda *t: torch.cat(t, -1), [x, torch.randn(3, 1), torch.randn(3, 2)], dim=-1)
add("pad_zeros", lambda x: F.pad(x, (2, 1)), [x], dim=-1, before=2, after=1)
add("flip", lambda x: x.flip((0, 2)), [cube], dims=[0, 2])

# This entry follows the others, so that the random inputs above do not change.
add("linear_gelu", lambda x, w, b: F.gelu(F.linear(x, w, b)), [cube, torch.randn(5, 4), row])

# Attention with a window, a causal mask and a bias by distance: all in the mask of PyTorch. Also after the others.


def biased_attention(causal, window, q, k, v, table=None):
    outputs = []
    for q, k, v in zip(q.split(lengths), k.split(lengths), v.split(lengths)):
        split = lambda x: x.view(len(x), heads, -1).transpose(0, 1)
        distance = torch.arange(len(q)) - torch.arange(len(q))[:, None]  # key − query
        mask = torch.zeros(heads, len(q), len(q), dtype=q.dtype)
        if table is not None:
            reach = table.shape[1] // 2
            mask = table[:, distance.clamp(-reach, reach) + reach]
        seen = distance.abs() <= window
        if causal:
            seen &= distance <= 0
        mask = mask.masked_fill(~seen, -math.inf)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask)
        outputs.append(y.transpose(0, 1).reshape(len(q[:, 0]), -1))
    return torch.cat(outputs)


for causal, window, reach in [(True, 99, None), (False, 1, None), (True, 2, 1), (False, 2, 3)]:
    tables = [] if reach is None else [torch.randn(heads, 2 * reach + 1)]
    add("attention", lambda *t: biased_attention(causal, window, *t),
        [torch.randn(7, 6) for _ in range(3)] + tables, heads=heads, ids=[0, 2, 3, 7],
        scale=1 / math.sqrt(3), causal=int(causal), window=window)

# Norms without a bias, gated linear units, rotary position embedding.
add("layer_norm", lambda x, w: F.layer_norm(x, (4,), w, None, 1e-5), [cube, torch.randn(4)], eps=1e-5)
add("rms_norm", lambda x, w: F.rms_norm(x, (4,), w, 1e-5), [cube, torch.randn(4)], eps=1e-5)
gates = {"sigmoid": torch.sigmoid, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
         "silu": F.silu, "relu": F.relu}
add("glu", F.glu, [cube * 3], gate="sigmoid", gate_first=0)
for gate, f in gates.items():
    add("glu", lambda x: f(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1], [cube * 3], gate=gate, gate_first=1)


def rotary(x, heads, size, dim, positions, theta):
    """As `apply_rotary_pos_emb` of `transformers`, where the first `dim` elements of a head turn."""
    frequencies = 1.0 / (theta ** (torch.arange(0, dim, 2).float() / dim))
    angles = torch.cat([positions.float()[:, None] * frequencies] * 2, -1)[:, None]
    split = x[:, :heads * size].view(len(x), heads, size)
    turned, rest = split[..., :dim], split[..., dim:]
    half = torch.cat([-turned[..., dim // 2:], turned[..., :dim // 2]], -1)
    turned = turned * angles.double().cos() + half * angles.double().sin()
    return torch.cat([torch.cat([turned, rest], -1).flatten(1), x[:, heads * size:]], -1)


places = torch.tensor([0, 1, 2, 0, 511])
for size, dim, theta in [(4, 4, 10000.0), (6, 4, 160000.0)]:
    add("rotary_embedding", lambda x: rotary(x, 2, size, dim, places, theta), [torch.randn(5, 3 * size)],
        heads=2, head_size=size, dim=dim, theta=theta, positions=512, ids=places.tolist())

path = pathlib.Path(__file__).with_name("ops.json")
lines = ",\n".join(json.dumps(entry) for entry in entries)
path.write_text(f"[\n{lines}\n]\n")
print(f"{len(entries)} entries, {path.stat().st_size} bytes, PyTorch {torch.__version__}")
