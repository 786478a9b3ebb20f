"""PyTorch's operations in terms of Gradus's. Each function has the parameters of its namesake in PyTorch's `op_db`, and
returns the call of the engine that computes the same."""

import torch
import torch.nn.functional as F

OPERATORS = {}


class LeftOut(Exception):
    """The reason why the engine cannot run a sample."""


class Call:
    """An operation of the engine with its inputs and attributes. `reference` is PyTorch's function of these inputs, if
    it is not the operation of `op_db` itself; `constants` are the inputs that have no gradient in the engine."""

    def __init__(self, op, *inputs, reference=None, constants=(), **attributes):
        self.op, self.inputs, self.attributes = op, inputs, attributes
        self.reference, self.constants = reference, constants


def operator(*names):
    def note(f):
        OPERATORS.update({name: f for name in names})
        return f

    return note


def left_out(reason, condition=True):
    if condition:
        raise LeftOut(reason)


def number(x):
    return x.item() if isinstance(x, torch.Tensor) else x


def dims(x, dim):
    if dim is None or dim == () or dim == []:
        return []
    left_out("a scalar has no dimension to name", x.ndim == 0)
    return [dim] if isinstance(dim, int) else list(dim)


def one_dim(x, dim):
    left_out("all dimensions at once", dim is None)
    left_out("a scalar has no dimension to name", x.ndim == 0)
    return dim


def sizes(x, shape):
    """A shape, with the sizes to infer or to keep filled in."""
    shape = list(shape)
    if -1 in shape:
        known = 1
        for size in shape:
            known *= size if size >= 0 else 1
        shape = [x.numel() // known if size == -1 else size for size in shape]
    return shape


UNARY = "abs sign neg exp log log1p sqrt rsqrt reciprocal square sin cos tanh sigmoid erf floor ceil".split()
UNARY = {name: name for name in UNARY}
UNARY |= {"nn.functional.relu": "relu", "nn.functional.silu": "silu", "special.erf": "erf", "clone": "alias"}


def unary(op):
    return lambda x: Call(op, x)


OPERATORS.update({theirs: unary(ours) for theirs, ours in UNARY.items()})


@operator("round")
def round_(x, decimals=0):
    left_out("rounding to decimals", decimals != 0)
    return Call("round", x)


@operator("nn.functional.softplus")
def softplus(x, beta=1, threshold=20):
    return Call("softplus", x, reference=lambda x: F.softplus(x, threshold=1000))


@operator("nn.functional.gelu")
def gelu(x, approximate="none"):
    return Call("gelu" if approximate == "none" else "gelu_tanh", x)


@operator("isfinite")
def isfinite(x):
    return Call("is_not_finite", x, reference=lambda x: ~torch.isfinite(x))


# Two elements.


def with_alpha(op, sign):
    def call(x, other, alpha=1):
        if not isinstance(other, torch.Tensor):
            return Call("add_scalar", x, value=sign * alpha * number(other))
        if alpha == 1:
            return Call(op, x, other)
        left_out("in-place addition keeps the shape", torch.broadcast_shapes(x.shape, other.shape) != x.shape)
        return Call("add_", x, other, constants=(0, 1), alpha=sign * alpha)

    return call


operator("add")(with_alpha("add", 1))
operator("sub")(with_alpha("sub", -1))


@operator("mul")
def mul(x, other):
    return Call("mul", x, other) if isinstance(other, torch.Tensor) else Call("mul_scalar", x, value=other)


@operator("div")
def div(x, other, rounding_mode=None):
    left_out("division that rounds", rounding_mode is not None)
    left_out("a number with a tensor", not isinstance(other, torch.Tensor))
    return Call("div", x, other)


@operator("pow")
def pow_(x, other):
    left_out("a number with a tensor", not isinstance(x, torch.Tensor))
    return Call("pow", x, other) if isinstance(other, torch.Tensor) else Call("powf", x, e=number(other))


def two(op):
    def call(x, other):
        left_out("a number with a tensor", not isinstance(other, torch.Tensor))
        left_out("two dtypes", x.dtype != other.dtype)
        return Call(op, x, other)

    return call


OPERATORS.update({name: two(name) for name in "maximum minimum eq ne lt le gt ge".split()})


@operator("where")
def where(x, condition, other):
    left_out("a number with a tensor", not isinstance(x, torch.Tensor) or not isinstance(other, torch.Tensor))
    left_out("two dtypes", x.dtype != other.dtype)
    return Call("where", condition, x, other)


@operator("clamp_min", "clamp_max")
def clamp_by_tensor(x, limit):
    raise LeftOut("limits that are tensors: maximum and minimum")


# Reductions.


def reduction(op):
    def call(x, dim=None, keepdim=False, dtype=None):
        return Call(op, x, dims=dims(x, dim), keepdim=keepdim)

    return call


OPERATORS.update({theirs: reduction(ours) for theirs, ours in
                  {"sum": "sum", "mean": "mean", "prod": "prod", "logsumexp": "logsumexp"}.items()})


def extremum(op):
    def call(x, dim=(), keepdim=False):
        return Call(op, x, dims=dims(x, dim), keepdim=keepdim)

    return call


OPERATORS.update({"amax": extremum("max"), "amin": extremum("min")})


@operator("var")
def var(x, dim=None, unbiased=None, keepdim=False, correction=None):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = correction if correction is not None else int(unbiased in (None, True))
    left_out("a correction that is negative or has a fraction", correction < 0 or correction != int(correction))
    return Call("var", x, dims=dims(x, dim), keepdim=keepdim, correction=int(correction))


@operator("sum_to_size")
def sum_to_size(x, *shape):
    shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return Call("sum_to", x, shape=list(shape))


def arg_extremum(op):
    return lambda x, dim=None, keepdim=False: Call(op, x, dim=one_dim(x, dim), keepdim=keepdim)


OPERATORS.update({name: arg_extremum(name) for name in ("argmax", "argmin")})


# Products.


@operator("matmul")
def matmul(a, b):
    left_out("a product with a tensor of one dimension", min(a.ndim, b.ndim) < 2)
    return Call("matmul", a, b)


@operator("nn.functional.linear")
def linear(x, w, b=None):
    left_out("a product with a tensor of one dimension", w.ndim < 2)
    return Call("linear", *([x, w] if b is None else [x, w, b]))


# Normalisations and losses.


def softmax(op):
    return lambda x, dim, dtype=None: Call(op, x, dim=one_dim(x, dim))


OPERATORS.update({name: softmax(name) for name in ("softmax", "log_softmax")})


@operator("nn.functional.layer_norm")
def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    left_out("layer norm over more than the last dimension", len(shape) != 1)
    left_out("a norm without its weight", weight is None)
    return Call("layer_norm", x, weight, *[bias] * (bias is not None), eps=eps)


@operator("nn.functional.rms_norm")
def rms_norm(x, shape, weight=None, eps=None):
    left_out("RMS norm over more than the last dimension", len(shape) != 1)
    left_out("a norm without its weight", weight is None)
    return Call("rms_norm", x, weight, eps=torch.finfo(x.dtype).eps if eps is None else eps)


@operator("nn.functional.glu")
def glu(x, dim=-1):
    left_out("halves of another dimension than the last", dim not in (-1, x.ndim - 1))
    return Call("glu", x, gate="sigmoid")


@operator("nn.functional.cross_entropy")
def cross_entropy(x, targets, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    left_out("classes in the second of several dimensions", x.ndim != 2)
    left_out("targets that are probabilities", targets.is_floating_point())
    inputs = [x, targets] if weight is None else [x, targets, weight]
    ignored = {} if ignore_index < 0 else {"ignore_index": ignore_index}
    left_out("a negative target", bool((targets < 0).any()))
    return Call("cross_entropy", *inputs, constants=(2,), reduction=reduction, label_smoothing=label_smoothing,
                **ignored)


def loss(op):
    def call(x, y, reduction="mean", **attributes):
        left_out("a loss does not broadcast", x.shape != y.shape)
        return Call(op, x, y, reduction=reduction, **attributes)

    return call


OPERATORS.update({f"nn.functional.{name}": loss(name) for name in ("mse_loss", "l1_loss", "huber_loss")})


@operator("nn.functional.binary_cross_entropy_with_logits")
def bce_with_logits(x, y, weight=None, pos_weight=None, reduction="mean"):
    left_out("a weight for every element", weight is not None)
    inputs = [x, y] if pos_weight is None else [x, y, pos_weight]
    return Call("binary_cross_entropy_with_logits", *inputs, constants=(1, 2), reduction=reduction)


@operator("nn.functional.cosine_similarity")
def cosine_similarity(a, b, dim=1, eps=1e-8):
    return Call("cosine_similarity", a, b, dim=one_dim(a, dim), eps=eps)


@operator("nn.functional.cosine_embedding_loss")
def cosine_embedding_loss(a, b, targets, margin=0.0, reduction="mean"):
    left_out("a single pair", a.ndim != 2)
    targets = targets.double()
    return Call("cosine_embedding_loss", a, b, targets, constants=(2,), margin=margin, reduction=reduction,
                reference=lambda a, b, t: F.cosine_embedding_loss(a, b, t, margin, reduction=reduction))


# By index.


@operator("index_select")
def index_select(x, dim, ids):
    return Call("index_select", x, ids, dim=one_dim(x, dim))


@operator("index_add")
def index_add(x, dim, ids, source, alpha=1):
    return Call("index_add", x, ids, source, dim=one_dim(x, dim),
                reference=lambda x, ids, source: torch.index_add(x, dim, ids, source))


@operator("gather")
def gather(x, dim, ids):
    left_out("indices of other dimensions, where there are none", ids.ndim != x.ndim)
    return Call("gather", x, ids, dim=one_dim(x, dim))


@operator("scatter_add")
def scatter_add(x, dim, ids, source):
    return Call("scatter_add", x, ids, source, dim=one_dim(x, dim))


@operator("nn.functional.embedding")
def embedding(table, ids):
    return Call("embedding", table, ids)


@operator("sort")
def sort(x, dim=-1, descending=False, stable=False):
    return Call("sort", x, dim=dim, descending=descending)


@operator("argsort")
def argsort(x, dim=-1, descending=False, stable=False):
    return Call("argsort", x, dim=dim, descending=descending)


@operator("topk")
def topk(x, k, dim=-1, largest=True, sorted=True):
    return Call("topk", x, k=k, dim=dim, largest=largest)


# Joining and shapes.


@operator("cat")
def cat(tensors, dim=0):
    left_out("two dtypes", len({t.dtype for t in tensors}) > 1)
    left_out("PyTorch accepts a tensor of shape [0] with any other", any(t.shape == (0,) for t in tensors))
    return Call("cat", *tensors, dim=dim)


@operator("stack")
def stack(tensors, dim=0):
    return Call("stack", *tensors, dim=dim)


@operator("nn.functional.pad")
def pad(x, pads, mode="constant", value=None):
    left_out("padding with values of the tensor", mode != "constant")
    left_out("negative padding", min(pads) < 0)
    wide = [at // 2 for at, count in enumerate(pads) if count]
    left_out("padding along several dimensions, or none", len(set(wide)) != 1)
    at = wide[0]
    return Call("pad_zeros", x, dim=-1 - at, before=pads[2 * at], after=pads[2 * at + 1],
                reference=lambda x: F.pad(x, pads))


@operator("flip")
def flip(x, dims):
    left_out("flipping nothing", len(dims) == 0)
    return Call("flip", x, dims=list(dims))


@operator("reshape")
def reshape(x, shape):
    return Call("reshape", x, shape=sizes(x, shape))


@operator("permute")
def permute(x, dims):
    return Call("permute", x, dims=list(dims))


@operator("narrow")
def narrow(x, dim, start, length):
    start = number(start)
    return Call("narrow", x, dim=dim, start=start + x.shape[dim] if start < 0 else start, length=length)


@operator("broadcast_to", "expand")
def broadcast_to(x, shape):
    lead = len(shape) - x.ndim
    shape = [x.shape[d - lead] if size == -1 else size for d, size in enumerate(shape)]
    return Call("broadcast_to", x, shape=shape)


@operator("transpose")
def transpose(x, dim0, dim1):
    one_dim(x, dim0)
    return Call("transpose", x, dim0=dim0, dim1=dim1)


@operator("t", "mT")
def t(x):
    left_out("a transpose of fewer than two dimensions", x.ndim < 2)
    return Call("t", x)


@operator("unsqueeze")
def unsqueeze(x, dim):
    return Call("unsqueeze", x, dim=dim)


@operator("squeeze")
def squeeze(x, dim=None):
    one_dim(x, dim)
    left_out("squeezing several dimensions at once", not isinstance(dim, int))
    left_out("squeezing a dimension of more than one element", x.shape[dim] != 1)
    return Call("squeeze", x, dim=dim)


@operator("flatten")
def flatten(x, start_dim=0, end_dim=-1):
    one_dim(x, start_dim)
    return Call("flatten", x, start=start_dim, end=end_dim)


@operator("select")
def select(x, dim, index):
    return Call("select", x, dim=dim, index=index + x.shape[dim] if index < 0 else index)


@operator("split")
def split(x, size, dim=0):
    if isinstance(size, int):
        return Call("split", x, size=size, dim=dim)
    return Call("split_with_sizes", x, sizes=list(size), dim=dim)


@operator("split_with_sizes")
def split_with_sizes(x, sizes, dim=0):
    return Call("split_with_sizes", x, sizes=list(sizes), dim=dim)


@operator("chunk")
def chunk(x, n, dim=0):
    return Call("chunk", x, n=n, dim=dim)


@operator("repeat")
def repeat(x, times):
    return Call("repeat", x, times=list(times))


# Making.


def kept(dtype):
    left_out("a dtype that is not f64", dtype is not torch.float64)
    return "f64"


@operator("arange")
def arange(start, end=None, step=1, dtype=None, device=None):
    start, end = (0, start) if end is None else (start, end)
    return Call("arange", start=float(start), end=float(end), step=float(step), dtype=kept(dtype))


@operator("linspace")
def linspace(start, end, steps, dtype=None, device=None):
    left_out("limits that are tensors", isinstance(start, torch.Tensor) or isinstance(end, torch.Tensor))
    return Call("linspace", start=start, end=end, steps=steps, dtype=kept(dtype))


@operator("eye")
def eye(n, m=None, dtype=None, **others):
    left_out("an identity that is not square", m is not None)
    return Call("eye", n=n, dtype=kept(dtype))


@operator("full")
def full(shape, value, dtype=None, device=None):
    return Call("full", shape=list(shape), value=value, dtype=kept(dtype))
