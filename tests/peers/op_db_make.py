"""Writes PyTorch's samples of its operations (`op_db`), with its values, gradients and second gradients in f64, as
requests to `ops` with their right answers.

    python tests/peers/op_db_make.py                 the committed sample, tests/peers/op_db.jsonl.gz
    python tests/peers/op_db_make.py --all FILE      every sample, and the inputs with infinities, NaN and large numbers

It needs PyTorch and expecttest. `op_db.py` runs the samples.
"""

import argparse
import collections
import gzip
import json
import math
import pathlib
import warnings

import torch
import torch.nn.functional as F
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, UnaryUfuncInfo

from engine import number, to_json
from op_db_operators import OPERATORS, Call, LeftOut

# The most elements of reference inputs.
LARGE = 4000
# The committed sample's largest tensor, in elements, and its most samples of one operation.
MAX_ELEMENTS, MAX_SAMPLES = 400, 48


def leaf(t):
    return t.detach().requires_grad_(t.is_floating_point())


def transposed(t):
    """The same values, stored with the dimensions in reverse order."""
    order = list(range(t.ndim))[::-1]
    return leaf(t.detach().permute(order).contiguous().permute(order))


def view_json(t):
    """A tensor with its strides, as a view of its whole storage."""
    t = t.detach()
    if t.dtype == torch.bool:
        return to_json(t.numpy())
    if not t.is_floating_point():
        t = t.to(torch.uint32)
    if t.is_contiguous() and t.untyped_storage().nbytes() == t.nbytes:
        return to_json(t.numpy())
    size = t.untyped_storage().nbytes() // t.itemsize
    storage = to_json(torch.as_strided(t, (size,), (1,), 0).numpy())
    return storage | {"shape": list(t.shape), "strides": list(t.stride()), "offset": t.storage_offset()}


def value_json(t):
    return view_json(t.detach().contiguous().clone())


def seed_like(t, generator):
    return (torch.rand(t.shape, dtype=t.dtype, generator=generator) + 0.5).requires_grad_()


def gradients(outputs, inputs, seeds):
    """The gradients of every input, zeros where none arrives."""
    parts = [(y, seed) for y, seed in zip(outputs, seeds) if y is not None and y.requires_grad]
    if not parts:
        return [torch.zeros_like(x) for x in inputs]
    ys, seeds = zip(*parts)
    grads = torch.autograd.grad(ys, inputs, seeds, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, grads)]


def case(name, call, outputs):
    """The request and the right answer. A null in the answer is not compared."""
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    inputs = list(call.inputs)
    request = {
        "op": call.op,
        "attributes": {name: number(value) for name, value in call.attributes.items()},
        "inputs": [view_json(x) for x in inputs],
    }
    answer = {"outputs": [value_json(y) for y in outputs]}
    wanted = [i for i, x in enumerate(inputs) if x.requires_grad and i not in call.constants]
    if wanted and any(y.requires_grad for y in outputs):
        generator = torch.Generator().manual_seed(len(name))
        seeds = [seed_like(y, generator) if y.requires_grad else None for y in outputs]
        leaves = [inputs[i] for i in wanted]
        first = gradients(outputs, leaves, seeds)
        again = [seed_like(g, generator) for g in first]
        given = [seed for seed in seeds if seed is not None]
        second = [g.detach() for g in gradients(first, leaves + given, again)]
        request["grads"] = [None if seed is None else view_json(seed) for seed in seeds]
        request["second"] = spread([view_json(v) for v in again], wanted, len(inputs))
        answer["grads"] = spread([value_json(g) for g in first], wanted, len(inputs))
        answer["second"] = spread([value_json(g) for g in second], wanted + [
            len(inputs) + at for at in range(len(given))], len(inputs) + len(given))
    return {"name": name, "request": request, "answer": answer}


def spread(values, places, length):
    """The values at their places, null elsewhere."""
    result = [None] * length
    for place, value in zip(places, values):
        result[place] = value
    return result


def is_view(t):
    """Whether the strides can come from narrowed, permuted and expanded dimensions, the only views that the engine has:
    each is a multiple of the next, and none is so short that elements overlap."""
    kept = [(t.stride(d), t.shape[d]) for d in range(t.ndim) if t.shape[d] > 1 and t.stride(d) > 0]
    kept = sorted(kept, reverse=True)
    return t.numel() == 0 or all(a % b == 0 and count <= a // b for (a, _), (b, count) in zip(kept, kept[1:]))


def seen(sample):
    """A sample unchanged, with gaps between its elements, and with its dimensions reversed."""
    yield "", sample
    yield ", with gaps", sample.noncontiguous()
    yield ", reversed", sample.transform(
        lambda t: transposed(t) if isinstance(t, torch.Tensor) and t.ndim > 1 else t)


def samples(info, every):
    """Samples, each with a flag for elementwise functions at infinities, NaN, and large and small numbers."""
    torch.manual_seed(0)
    differentiable = info.supports_autograd
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=differentiable):
        yield sample, False
    if every:
        # 1 − tanh² cancels far from 0, in PyTorch and here.
        extreme = isinstance(info, (UnaryUfuncInfo, BinaryUfuncInfo)) and info.name != "tanh"
        for sample in info.reference_inputs("cpu", torch.float64, requires_grad=False):
            if not isinstance(sample.input, torch.Tensor) or sample.input.numel() <= LARGE:
                yield sample.transform(lambda t: leaf(t) if isinstance(t, torch.Tensor) else t), extreme


def computed(info, view):
    """The engine's call for a sample, and PyTorch's outputs."""
    call = OPERATORS[info.name](view.input, *view.args, **view.kwargs)
    if not all(isinstance(t, torch.Tensor) and is_view(t) for t in call.inputs):
        raise LeftOut("strides that no view of the engine has, or a number instead of a tensor")
    try:
        if call.reference:
            return call, call.reference(*call.inputs)
        return call, info.op(view.input, *view.args, **view.kwargs)
    except (RuntimeError, IndexError) as error:
        raise LeftOut(f"PyTorch refuses: {str(error).splitlines()[0]}") from error


def of_op_db(every, reasons):
    for info in op_db:
        if info.name not in OPERATORS or info.variant_test_name == "complex":
            continue
        label = f"{info.name} {info.variant_test_name}".strip()
        for number, (sample, extreme) in enumerate(samples(info, every)):
            for how, view in [("", sample)] if extreme else seen(sample):
                try:
                    call, outputs = computed(info, view)
                except (LeftOut, TypeError) as reason:
                    reasons[f"{info.name}: {reason}"] += 1
                    break
                # A view that leaves all inputs contiguous is not tested again.
                if how == "" or not all(t.is_contiguous() for t in call.inputs):
                    yield case(f"{label} {number}{how}", call, outputs) | ({"strict": True} if extreme else {})


# Operations that PyTorch lacks as one operation, or that `op_db` lacks in the engine's form.


def made(*shape, low=-2.0, high=2.0):
    return torch.empty(shape, dtype=torch.float64).uniform_(low, high)


def ids(*values):
    return torch.tensor(values)


def attended(q, k, v, lengths, heads, bias=None, causal=False, window=math.inf):
    """Attention within each sequence, from operations that PyTorch can differentiate twice."""
    outputs = []
    for q, k, v in zip(q.split(lengths), k.split(lengths), v.split(lengths)):
        split = lambda x: x.reshape(x.shape[0], heads, x.shape[1] // heads).transpose(0, 1)
        scores = split(q) @ split(k).mT / math.sqrt(q.shape[1] // heads)
        distance = torch.arange(len(q)) - torch.arange(len(q))[:, None]  # key − query
        if bias is not None:
            reach = bias.shape[1] // 2
            scores = scores + bias[:, distance.clamp(-reach, reach) + reach]
        hidden = (distance.abs() > window) | (causal & (distance > 0))
        y = scores.masked_fill(hidden, -math.inf).softmax(-1) @ split(v)
        outputs.append(y.transpose(0, 1).reshape(q.shape))
    return torch.cat(outputs)


def composed():
    """Calls with their references."""
    shapes = [(), (5,), (3, 4), (2, 3, 2), (0, 3), (2, 0, 2)]
    for shape in shapes:
        x, y = made(*shape), made(*shape)
        yield Call("affine", x, mul=1.5, add=-0.5, reference=lambda x: x * 1.5 - 0.5)
        for low, high in [(-0.5, 0.75), (0.0, math.inf), (-math.inf, 0.0)]:
            yield Call("clamp", x, min=low, max=high, reference=lambda x, a=low, b=high: x.clamp(a, b))
        yield Call("dropout", x, p=0.0, seed=1, reference=lambda x: x * 1.0)
        yield Call("dropout", x, p=1.0, seed=1, reference=lambda x: x * 0.0)
        yield Call("to_dtype", x, dtype="f32", reference=lambda x: x.float())
        yield Call("copy", x, constants=(0,), reference=lambda x: x.clone())
        yield Call("contiguous", x, constants=(0,), reference=lambda x: x.clone())
        for e in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0):
            yield Call("powf", made(*shape, low=0.3), e=e, reference=lambda x, e=e: x**e)
        yield Call("copy_", x, y, constants=(0, 1), reference=lambda x, y: y.clone())
        yield Call("mul_scalar_", x, constants=(0,), factor=-2.5, reference=lambda x: x * -2.5)
        yield Call("sum_all", x, reference=torch.sum)
        yield Call("mean_all", x, reference=torch.mean)
        yield Call("checkpoint", x, y, of="mul", reference=torch.mul)
        yield Call("checkpoint", x, of="sum", **{"with": {"keepdim": True}}, reference=lambda x: x.sum(
            tuple(range(x.ndim)), keepdim=True))
        yield Call("global_norm", x, y, constants=(0, 1), reference=lambda x, y: torch.cat(
            [x.flatten(), y.flatten()]).norm())
        yield from layer_norms(shape)
    for rows in (0, 1, 3):
        yield from layers(rows)
    for lengths, heads, size in [([2, 1, 4], 2, 3), ([3], 1, 1), ([0, 5, 0], 3, 2), ([70, 1, 49], 1, 4)]:
        yield from attentions(lengths, heads, size)
    yield from optimisers()
    # After the others, so that their numbers do not change.
    for lengths, heads, size in [([2, 1, 4], 2, 3), ([0, 5, 0], 3, 2)]:
        for switches, reach in [({"causal": True}, None), ({"window": 1}, 0), ({}, 1),
                                ({"causal": True, "window": 3}, 5)]:
            yield from switched_attentions(lengths, heads, size, switches, reach)
    for shape in shapes:
        yield from feed_forward(shape)
    for rows in (0, 1, 3):
        yield from rotations(rows)


def layer_norms(shape):
    if not shape or 0 in shape[-1:]:
        return
    n = shape[-1]
    norm = lambda eps: lambda x, w, b: F.layer_norm(x, (n,), w, b, eps)
    for eps in (1e-5, 0.5):
        yield Call("layer_norm", made(*shape), made(n), made(n), eps=eps, reference=norm(eps))
        added = lambda x, r, w, b, f=norm(eps): f(x + r, w, b)
        yield Call("dropout_add_layer_norm", made(*shape), made(*shape), made(n), made(n), eps=eps, reference=added)


def layers(rows):
    x, w, b = made(rows, 4), made(3, 4), made(3)
    yield Call("linear_gelu", x, w, b, reference=lambda x, w, b: F.gelu(F.linear(x, w, b)))
    yield Call("linear_gelu", x, w, reference=lambda x, w: F.gelu(F.linear(x, w)))
    both = lambda x, w, v, b, c: torch.cat([F.linear(x, w, b), F.linear(x, v, c)], -1)
    yield Call("linear_cat", x, w, made(2, 4), b, made(2), layers=2, reference=both)
    yield Call("linear_cat", x, w, made(2, 4), layers=2, reference=lambda x, w, v: torch.cat(
        [F.linear(x, w), F.linear(x, v)], -1))
    yield Call("matmul_out_dtype", x, w.t(), dtype="f64", constants=(0, 1), reference=torch.matmul)
    yield Call("sum_in", x, dims=[0], dtype="f64", constants=(0,), reference=lambda x: x.sum(0))
    targets = torch.arange(rows) % 3
    for reduction in ("mean", "sum", "none"):
        for more in ({}, {"label_smoothing": 0.2}, {"ignore_index": 1}):
            yield Call("linear_cross_entropy", x, w, b, targets, rows=2, reduction=reduction, **more,
                       reference=lambda x, w, b, t, more=more, reduction=reduction: F.cross_entropy(
                           F.linear(x, w, b), t, reduction=reduction, **more))


def attentions(lengths, heads, size):
    total, hidden = sum(lengths), heads * size
    offsets = torch.tensor([0] + lengths).cumsum(0)
    options = {"heads": heads, "scale": 1 / math.sqrt(size)}
    q, k, v = (made(total, hidden) for _ in range(3))
    yield Call("attention", q, k, v, offsets, **options,
               reference=lambda q, k, v, offsets: attended(q, k, v, lengths, heads))
    yield Call("attention_qkvpacked", made(total, 3 * hidden), offsets, **options,
               reference=lambda qkv, offsets: attended(*qkv.chunk(3, -1), lengths, heads))


def switched_attentions(lengths, heads, size, switches, reach):
    total, hidden = sum(lengths), heads * size
    offsets = torch.tensor([0] + lengths).cumsum(0)
    options = {"heads": heads, "scale": 1 / math.sqrt(size)} | switches
    bias = [] if reach is None else [made(heads, 2 * reach + 1)]
    yield Call("attention", *(made(total, hidden) for _ in range(3)), offsets, *bias, **options,
               reference=lambda q, k, v, offsets, *bias: attended(q, k, v, lengths, heads, *bias, **switches))
    yield Call("attention_qkvpacked", made(total, 3 * hidden), offsets, *bias, **options,
               reference=lambda qkv, offsets, *bias: attended(
                   *qkv.chunk(3, -1), lengths, heads, *bias, **switches))


def feed_forward(shape):
    if not shape or 0 in shape[-1:]:
        return
    n = shape[-1]
    norm = lambda x, r, w: F.rms_norm(x + r, (n,), w, 0.1)
    yield Call("dropout_add_rms_norm", made(*shape), made(*shape), made(n), eps=0.1, reference=norm)
    gates = {"sigmoid": torch.sigmoid, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
             "silu": F.silu, "relu": F.relu}
    for gate, f in gates.items():
        for first in (True, False):
            unit = lambda x, f=f, first=first: math.prod(
                [f(half) if at != first else half for at, half in enumerate(x.chunk(2, -1))])
            yield Call("glu", made(*shape[:-1], 2 * n), gate=gate, gate_first=first, reference=unit)


def rotations(rows):
    """As `apply_rotary_pos_emb` of `transformers`, for heads whose first elements turn."""
    for heads, size, half, after in [(1, 2, 1, 0), (2, 4, 2, 3), (3, 5, 1, 0)]:
        angles, positions = made(4, half), torch.arange(rows) * 3 % 4
        table = torch.cat([angles.cos(), angles.sin()], -1)

        def rotated(x, table, positions):
            head = x[:, :heads * size].reshape(-1, heads, size)
            cos, sin = (part[positions, None].repeat(1, 1, 2) for part in table.chunk(2, -1))
            turned, rest = head[..., :2 * half], head[..., 2 * half:]
            turned = turned * cos + torch.cat([-turned[..., half:], turned[..., :half]], -1) * sin
            return torch.cat([torch.cat([turned, rest], -1).flatten(1), x[:, heads * size:]], -1)

        yield Call("rotary_embedding", made(rows, heads * size + after), table, positions, constants=(1,),
                   heads=heads, head_size=size, reference=rotated)


def steps(make, start, grads):
    """The parameter and the state before an optimiser's last step, and after it."""
    parameter = start.clone().requires_grad_()
    optimiser = make([parameter])

    def now():
        state = optimiser.state[parameter].values()
        state = [s.clone() for s in state if isinstance(s, torch.Tensor) and s.shape == parameter.shape]
        return parameter.detach().clone(), state

    for grad in grads:
        before = now()
        parameter.grad = grad
        optimiser.step()
    return before, now()


def optimisers():
    x, grads = made(2, 3), [made(2, 3) for _ in range(3)]
    for decoupled, make in [(True, torch.optim.AdamW), (False, torch.optim.Adam)]:
        options = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}
        (parameter, state), (then, new) = steps(lambda p: make(p, **options), x, grads)
        yield Call("adamw_", parameter, grads[-1], *state, constants=(0, 1, 2, 3), lr=0.1, beta1=0.8, beta2=0.95,
                   eps=1e-3, weight_decay=0.2, step=3, decoupled=decoupled,
                   reference=lambda *_, then=then, new=new: [then, *new])
    for nesterov, dampening in [(False, 0.0), (True, 0.0), (False, 0.3)]:
        options = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "dampening": dampening, "weight_decay": 0.2}
        (parameter, state), (then, new) = steps(lambda p: torch.optim.SGD(p, **options), x, grads)
        yield Call("sgd_", parameter, grads[-1], *state, constants=(0, 1, 2), **options, step=3,
                   reference=lambda *_, then=then, new=new: [then, *new])


def of_composed():
    torch.manual_seed(0)
    for number, call in enumerate(composed()):
        views = [("", call.inputs)]
        if any(x.ndim > 1 and x.is_floating_point() for x in call.inputs):
            views.append((", reversed", [transposed(x) if x.ndim > 1 else x for x in call.inputs]))
        for how, inputs in views:
            call.inputs = [leaf(x) for x in inputs]
            shapes = ", ".join(str(list(x.shape)) for x in call.inputs)
            yield case(f"{call.op} {number} of {shapes}{how}", call, call.reference(*call.inputs))


def small(case):
    arrays = case["request"]["inputs"] + case["answer"]["outputs"]
    return max((math.prod(array["shape"]) for array in arrays), default=0) <= MAX_ELEMENTS


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", metavar="FILE", help="where to write every sample")
    arguments = parser.parse_args()
    path = pathlib.Path(arguments.all or pathlib.Path(__file__).with_name("op_db.jsonl.gz"))
    reasons, taken = collections.Counter(), collections.Counter()
    warnings.simplefilter("ignore")
    # The file has no time, so the same samples give the same bytes.
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as out:
        for made_of in (of_op_db(bool(arguments.all), reasons), of_composed()):
            for each in made_of:
                op = each["request"]["op"]
                if arguments.all or (small(each) and taken[op] < MAX_SAMPLES):
                    out.write((json.dumps(each) + "\n").encode())
                    taken[op] += 1
    print(f"PyTorch {torch.__version__}: {taken.total()} samples, {path.stat().st_size} bytes; left out:")
    for reason, times in sorted(reasons.items()):
        print(f"  {times:4} {reason}")


if __name__ == "__main__":
    main()
