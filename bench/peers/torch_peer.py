#!/usr/bin/env python3
"""Times PyTorch + transformers on the workloads of `bench`; prints one JSON object a line.

usage: torch_peer.py --model DIR [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

The workloads have the names, meaning and units of `bench --help`; dropout is off in the encode
workloads, and batches are padded to their longest text, as PyTorch users do. `--model base` builds
BERT-base with random weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of
--data instead, to compare engines before their times.
"""
import argparse
import csv
import json
import os
import resource
import statistics
import time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--model", required=True)
p.add_argument("--data")
p.add_argument("--threads", type=int, default=os.cpu_count())
p.add_argument("--seconds", type=float, default=8.0)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--compile", action="store_true", help="torch.compile the model (needs a C++ compiler)")
p.add_argument("--precision", choices=["f32", "bf16"], default="f32")
p.add_argument("--embeddings", metavar="OUT.npy")
p.add_argument("workload", nargs="*")
a = p.parse_args()

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

torch.set_num_threads(a.threads)
torch.manual_seed(0)
LABELS, MAX_LENGTH, BATCH = 77, 128, 32


def load(cls, **kw):
    model = cls(BertConfig(**kw)) if a.model == "base" else cls.from_pretrained(a.model, **kw)
    return model.bfloat16() if a.precision == "bf16" else model


def texts():
    with open(a.data, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    labels = sorted({r["label"] for r in rows})
    return [r["text"] for r in rows], [labels.index(r["label"]) for r in rows]


def tokenizer():
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    t.no_padding()
    t.enable_truncation(MAX_LENGTH)
    return t


def pad(encodings):
    n = max(len(e.ids) for e in encodings)
    ids = torch.tensor([e.ids + [0] * (n - len(e.ids)) for e in encodings])
    mask = torch.tensor([[1] * len(e.ids) + [0] * (n - len(e.ids)) for e in encodings])
    return ids, mask


def embed(model, tok, xs):
    encodings = tok.encode_batch(xs)
    order = sorted(range(len(encodings)), key=lambda i: len(encodings[i].ids))
    out = torch.empty(len(encodings), model.config.hidden_size)
    for i in range(0, len(order), BATCH):
        ids, mask = pad([encodings[j] for j in order[i:i + BATCH]])
        h = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        m = mask.unsqueeze(-1).float()
        out[order[i:i + BATCH]] = torch.nn.functional.normalize((h * m).sum(1) / m.sum(1), dim=-1)
    return out


def repeat(f):
    """Runs f until --seconds pass (3 runs at least) after one warm-up."""
    f()
    ts, t0 = [], time.perf_counter()
    while len(ts) < 3 or time.perf_counter() - t0 < a.seconds:
        t = time.perf_counter()
        f()
        ts.append(time.perf_counter() - t)
    return ts


def report(workload, unit, amount, ts):
    value = (lambda t: t * 1e3) if unit == "ms" else (lambda t: amount / t)
    print(json.dumps({
        "engine": "torch-" + torch.__version__ + ("-compile" if a.compile else ""),
        "workload": workload,
        "model": os.path.basename(a.model.rstrip("/")),
        "precision": a.precision,
        "value": round(value(statistics.median(ts)), 3),
        "unit": unit,
        "best": round(value(min(ts)), 3),
        "runs": len(ts),
        "threads": a.threads,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }), flush=True)


def encoder():
    model = load(BertModel, add_pooling_layer=False).eval()
    return torch.compile(model) if a.compile else model


def encode(workload):
    model = encoder()
    with torch.inference_mode():
        if workload == "encode-real":
            xs, tok = texts()[0], tokenizer()
            report(workload, "texts/s", len(xs), repeat(lambda: embed(model, tok, xs)))
            return
        b, s = (a.batch, 128) if workload == "encode-b32-s128" else (1, 16)
        ids = torch.randint(1000, 30000, (b, s))
        mask = torch.ones_like(ids)
        ts = repeat(lambda: model(input_ids=ids, attention_mask=mask))
        report(workload, "ms" if b == 1 else "sequences/s", b, ts)


def train(workload):
    model = load(BertForSequenceClassification, num_labels=LABELS).train()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    forward = torch.compile(model) if a.compile else model

    def step(ids, mask, y):
        loss = forward(input_ids=ids, attention_mask=mask, labels=y).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss.item()

    if workload == "step-b32-s128":
        ids = torch.randint(1000, 30000, (a.batch, 128))
        mask = torch.ones_like(ids)
        y = torch.randint(0, LABELS, (a.batch,))
        report(workload, "sequences/s", a.batch, repeat(lambda: step(ids, mask, y)))
        return
    xs, ys = (v[:1024] for v in texts())
    encodings = tokenizer().encode_batch(xs)
    batches = [(*pad(encodings[i:i + BATCH]), torch.tensor(ys[i:i + BATCH]))
               for i in range(0, len(xs), BATCH)]
    report(workload, "texts/s", len(xs), repeat(lambda: [step(*b) for b in batches]))


if a.embeddings:
    import numpy as np
    with torch.inference_mode():
        np.save(a.embeddings, embed(encoder(), tokenizer(), texts()[0][:64]).numpy())
for w in a.workload:
    {"encode": encode, "step": train, "epoch": train}[w.split("-")[0]](w)
