"""ONNX's operators that are layers: normalisations, losses, attention, optimisers; see `onnx_operators`."""

import math

import numpy as np

from onnx_operators import NotThere, full, name_of, operator, where

# Normalisations.


@operator("Softmax", "LogSoftmax")
def softmax(e, node, x):
    return e("softmax" if node.op == "Softmax" else "log_softmax", x, dim=node.get("axis", -1))


@operator("Hardmax")
def hardmax(e, node, x):
    axis = node.get("axis", -1) % x.ndim
    first = x.argmax(dim=axis, keepdim=True)
    order = e("arange", start=0, end=x.shape[axis], step=1, dtype="u32")
    shape = [x.shape[axis] if d == axis else 1 for d in range(x.ndim)]
    return order.reshape(shape=shape).eq(first).to_dtype(dtype=name_of(x.dtype))


@operator("LayerNormalization")
def layer_normalization(e, node, x, weight, bias=None):
    axis, eps = node.get("axis", -1) % x.ndim, node.get("epsilon", 1e-5)
    rows, width = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
    flat = x.reshape(shape=[rows, width])
    bias = bias if bias is not None else weight * 0.0
    y = flat.layer_norm(weight.reshape(shape=[width]), bias.reshape(shape=[width]), eps=eps)
    kept = x.shape[:axis] + (1,) * (x.ndim - axis)
    mean, deviation = flat.mean(dims=[1]), (flat.var(dims=[1], correction=0) + eps).rsqrt()
    return y.reshape(shape=x.shape), mean.reshape(shape=kept), deviation.reshape(shape=kept)


@operator("RMSNormalization")
def rms_normalization(e, node, x, weight):
    axis = node.get("axis", -1) % x.ndim
    square = x.square().mean(dims=list(range(axis, x.ndim)), keepdim=True)
    return x * (square + node.get("epsilon", 1e-5)).rsqrt() * weight


def normed(x, dims, eps):
    centred = x - x.mean(dims=dims, keepdim=True)
    return centred * (x.var(dims=dims, keepdim=True, correction=0) + eps).rsqrt()


def by_channel(parameter, rank):
    return parameter.reshape(shape=[1, parameter.shape[0]] + [1] * (rank - 2))


@operator("InstanceNormalization")
def instance_normalization(e, node, x, weight, bias):
    y = normed(x, list(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return y * by_channel(weight, x.ndim) + by_channel(bias, x.ndim)


@operator("GroupNormalization")
def group_normalization(e, node, x, weight, bias):
    count = x.shape[0] * node.get("num_groups")
    groups = x.reshape(shape=[count, x.array.size // count])
    y = normed(groups, [1], node.get("epsilon", 1e-5)).reshape(shape=x.shape)
    return y * by_channel(weight, x.ndim) + by_channel(bias, x.ndim)


@operator("BatchNormalization")
def batch_normalization(e, node, x, weight, bias, mean, variance):
    eps, momentum, more = node.get("epsilon", 1e-5), node.get("momentum", 0.9), ()
    if node.get("training_mode", 0):
        dims = [0] + list(range(2, x.ndim))
        now, spread = x.mean(dims=dims), x.var(dims=dims, correction=0)
        more = (mean * momentum + now * (1 - momentum), variance * momentum + spread * (1 - momentum))
        mean, variance = now, spread
    factor = weight * (variance + eps).rsqrt()
    y = (x - by_channel(mean, x.ndim)) * by_channel(factor, x.ndim) + by_channel(bias, x.ndim)
    return (y, *more)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(e, node, x):
    return normed(x, node.get("axes", [0, 2, 3]), 1e-9)


@operator("LpNormalization")
def lp_normalization(e, node, x):
    axis = node.get("axis", -1)
    if node.get("p", 2) == 1:
        norm = x.abs().sum(dims=[axis], keepdim=True)
    else:
        norm = x.square().sum(dims=[axis], keepdim=True).sqrt()
    zero = norm.eq(full(e, 0.0, x))
    return x / where(zero, norm + 1.0, norm)


# Losses.


def rows_of(e, x, targets, ignored):
    """Logits with their classes last, and flat targets; ignored targets get an additional class."""
    classes = x.shape[1]
    order = [0] + list(range(2, x.ndim)) + [1]
    ids = np.where(targets.array == ignored, classes, targets.array) if ignored is not None else targets.array
    return x.permute(dims=order).reshape(shape=[targets.array.size, classes]), ids.ravel().astype(np.uint32)


@operator("SoftmaxCrossEntropyLoss")
def cross_entropy(e, node, x, targets, weight=None):
    logits, ids = rows_of(e, x, targets, node.get("ignore_index"))
    reduction = node.get("reduction", "mean")
    more = [] if weight is None else [weight]
    loss = logits.cross_entropy(ids, *more, reduction=reduction, ignore_index=x.shape[1])
    loss = loss.reshape(shape=targets.shape) if reduction == "none" else loss
    return (loss, x.log_softmax(dim=1)) if len(node.outputs) > 1 else loss


@operator("NegativeLogLikelihoodLoss")
def nll(e, node, x, targets, weight=None):
    rows, ids = rows_of(e, x, targets, node.get("ignore_index"))
    ones = e("full", shape=[x.shape[1]], value=1.0, dtype=name_of(x.dtype))
    # The additional class, of weight 0, for ignored targets.
    weights = (ones if weight is None else weight).pad_zeros(dim=0, before=0, after=1)
    picked = rows.pad_zeros(dim=1, before=0, after=1).gather(ids.reshape(-1, 1), dim=1).squeeze(dim=1)
    weights = weights.index_select(ids, dim=0)
    losses = picked.neg() * weights
    reduction = node.get("reduction", "mean")
    if reduction == "none":
        return losses.reshape(shape=targets.shape)
    return losses.sum() / weights.sum() if reduction == "mean" else losses.sum()


# Attention.


def heads_first(x, heads):
    if x.ndim == 4:
        return x
    batch, length, hidden = x.shape
    return x.reshape(shape=[batch, length, heads, hidden // heads]).permute(dims=[0, 2, 1, 3])


def repeated_heads(x, heads):
    batch, own, length, size = x.shape
    wide = x.unsqueeze(dim=2).broadcast_to(shape=[batch, own, heads // own, length, size])
    return wide.reshape(shape=[batch, heads, length, size])


def attention_mask(node, q, k, mask, past, lengths):
    """The mask of the keys to which a query attends, by ONNX's rules for causality, windows and lengths, in numpy; None
    where there is no restriction."""
    queries, keys = q.shape[2], k.shape[2]
    allowed = np.ones((1, 1, queries, keys), bool)
    offset = np.zeros((1, 1, 1, 1), int)
    if lengths is not None:
        lengths = lengths.array.reshape(-1, 1, 1, 1)
        offset = lengths - queries
        allowed = allowed & (np.arange(keys) < lengths)
    elif past is not None:
        offset = offset + past.shape[2]
    ahead = np.arange(keys) - (np.arange(queries)[:, None] + offset)
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    if node.get("is_causal", 0):
        allowed = allowed & (ahead <= 0)
    if left >= 0:
        allowed = allowed & (-ahead <= left)
    if right >= 0:
        allowed = allowed & (ahead <= right)
    if mask is not None and mask.dtype == bool:
        given = np.pad(mask.array, [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])])
        allowed = allowed & given
    return None if allowed.all() else allowed


@operator("Attention")
def attention(e, node, q, k, v, mask=None, past_key=None, past_value=None, lengths=None):
    flat = q.ndim == 3
    q = heads_first(q, node.get("q_num_heads"))
    k, v = (heads_first(x, node.get("kv_num_heads")) for x in (k, v))
    if past_key is not None:
        k, v = e("cat", past_key, k, dim=2), e("cat", past_value, v, dim=2)
    present = (k, v)
    if k.shape[1] != q.shape[1]:
        k, v = repeated_heads(k, q.shape[1]), repeated_heads(v, q.shape[1])
    scores = [q.matmul(k.t()) * node.get("scale", 1 / math.sqrt(q.shape[-1]))]
    softcap = node.get("softcap", 0.0)
    scores.append((scores[0] * (1 / softcap)).tanh() * softcap if softcap else scores[0])
    biased, allowed = scores[1], attention_mask(node, q, k, mask, past_key, lengths)
    if mask is not None and mask.dtype != bool:
        missing = k.shape[2] - mask.shape[-1]
        biased = biased + mask.pad_zeros(dim=-1, before=0, after=missing) if missing else biased + mask
        if missing:
            inside = np.arange(k.shape[2]) < mask.shape[-1]
            allowed = inside if allowed is None else allowed & inside
    if allowed is not None:
        biased = where(allowed, biased, full(e, -math.inf, q))
    p = biased.softmax(dim=-1)
    # A query that attends to nothing gets zeros.
    p = where(biased.max(dims=[-1], keepdim=True).eq(full(e, -math.inf, q)), full(e, 0.0, q), p)
    y = p.matmul(v)
    if flat:
        y = y.permute(dims=[0, 2, 1, 3]).reshape(shape=[q.shape[0], q.shape[2], q.shape[1] * v.shape[-1]])
    matrix = [*scores, biased, p][node.get("qk_matmul_output_mode", 0)]
    return [output for name, output in zip(node.outputs, (y, *present, matrix)) if name]


@operator("RotaryEmbedding")
def rotary_embedding(e, node, x, cos, sin, positions=None):
    shape = x.shape
    x = heads_first(x, node.get("num_heads"))
    size = node.get("rotary_embedding_dim", 0) or x.shape[-1]
    if positions is not None:
        ids = positions.array.astype(np.uint32)
        cos, sin = cos.embedding(ids), sin.embedding(ids)
    cos, sin = cos.unsqueeze(dim=1), sin.unsqueeze(dim=1)
    turned, rest = x.split_with_sizes(sizes=[size, x.shape[-1] - size], dim=-1)
    apart = node.get("interleaved", 0)
    if apart:
        pairs = turned.reshape(shape=[*turned.shape[:-1], size // 2, 2])
        a, b = (pairs.select(dim=-1, index=i) for i in (0, 1))
    else:
        a, b = turned.chunk(n=2, dim=-1)
    real, imaginary = a * cos - b * sin, a * sin + b * cos
    join = e("stack", real, imaginary, dim=-1) if apart else e("cat", real, imaginary, dim=-1)
    y = e("cat", join.reshape(shape=turned.shape), rest, dim=-1)
    return y if len(shape) == 4 else y.permute(dims=[0, 2, 1, 3]).reshape(shape=shape)


# Optimisers: T is the number of earlier steps.


def in_groups(inputs, size):
    """The tensors of each parameter: its value, its gradient, its state."""
    count = len(inputs) // size
    return [inputs[i::count] for i in range(count)]


def regrouped(results):
    return [tensor for kind in zip(*results) for tensor in kind]


@operator("Adam")
def adam(e, node, rate, steps, *inputs):
    if int(steps.array) != 0:
        raise NotThere("ε added to the root of an uncorrected moment")
    if node.get("norm_coefficient_post", 0.0):
        raise NotThere("a decay after the step")
    beta1, beta2 = node.get("alpha", 0.9), node.get("beta", 0.999)
    results = []
    for x, g, m, v in in_groups(inputs, 4):
        # ONNX does not correct the bias here, but the engine does. At a late step its correction is 1.
        results.append(x.adamw_(g, m, v, lr=float(rate.array), beta1=beta1, beta2=beta2, eps=node.get("epsilon", 1e-6),
                                weight_decay=node.get("norm_coefficient", 0.0), step=100_000))
    return regrouped(results)


@operator("Momentum")
def momentum(e, node, rate, steps, *inputs):
    dampening = 1 - node.get("beta") if int(steps.array) > 0 else 0.0
    results = []
    for x, g, v in in_groups(inputs, 3):
        # Step 2, because the engine sets the momentum to the gradient at step 1.
        results.append(x.sgd_(g, v, lr=float(rate.array), momentum=node.get("alpha"), dampening=dampening, step=2,
                              nesterov=node.get("mode") == "nesterov", weight_decay=node.get("norm_coefficient")))
    return regrouped(results)


# Recurrent layers of one direction: one step on x and the state for each position of the sequence.


def gates(x, h, w, r, b, count):
    """x·Wᵀ + h·Rᵀ + both biases, for each gate."""
    first, second = b.chunk(n=2, dim=0)
    return (x.linear(w, first) + h.linear(r, second)).chunk(n=count, dim=-1)


def rnn_step(node, x, h, c, w, r, b, peepholes):
    return (x.linear(w, b.chunk(n=2, dim=0)[0]) + h.linear(r, b.chunk(n=2, dim=0)[1])).tanh(), None


def gru_step(node, x, h, c, w, r, b, peepholes):
    size = h.shape[-1]
    part = lambda t, first, count: t.narrow(dim=0, start=first * size, length=count * size)
    both = b.engine("cat", part(b, 0, 2), part(b, 3, 2), dim=0)
    update, reset = (gate.sigmoid() for gate in gates(x, h, part(w, 0, 2), part(r, 0, 2), both, 2))
    recurrent, bias = part(r, 2, 1), part(b, 5, 1)
    if node.get("linear_before_reset", 0):
        memory = reset * h.linear(recurrent, bias)
    else:
        memory = (reset * h).linear(recurrent, bias)
    fresh = (x.linear(part(w, 2, 1), part(b, 2, 1)) + memory).tanh()
    return (1.0 - update) * fresh + update * h, None


def lstm_step(node, x, h, c, w, r, b, peepholes):
    enter, leave, forget, fresh = gates(x, h, w, r, b, 4)
    if peepholes is not None:
        p = peepholes.chunk(n=3, dim=0)
        enter, forget = enter + p[0] * c, forget + p[2] * c
    c = forget.sigmoid() * c + enter.sigmoid() * fresh.tanh()
    leave = leave if peepholes is None else leave + p[1] * c
    return leave.sigmoid() * c.tanh(), c


@operator("RNN", "GRU", "LSTM")
def recurrent(e, node, x, w, r, b=None, lengths=None, h=None, c=None, peepholes=None):
    if node.get("direction", "forward") != "forward":
        raise NotThere("a recurrent layer in both directions")
    step = {"RNN": rnn_step, "GRU": gru_step, "LSTM": lstm_step}[node.op]
    batch_first, size = node.get("layout", 0), r.shape[-1]
    x = x.transpose(dim0=0, dim1=1) if batch_first else x
    length, batch = x.shape[0], x.shape[1]
    if lengths is not None and (lengths.array != length).any():
        raise NotThere("sequences of several lengths")
    zeros = lambda *shape: e("full", shape=list(shape), value=0, dtype="f32")
    w, r = w.squeeze(dim=0), r.squeeze(dim=0)
    b = zeros(2 * w.shape[0]) if b is None else b.squeeze(dim=0)
    h, c = (zeros(batch, size) if state is None else state.squeeze(dim=0) for state in (h, c))
    peepholes = None if peepholes is None else peepholes.squeeze(dim=0)
    states = []
    for at in range(length):
        h, c = step(node, x.select(dim=0, index=at), h, c, w, r, b, peepholes)
        states.append(h)
    every, final = e("stack", *states, dim=0).unsqueeze(dim=1), h.unsqueeze(dim=0)
    if batch_first:
        every, final = every.permute(dims=[2, 0, 1, 3]), final.transpose(dim0=0, dim1=1)
    return [output for name, output in zip(node.outputs, (every, final)) if name]
