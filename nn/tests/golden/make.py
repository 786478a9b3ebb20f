"""Writes golden.json: results of PyTorch and transformers, for the tests of this crate.

    python make.py        (torch 2.15, transformers 5.23)

Every value is {"shape": [...], "data": [...]}. A case's gradients are those of sum(output · seed).
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from transformers import BertConfig
from transformers import optimization
from transformers.models.bert.modeling_bert import BertLayer

torch.manual_seed(0)
golden = {}


def put(name, tensor):
    tensor = tensor.detach()
    data = [float(f"{x:.9g}") for x in tensor.reshape(-1).tolist()]
    if not tensor.is_floating_point():
        data = [int(x) for x in data]
    golden[name] = {"shape": list(tensor.shape), "data": data}


def case(name, f, **inputs):
    """Runs f on the inputs; saves inputs, output, the seed and the inputs' gradients."""
    for key, x in inputs.items():
        put(f"{name}.{key}", x)
        x.requires_grad_(x.is_floating_point() and not key.startswith("const_"))
    y = f(**inputs)
    seed = torch.randn(y.shape)
    y.backward(seed)
    put(f"{name}.output", y)
    put(f"{name}.seed", seed)
    for key, x in inputs.items():
        if x.grad is not None:
            put(f"{name}.grad.{key}", x.grad)


r = torch.randn

# ---- layers ----
case("linear", F.linear, input=r(2, 3, 5), weight=r(4, 5), bias=r(4))
case("linear_no_bias", F.linear, input=r(3, 5), weight=r(4, 5))
case("embedding", F.embedding, input=torch.tensor([[1, 0, 3], [3, 3, 5]]), weight=r(6, 4))
case("layer_norm", lambda input, weight, bias: F.layer_norm(input, (6,), weight, bias, 1e-5),
     input=r(4, 6), weight=r(6), bias=r(6))
case("gelu", F.gelu, input=3 * r(20))
case("gelu_tanh", lambda input: F.gelu(input, approximate="tanh"), input=3 * r(20))
case("relu", F.relu, input=r(20))
case("silu", F.silu, input=3 * r(20))
case("tanh", torch.tanh, input=3 * r(20))

# ---- one encoder layer, sequence by sequence ----
config = BertConfig(hidden_size=8, num_attention_heads=2, intermediate_size=12, hidden_act="gelu",
                    initializer_range=0.5, attn_implementation="eager")
layer = BertLayer(config).eval()
with torch.no_grad():
    for p in layer.parameters():
        p.copy_(0.5 * r(p.shape) + (1.0 if p.ndim == 1 else 0.0))
for name, p in layer.named_parameters():
    put(f"encoder.{name}", p)
lengths = [3, 1, 5]
x = r(sum(lengths), 8, requires_grad=True)
outputs = []
for piece in x.split(lengths):
    y = layer(piece[None])
    y = y[0] if isinstance(y, tuple) else y
    outputs.append(y.reshape(-1, 8))
y = torch.cat(outputs)
seed = r(y.shape)
y.backward(seed)
put("encoder.input", x)
put("encoder.offsets", torch.tensor([0, 3, 4, 9]))
put("encoder.output", y)
put("encoder.seed", seed)
put("encoder.grad.input", x.grad)
for name, p in layer.named_parameters():
    put(f"encoder.grad.{name}", p.grad)

# ---- losses ----
ids = torch.tensor([2, 0, 1, 3, 2])
for name, options in {
    "plain": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "ignore": {"ignore_index": 2},
    "smooth": {"label_smoothing": 0.1},
    "all": {"ignore_index": 0, "label_smoothing": 0.2, "weight": torch.tensor([0.5, 1.0, 2.0, 3.0])},
}.items():
    case(f"cross_entropy_{name}", lambda input, target: F.cross_entropy(input, target, **options),
         input=2 * r(5, 4), target=ids)
weight = torch.tensor([0.5, 2.0, 3.0])
targets = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
extreme = torch.tensor([[-100.0, 100.0, 0.0], [-90.0, 90.0, 1e-3], [12.0, -12.0, 5.0], [1.0, 2.0, 3.0]])
for reduction in ["mean", "sum", "none"]:
    case(f"bce_{reduction}",
         lambda input: F.binary_cross_entropy_with_logits(input, targets, reduction=reduction),
         input=3 * r(4, 3))
    for loss in ["mse", "l1"]:
        case(f"{loss}_{reduction}",
             lambda input, target: getattr(F, f"{loss}_loss")(input, target, reduction=reduction),
             input=r(3, 4), target=r(3, 4))
put("bce.targets", targets)
put("bce.pos_weight", weight)
case("bce_weighted",
     lambda input: F.binary_cross_entropy_with_logits(input, targets, pos_weight=weight),
     input=3 * r(4, 3))
case("bce_extreme",
     lambda input: F.binary_cross_entropy_with_logits(input, targets, reduction="none"),
     input=extreme)
case("huber", lambda input, target: F.huber_loss(input, target, delta=0.7), input=r(3, 4),
     target=r(3, 4))
a = r(4, 6)
a[2] = 0  # no direction
case("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, dim=1), a=a, b=r(4, 6))
case("cosine_similarity_dim0", lambda a, b: F.cosine_similarity(a, b, dim=0, eps=0.1), a=r(3, 5),
     b=r(3, 5))
signs = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0])
put("cosine_embedding.targets", signs)
base = r(5, 6)
for reduction in ["mean", "none"]:
    case(f"cosine_embedding_{reduction}",
         lambda a, b: F.cosine_embedding_loss(a, b, signs, margin=0.1, reduction=reduction),
         a=base.clone(), b=base + 0.8 * r(5, 6))

# ---- optimisers: given gradients, a schedule's factor, one parameter that sometimes has no gradient ----
STEPS = 12
names = {"body.weight": (3, 4), "body.bias": (3,), "head.weight": (2, 3), "head.bias": (2,)}
start = {n: r(s) for n, s in names.items()}
grads = [{n: r(s) * 10 ** float(r(1)) for n, s in names.items()} for _ in range(STEPS)]
for n in names:
    put(f"optim.start.{n}", start[n])
    for t in range(STEPS):
        put(f"optim.grad.{t}.{n}", grads[t][n])
factors = [(t + 1) / 4 if t < 4 else 1 - (t - 4) / 10 for t in range(STEPS)]
put("optim.factors", torch.tensor(factors, dtype=torch.float64))


def groups(p, lr, head_lr, decay):
    return [
        {"params": [p["body.weight"]], "lr": lr, "weight_decay": decay},
        {"params": [p["body.bias"]], "lr": lr, "weight_decay": 0.0},
        {"params": [p["head.weight"]], "lr": head_lr, "weight_decay": decay},
        {"params": [p["head.bias"]], "lr": head_lr, "weight_decay": 0.0},
    ]


def run(name, make, lr, decay, clip=None):
    p = {n: torch.nn.Parameter(start[n].clone()) for n in names}
    optimizer = make(groups(p, lr, 10 * lr, decay))
    rates = [g["lr"] for g in optimizer.param_groups]
    for t in range(STEPS):
        for n in names:
            # From step 5 to 7 (counted from 0) the head's bias has no gradient.
            p[n].grad = None if n == "head.bias" and 5 <= t < 8 else grads[t][n].clone()
        if clip:
            torch.nn.utils.clip_grad_norm_(list(p.values()), clip)
        for g, rate in zip(optimizer.param_groups, rates):
            g["lr"] = rate * factors[t]
        optimizer.step()
        if t in (0, 4, STEPS - 1):
            for n in names:
                put(f"optim.{name}.{t}.{n}", p[n])


run("sgd", lambda g: torch.optim.SGD(g), 0.01, 0.1)
run("momentum", lambda g: torch.optim.SGD(g, momentum=0.9), 0.01, 0.1)
run("dampened", lambda g: torch.optim.SGD(g, momentum=0.9, dampening=0.3), 0.01, 0.1)
run("nesterov", lambda g: torch.optim.SGD(g, momentum=0.9, nesterov=True), 0.01, 0.1)
run("adam", lambda g: torch.optim.Adam(g), 0.01, 0.1)
run("adamw", lambda g: torch.optim.AdamW(g), 0.01, 0.1)
run("adamw_betas", lambda g: torch.optim.AdamW(g, betas=(0.8, 0.95), eps=1e-3), 0.01, 0.3)
run("adamw_clipped", lambda g: torch.optim.AdamW(g), 0.01, 0.1, clip=1.0)
run("sgd_clipped", lambda g: torch.optim.SGD(g, momentum=0.9), 0.01, 0.1, clip=5.0)

# ---- clipping ----
for name, limit in {"above": 1.0, "below": 1e6}.items():
    p = [torch.nn.Parameter(start[n].clone()) for n in names]
    for x, n in zip(p, names):
        x.grad = grads[0][n].clone()
    put(f"clip.{name}.norm", torch.nn.utils.clip_grad_norm_(p, limit))
    for x, n in zip(p, names):
        put(f"clip.{name}.{n}", x.grad)

# ---- schedules: factor of each step, a few steps past the end ----
WARMUP, TOTAL = 4, 15
for name, make in {
    "constant": lambda o: optimization.get_constant_schedule_with_warmup(o, WARMUP),
    "linear": lambda o: optimization.get_linear_schedule_with_warmup(o, WARMUP, TOTAL),
    "linear_no_warmup": lambda o: optimization.get_linear_schedule_with_warmup(o, 0, TOTAL),
    "cosine": lambda o: optimization.get_cosine_schedule_with_warmup(o, WARMUP, TOTAL),
    "cosine_cycles": lambda o: optimization.get_cosine_schedule_with_warmup(o, WARMUP, TOTAL, 1.25),
    "polynomial": lambda o: optimization.get_polynomial_decay_schedule_with_warmup(
        o, WARMUP, TOTAL, lr_end=0.01, power=2.0),
}.items():
    optimizer = torch.optim.SGD([torch.nn.Parameter(r(1))], lr=0.1)
    schedule = make(optimizer)
    rates = []
    for _ in range(TOTAL + 4):
        rates.append(optimizer.param_groups[0]["lr"] / 0.1)
        optimizer.step()
        schedule.step()
    golden[f"schedule.{name}"] = {"shape": [len(rates)], "data": rates}

lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in golden.items())
pathlib.Path(__file__).with_name("golden.json").write_text("{\n" + lines + "\n}\n")
