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

# This entry is last, so that the random inputs above do not change.
add("linear_gelu", lambda x, w, b: F.gelu(F.linear(x, w, b)), [cube, torch.randn(5, 4), row])

path = pathlib.Path(__file__).with_name("ops.json")
lines = ",\n".join(json.dumps(entry) for entry in entries)
path.write_text(f"[\n{lines}\n]\n")
print(f"{len(entries)} entries, {path.stat().st_size} bytes, PyTorch {torch.__version__}")
