#!/usr/bin/env python3
"""Times PyTorch + transformers on the workloads of `bench`; prints one JSON object a line.

usage: torch_peer.py --model DIR [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

The workloads have the names, meaning and units of `bench --help`. Dropout is off in the encode
workloads, and batches are padded to their longest text, as PyTorch users do. `--model base` builds
BERT-base with random weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of
--data instead, to compare the engines' results before their speed.
"""
import common

p = common.parser(__doc__, ["f32", "bf16"])
p.add_argument("--compile", action="store_true", help="torch.compile the model (needs a C++ compiler)")
a = p.parse_args()

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

torch.set_num_threads(a.threads)
torch.manual_seed(0)


def load(cls, **kw):
    return cls(BertConfig(**kw)) if a.model == "base" else cls.from_pretrained(a.model, **kw)


def pad(encodings):
    ids, mask = common.pad(encodings)
    return torch.tensor(ids), torch.tensor(mask)


def texts():
    return [r["text"] for r in common.rows(a.data)]


def embed(model, tok, xs):
    encodings = tok.encode_batch(xs)
    out = torch.empty(len(encodings), model.config.hidden_size)
    for batch in common.batches_by_length(encodings):
        ids, mask = pad([encodings[j] for j in batch])
        h = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        m = mask.unsqueeze(-1).float()
        out[batch] = torch.nn.functional.normalize((h * m).sum(1) / m.sum(1), dim=-1)
    return out


def report(workload, amount, f):
    engine = "torch-" + torch.__version__ + ("-compile" if a.compile else "")
    common.report(engine, a, workload, amount, common.repeat(f, a.seconds))


def encoder():
    model = load(BertModel, add_pooling_layer=False).eval()
    model = model.bfloat16() if a.precision == "bf16" else model
    return torch.compile(model) if a.compile else model


def encode(workload):
    model = encoder()
    with torch.inference_mode():
        if workload == "encode-real":
            xs, tok = texts(), common.tokenizer(a.model)
            report(workload, len(xs), lambda: embed(model, tok, xs))
            return
        b, s = common.shape(workload, a.batch)
        ids = torch.randint(1000, 30000, (b, s))
        mask = torch.ones_like(ids)
        report(workload, b, lambda: model(input_ids=ids, attention_mask=mask))


def train(workload):
    model = load(BertForSequenceClassification, num_labels=common.LABELS).train()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    forward = torch.compile(model) if a.compile else model

    def step(ids, mask, y):
        # As PyTorch's users train in bf16: the weights are f32, autocast converts them.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            loss = forward(input_ids=ids, attention_mask=mask, labels=y).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss.item()

    if workload == "step-b32-s128":
        ids = torch.randint(1000, 30000, (a.batch, 128))
        mask = torch.ones_like(ids)
        y = torch.randint(0, common.LABELS, (a.batch,))
        report(workload, a.batch, lambda: step(ids, mask, y))
        return
    rows = common.rows(a.data)
    labels = sorted({r["label"] for r in rows})
    rows, size = rows[:1024], common.BATCH
    encodings = common.tokenizer(a.model).encode_batch([r["text"] for r in rows])
    ys = torch.tensor([labels.index(r["label"]) for r in rows])
    batches = [(*pad(encodings[i:i + size]), ys[i:i + size]) for i in range(0, len(rows), size)]
    report(workload, len(rows), lambda: [step(*b) for b in batches])


if a.embeddings:
    import numpy as np
    with torch.inference_mode():
        np.save(a.embeddings, embed(encoder(), common.tokenizer(a.model), texts()[:64]).numpy())
for w in a.workload:
    {"encode": encode, "step": train, "epoch": train}[w.split("-")[0]](w)
