"""The recipe of `train` in PyTorch: AdamW (no decay of biases and norms), linear warm-up and decay, clipping at 1, and the
epoch that is best on dev."""
import argparse
import copy
import json
import math
import os

import numpy as np
import torch

# The label of a token that nothing is predicted for.
IGNORED = -100


def flags(doc, tasks=()):
    """The flags of a whole run."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if tasks:
        p.add_argument("task", choices=tasks)
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=5e-5)
    p.add_argument("--head-lr", type=float)
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    return p


def batches(a, examples, random):
    """The batches of an epoch, as places of examples."""
    order = random.permutation(examples)
    return [order[at:at + a.batch_size] for at in range(0, examples, a.batch_size)]


def optimizer(a, net, head):
    """AdamW over the parameters; those whose names begin with `head` have the head's rate."""
    groups = {}
    for name, p in net.named_parameters():
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name or ".ln_" in name else 0.01
        rate = a.head_lr if a.head_lr and name.startswith(head) else a.lr
        groups.setdefault((rate, decay), []).append(p)
    return torch.optim.AdamW([dict(params=ps, lr=r, weight_decay=d) for (r, d), ps in groups.items()])


def train(a, net, examples, loss_of, evaluate, head="classifier", rank=lambda metrics: next(iter(metrics.values()))):
    """Trains, and leaves `net` with the weights that are best on dev; returns the metrics there.

    `examples` is their number; `loss_of` gives the loss of the examples of a batch; `evaluate` gives the metrics
    on dev; `rank` is larger for better metrics.
    """
    opt, random = optimizer(a, net, head), np.random.RandomState(a.seed)
    per_epoch = -(-examples // a.batch_size)
    total, warm = per_epoch * a.epochs, int(0.1 * per_epoch * a.epochs)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: s / warm if s < warm else (total - s) / max(1, total - warm))
    best = (-math.inf, None, None)
    for epoch in range(a.epochs):
        net.train()
        for places in batches(a, examples, random):
            loss = loss_of(places)
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            schedule.step()
        metrics = evaluate()
        print(json.dumps({"epoch": epoch + 1, "dev": metrics}), flush=True)
        if rank(metrics) > best[0]:
            best = (rank(metrics), copy.deepcopy(net.state_dict()), metrics)
    net.load_state_dict(best[1])
    return best[2]


def guesses(net, blocks, scores):
    """Over the tokens of all blocks: the sum of the losses, how many guesses are right, and how many there are.

    `blocks` is their number; `scores` gives the logits and the labels of some of them, one row a token.
    """
    net.eval()
    loss = right = count = 0
    with torch.inference_mode():
        for at in range(0, blocks, 16):
            logits, labels = scores(range(at, min(at + 16, blocks)))
            loss += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(-1) == labels).sum().item()
            count += (labels != IGNORED).sum().item()
    return loss, right, count
