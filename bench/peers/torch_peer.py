#!/usr/bin/env python3
"""Times PyTorch + transformers on the workloads of `bench`; prints one JSON object a line.

usage: torch_peer.py --model DIR [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

The workloads have the names, meaning and units of `bench --help`. Dropout is off in the encode
workloads, and batches are padded to their longest text, as PyTorch users do. `--model base` builds
BERT-base with random weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of
--data instead, to compare the engines' results before their speed.

`--device cuda` is for GPUs: there `--precision f16` is autocast (with a gradient scaler in training), and the workload
`gemm` is the product of `bench gemm`. f32 is f32: TF32 is off, which is PyTorch's default.
"""
import common

p = common.parser(__doc__, ["f32", "bf16", "f16"])
p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
p.add_argument("--compile", action="store_true", help="torch.compile the model (needs a C++ compiler)")
a = p.parse_args()
if a.precision == "f16" and a.device == "cpu":
    p.error("--precision f16 is for --device cuda")

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

torch.set_num_threads(a.threads)
torch.manual_seed(0)


def load(cls, **kw):
    model = cls(BertConfig(**kw)) if a.model == "base" else cls.from_pretrained(a.model, **kw)
    return model.to(a.device)


def mixed(*precisions):
    """Autocast in those precisions; the weights stay f32."""
    dtype = torch.bfloat16 if a.precision == "bf16" else torch.float16
    return torch.autocast(a.device, dtype, enabled=a.precision in precisions)


def pad(encodings):
    ids, mask = common.pad(encodings)
    return torch.tensor(ids, device=a.device), torch.tensor(mask, device=a.device)


def embed(model, tok, xs):
    encodings = tok.encode_batch(xs)
    out = torch.empty(len(encodings), model.config.hidden_size)
    for batch in common.batches_by_length(encodings):
        ids, mask = pad([encodings[j] for j in batch])
        h = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        m = mask.unsqueeze(-1).float()
        out[batch] = torch.nn.functional.normalize((h * m).sum(1) / m.sum(1), dim=-1).cpu()
    return out


def report(workload, amount, f):
    engine = "torch-" + torch.__version__ + ("-compile" if a.compile else "")

    def run():
        f()
        # A GPU has only been given the work.
        if a.device == "cuda":
            torch.cuda.synchronize()

    common.report(engine, a, workload, amount, common.repeat(run, a.seconds))


def gemm(workload):
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(a.precision, torch.float32)
    x, y = (torch.randn(shape, device=a.device, dtype=dtype) for shape in [(4096, 1536), (1536, 1536)])
    report(workload, 2 * 4096 * 1536 * 1536, lambda: x @ y)


def encoder():
    model = load(BertModel, add_pooling_layer=False).eval()
    model = model.bfloat16() if a.precision == "bf16" else model
    return torch.compile(model) if a.compile else model


def encode(workload):
    model = encoder()
    with torch.inference_mode(), mixed("f16"):
        if workload == "encode-real":
            xs, tok = common.texts(a), common.tokenizer(a.model)
            report(workload, len(xs), lambda: embed(model, tok, xs))
            return
        b, s = common.shape(workload, a.batch)
        ids = torch.randint(1000, 30000, (b, s), device=a.device)
        mask = torch.ones_like(ids)
        report(workload, b, lambda: model(input_ids=ids, attention_mask=mask))


def train(workload):
    model = load(BertForSequenceClassification, num_labels=common.LABELS).train()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    forward = torch.compile(model) if a.compile else model
    # It does nothing in other precisions.
    scaler = torch.amp.GradScaler(a.device, enabled=a.precision == "f16")

    def step(ids, mask, y):
        with mixed("f16", "bf16"):
            loss = forward(input_ids=ids, attention_mask=mask, labels=y).loss
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad(set_to_none=True)
        return loss.item()

    if workload == "step-b32-s128":
        ids = torch.randint(1000, 30000, (a.batch, 128), device=a.device)
        mask = torch.ones_like(ids)
        y = torch.randint(0, common.LABELS, (a.batch,), device=a.device)
        report(workload, a.batch, lambda: step(ids, mask, y))
        return
    rows = common.rows(a.data)
    labels = sorted({r["label"] for r in rows})
    rows, size = common.share(rows, a.texts or 1024), common.BATCH
    encodings = common.tokenizer(a.model).encode_batch([r["text"] for r in rows])
    ys = torch.tensor([labels.index(r["label"]) for r in rows], device=a.device)
    batches = [(*pad(encodings[i:i + size]), ys[i:i + size]) for i in range(0, len(rows), size)]
    report(workload, len(rows), lambda: [step(*b) for b in batches])


if a.embeddings:
    import numpy as np
    with torch.inference_mode(), mixed("f16"):
        np.save(a.embeddings, embed(encoder(), common.tokenizer(a.model), common.first_texts(a)).numpy())
for w in a.workload:
    {"encode": encode, "step": train, "epoch": train, "gemm": gemm}[w.split("-")[0]](w)
