"""True values of the functions of one and two elements at difficult arguments: `python values.py > values.json`.

Inputs are f32. The values are PyTorch's in f64, so that a test in f32 compares with the truth; conversions are
PyTorch's own. Needs only torch.
"""

import json
import math
import struct

import torch
import torch.nn.functional as F

TINY, LEAST, LARGEST = 2.0**-126, 2.0**-149, 3.4028234663852886e38


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def both(*xs):
    return [f32(s * x) for x in xs for s in (1, -1)]


INPUTS = [math.nan] + both(
    0.0, math.inf, LARGEST, 1e30, TINY, 1e-40, LEAST, 1e-20, 1e-8, 1e-4, 1e-3, 0.1, 0.3, 0.5, 0.7, 1.0, 1.0001, 1.5, 2.5,
    3.0, 3.1415927, 1.5707964, 5.0, 7.5, 10.0, 20.0, 50.0, 87.0, 88.5, 89.5, 95.0, 104.5, 1e3, 8388607.5, 16777217.0,
    1e5, 1e7, 1e10, 1e15, 1e20, 1.6367e22, 2.0**63,
)

# Arguments of functions of two elements.
LEFT = [math.nan] + both(0.0, 1.0, 2.0, 3.0, 0.5, 0.999, 1.001, 1.05, 0.1, 7.7, 1e10, math.inf, LARGEST, TINY, 1e-40, LEAST)
RIGHT = [math.nan] + both(
    0.0, 1.0, 2.0, 3.0, 16.0, 17.0, 0.5, 2.5, 1 / 3, 1e-3, 40.0, 127.0, 1001.37, 20000.0, 16777215.0, 16777216.0, 1e10, math.inf,
    LARGEST, TINY, LEAST,
)

UNARY = {
    "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "square": torch.square, "sin": torch.sin, "cos": torch.cos,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "erf": torch.erf, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": torch.relu,
    "silu": F.silu, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "sign": torch.sign,
}
# Gradus differs on purpose here, and documents it: sign keeps a NaN, GELU of −∞ is its limit.
OWN = {("sign", math.nan): math.nan, ("gelu", -math.inf): 0.0}
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def written(values):
    """All numbers as text that Rust can parse, because JSON has no infinities."""
    return " ".join(repr(float(v)).replace("nan", "NaN") for v in values)


def of_one(name, function):
    y = function(torch.tensor(INPUTS, dtype=torch.float64)).tolist()
    own = lambda x, y: next((v for (n, at), v in OWN.items() if n == name and (x == at or x != x and at != at)), y)
    return written(own(x, y) for x, y in zip(INPUTS, y))


def slope(name):
    """The fused derivatives."""
    x = torch.tensor(INPUTS, dtype=torch.float64, requires_grad=True)
    UNARY[name](x).sum().backward()
    return written(x.grad.tolist())


def converted(dtype):
    return written(torch.tensor(INPUTS, dtype=torch.float32).to(dtype).to(torch.float64).tolist())


left = torch.tensor(LEFT, dtype=torch.float64)[:, None]
right = torch.tensor(RIGHT, dtype=torch.float64)[None, :]
print(json.dumps({
    "about": f"made by values.py with PyTorch {torch.__version__.split('+')[0]}",
    "inputs": written(INPUTS), "left": written(LEFT), "right": written(RIGHT),
    "unary": {name: of_one(name, function) for name, function in UNARY.items()},
    "slopes": {name: slope(name) for name in ("gelu", "gelu_tanh", "silu", "sigmoid", "tanh")},
    "binary": {name: written(function(left, right).flatten().tolist()) for name, function in BINARY.items()},
    "converted": {"f16": converted(torch.float16), "bf16": converted(torch.bfloat16)},
}, indent=1, ensure_ascii=False))
