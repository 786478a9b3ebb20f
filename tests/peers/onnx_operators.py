"""ONNX's operators in terms of Gradus's. Each function takes the engine, the node and its inputs (None where one is
left out), and returns the outputs. The engine does all computation; numpy only prepares its attributes (axes, shapes,
indices)."""

import math

import numpy as np

from engine import NAMES

OPERATORS = {}


class NotThere(Exception):
    """The engine has the operator, but not this feature of it; the message is the reason."""


def operator(*names):
    def note(f):
        OPERATORS.update({name: f for name in names})
        return f

    return note


def ints(x):
    return [int(i) for i in np.ravel(x)]


def name_of(dtype):
    if np.dtype(dtype) not in NAMES:
        raise TypeError(f"the engine has no {dtype}")
    return NAMES[np.dtype(dtype)]


def full(e, value, like):
    """A scalar with the dtype of `like`."""
    return e("full", shape=[], value=float(value), dtype=name_of(like.dtype))


def where(condition, a, b):
    return a.engine("where", condition, a, b)


def index(ids, size):
    """Indices in the engine's form: u32, none counted from the end."""
    ids = np.asarray(ids)
    return np.where(ids < 0, ids + size, ids).astype(np.uint32)


# One element.

SAME_NAME = """Abs Ceil Cos Erf Exp Floor Log Neg Reciprocal Relu Round Sigmoid Sign Sin Softplus Sqrt Tanh
Add Sub Mul Div""".split()


@operator(*SAME_NAME)
def same_name(e, node, *inputs):
    return e(node.op.lower(), *inputs)


@operator("Identity")
def identity(e, node, x):
    return e("alias", x)


@operator("Cosh", "Sinh")
def hyperbolic(e, node, x):
    up, down = x.exp(), x.neg().exp()
    return (up + down if node.op == "Cosh" else up - down) * 0.5


@operator("Tan")
def tan(e, node, x):
    return x.sin() / x.cos()


@operator("Acosh")
def acosh(e, node, x):
    return (x + (x.square() - 1.0).sqrt()).log()


@operator("Asinh")
def asinh(e, node, x):
    return (x.abs() + (x.square() + 1.0).sqrt()).log() * x.sign()


@operator("Atanh")
def atanh(e, node, x):
    return (x.log1p() - x.neg().log1p()) * 0.5


def exponential(x, alpha):
    """α·(eˣ − 1) below 0."""
    return (x.clamp(max=0.0).exp() - 1.0) * alpha


@operator("Elu")
def elu(e, node, x):
    return x.elu(alpha=node.get("alpha", 1.0))


@operator("Celu")
def celu(e, node, x):
    alpha = node.get("alpha", 1.0)
    return x.relu() + exponential(x * (1.0 / alpha), alpha)


@operator("Selu")
def selu(e, node, x):
    alpha, gamma = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    return (x.relu() + exponential(x, alpha)) * gamma


@operator("LeakyRelu")
def leaky_relu(e, node, x):
    return x.leaky_relu(slope=node.get("alpha", 0.01))


@operator("PRelu")
def prelu(e, node, x, slope):
    return x.relu() + x.clamp(max=0.0) * slope


@operator("ThresholdedRelu")
def thresholded_relu(e, node, x):
    return where(x.gt(full(e, node.get("alpha", 1.0), x)), x, x * 0.0)


@operator("HardSigmoid")
def hard_sigmoid(e, node, x):
    return x.affine(mul=node.get("alpha", 0.2), add=node.get("beta", 0.5)).clamp(min=0.0, max=1.0)


@operator("HardSwish")
def hard_swish(e, node, x):
    return x * x.affine(mul=1 / 6, add=0.5).clamp(min=0.0, max=1.0)


@operator("Mish")
def mish(e, node, x):
    return x * x.softplus().tanh()


@operator("Softsign")
def softsign(e, node, x):
    return x.softsign()


@operator("Swish")
def swish(e, node, x):
    return x * (x * node.get("alpha", 1.0)).sigmoid()


@operator("SwiGLU")
def swiglu(e, node, a, b):
    return swish(e, node, a) * b


@operator("Gelu")
def gelu(e, node, x):
    return x.gelu() if node.get("approximate", "none") == "none" else x.gelu_tanh()


@operator("Shrink")
def shrink(e, node, x):
    limit, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    below, above = x.lt(full(e, -limit, x)), x.gt(full(e, limit, x))
    return where(below, x + bias, where(above, x - bias, x * 0.0))


@operator("Clip")
def clip(e, node, x, low=None, high=None):
    if x.dtype.kind == "f":
        limits = {"min": low, "max": high}
        limits = {name: float(limit.array) for name, limit in limits.items() if limit is not None}
        # If the upper limit is below the lower, ONNX returns the upper.
        if limits.get("min", -math.inf) > limits.get("max", math.inf):
            limits["min"] = limits["max"]
        return x.clamp(**limits)
    x = x if low is None else x.maximum(low)
    return x if high is None else x.minimum(high)


@operator("IsNaN")
def is_nan(e, node, x):
    return x.isnan()


@operator("IsInf")
def is_inf(e, node, x):
    low = x.eq(full(e, -math.inf, x)).mul(np.uint8(node.get("detect_negative", 1)))
    high = x.eq(full(e, math.inf, x)).mul(np.uint8(node.get("detect_positive", 1)))
    return low.maximum(high)


@operator("Not")
def not_(e, node, x):
    return x.logical_not()


@operator("Dropout")
def dropout(e, node, x, ratio=None, training=None):
    rate = float(ratio.array) if ratio is not None else node.get("ratio", 0.5)
    if training is None or not training.array:
        rate = 0.0
    if rate > 0.0:
        raise NotThere("its random numbers are NumPy's")
    return e("dropout", x, p=rate, seed=0), e("bernoulli_mask", shape=x.shape, p=rate, seed=0)


@operator("Cast", "CastLike")
def cast(e, node, x, like=None):
    return e("to_dtype", x, dtype=name_of(node.output_dtype()))


# Two elements.


@operator("Pow")
def pow_(e, node, a, b):
    return a.pow(b if b.dtype == a.dtype else b.to_dtype(dtype=name_of(a.dtype)))


@operator("Mod")
def mod(e, node, a, b):
    if not np.isfinite(np.append(a.array, b.array)).all() or not b.array.all():
        raise NotThere("a − ⌊a/b⌋·b is a remainder of finite numbers")
    quotient = a / b
    if a.dtype.kind == "f":
        quotient = quotient.sign() * quotient.abs().floor() if node.get("fmod", 0) else quotient.floor()
    return a - quotient * b


@operator("Max", "Min", "Sum", "Mean")
def variadic(e, node, first, *others):
    op = {"Max": "maximum", "Min": "minimum"}.get(node.op, "add")
    result = e("alias", first)
    for other in others:
        result = e(op, result, other)
    return result * (1.0 / (1 + len(others))) if node.op == "Mean" else result


@operator("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def compare(e, node, a, b):
    ops = {"Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le"}
    return e(ops[node.op], a, b)


@operator("And", "Or", "Xor")
def logic(e, node, a, b):
    return e({"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}[node.op], a, b)


@operator("Where")
def where_(e, node, condition, a, b):
    return where(condition, a, b)


# Reductions.


def axes_of(node, axes):
    given = node.get("axes") if axes is None else ints(axes.array)
    return list(given or [])


@operator(*"ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSumExp".split())
@operator(*"ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare".split())
def reduce(e, node, x, axes=None):
    dims, keep = axes_of(node, axes), bool(node.get("keepdims", 1))
    each = {"ReduceL1": "abs", "ReduceL2": "square", "ReduceSumSquare": "square"}.get(node.op)
    after = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}.get(node.op)
    op = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
          "ReduceLogSumExp": "logsumexp"}.get(node.op, "sum")
    x = e(each, x) if each else x
    if dims or not node.get("noop_with_empty_axes", 0):
        # The engine, like ONNX, reads an empty list of dimensions as all dimensions.
        x = e(op, x, dims=dims, keepdim=keep)
    return e(after, x) if after else x


@operator("ArgMax", "ArgMin")
def arg_extremum(e, node, x):
    axis, keep, op = node.get("axis", 0), bool(node.get("keepdims", 1)), node.op.lower()
    if not node.get("select_last_index", 0):
        return e(op, x, dim=axis, keepdim=keep)
    first = e(op, x.flip(dims=[axis]), dim=axis, keepdim=keep)
    return full(e, x.shape[axis] - 1, first).sub(first)


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(e, node, x):
    dims = list(range(2, x.ndim))
    return e("mean" if node.op == "GlobalAveragePool" else "max", x, dims=dims, keepdim=True)


@operator("CumSum")
def cum_sum(e, node, x, axis):
    axis = int(axis.array) % x.ndim
    count = x.shape[axis]
    order = e("arange", start=0, end=count, step=1, dtype=name_of(x.dtype))
    row, column = order.unsqueeze(dim=0), order.unsqueeze(dim=1)
    lower = (column.lt(row) if node.get("exclusive", 0) else column.le(row)).to_dtype(dtype=name_of(x.dtype))
    lower = lower.t() if node.get("reverse", 0) else lower
    last = x.transpose(dim0=axis, dim1=-1)
    return last.reshape(shape=[x.array.size // count, count]).matmul(lower).reshape(shape=last.shape).transpose(
        dim0=axis, dim1=-1)


# Products.


@operator("MatMul")
def matmul(e, node, a, b):
    row, column = a.ndim == 1, b.ndim == 1
    y = (a.unsqueeze(dim=0) if row else a).matmul(b.unsqueeze(dim=1) if column else b)
    y = y.squeeze(dim=-2) if row else y
    return y.squeeze(dim=-1) if column else y


@operator("Gemm")
def gemm(e, node, a, b, c=None):
    a = a.t() if node.get("transA", 0) else a
    b = b.t() if node.get("transB", 0) else b
    y = a.matmul(b) * node.get("alpha", 1.0)
    return y if c is None else y + c * node.get("beta", 1.0)


@operator("Einsum")
def einsum(e, node, *inputs):
    """Broadcasts every input to all letters, multiplies and sums; an ellipsis stands for additional letters."""
    left, _, right = node.get("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    dots = "ABCDE"[: max(x.ndim - len(term.replace("...", "")) for x, term in zip(inputs, terms))]
    terms = [term.replace("...", dots) for term in terms]
    letters = "".join(sorted(set("".join(terms))))
    once = "".join(letter for letter in letters if sum(term.count(letter) for term in terms) == 1)
    right = right.replace("...", dots) if "->" in node.get("equation") else dots + "".join(
        letter for letter in once if letter not in dots)
    product = None
    for x, term in zip(inputs, terms):
        x, term = diagonal(e, x, term)
        x = x.permute(dims=sorted(range(len(term)), key=lambda d: term[d]))
        for at, letter in enumerate(letters):
            x = x if letter in term else x.unsqueeze(dim=at)
        product = x if product is None else product * x
    gone = [at for at, letter in enumerate(letters) if letter not in right]
    y = product.sum(dims=gone) if gone else product
    rest = [letter for letter in letters if letter in right]
    return y.permute(dims=[rest.index(letter) for letter in right])


def diagonal(e, x, term):
    """Reduces a letter that occurs twice to one: the sum of x times the identity."""
    for letter in sorted(set(term)):
        if term.count(letter) == 2:
            first, second = term.index(letter), term.rindex(letter)
            others = [d for d in range(x.ndim) if d not in (first, second)]
            x = x.permute(dims=others + [first, second])
            x = (x * e("eye", n=x.shape[-1], dtype=name_of(x.dtype))).sum(dims=[-1])
            term = "".join(term[d] for d in others) + letter
    return x, term
