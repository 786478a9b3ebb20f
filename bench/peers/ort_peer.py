#!/usr/bin/env python3
"""Times ONNX Runtime on the encode workloads of `bench`; prints one JSON object a line.

usage: ort_peer.py --model DIR --onnx FILE [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

FILE is made when it is missing (that needs torch): exported from transformers, then optimised by
onnxruntime.transformers.optimizer, which fuses attention, layer norm and GELU. `--precision int8`
quantises it dynamically, per channel, into a second file. `--model base` is BERT-base with random
weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of --data instead.
"""
import argparse
import csv
import json
import os
import resource
import statistics
import time

import numpy as np

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--model", required=True)
p.add_argument("--onnx", required=True)
p.add_argument("--data")
p.add_argument("--threads", type=int, default=os.cpu_count())
p.add_argument("--seconds", type=float, default=8.0)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--precision", choices=["f32", "int8"], default="f32")
p.add_argument("--embeddings", metavar="OUT.npy")
p.add_argument("workload", nargs="*")
a = p.parse_args()
MAX_LENGTH, BATCH = 128, 32


def export(path):
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import BertConfig, BertModel
    if a.model == "base":
        bert = BertModel(BertConfig(attn_implementation="eager"), add_pooling_layer=False)
    else:
        bert = BertModel.from_pretrained(a.model, add_pooling_layer=False, attn_implementation="eager")

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert.eval()

        def forward(self, input_ids, attention_mask):
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(Encoder(), (ids, ids), path, input_names=["input_ids", "attention_mask"],
                      output_names=["hidden"], opset_version=17, dynamo=False,
                      dynamic_axes={"input_ids": axes, "attention_mask": axes})
    c = bert.config
    optimizer.optimize_model(path, model_type="bert", num_heads=c.num_attention_heads,
                             hidden_size=c.hidden_size).save_model_to_file(path)


path = a.onnx
if not os.path.exists(path):
    export(path)
import onnxruntime as ort

if a.precision == "int8":
    path = a.onnx + ".int8"
    if not os.path.exists(path):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(a.onnx, path, per_channel=True, weight_type=QuantType.QInt8)
options = ort.SessionOptions()
options.intra_op_num_threads = a.threads
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(ids, mask):
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def texts():
    with open(a.data, newline="", encoding="utf-8") as f:
        return [r["text"] for r in csv.DictReader(f)]


def tokenizer():
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    t.no_padding()
    t.enable_truncation(MAX_LENGTH)
    return t


def embed(tok, xs):
    encodings = tok.encode_batch(xs)
    order = sorted(range(len(encodings)), key=lambda i: len(encodings[i].ids))
    out = [None] * len(xs)
    for i in range(0, len(order), BATCH):
        rows = [encodings[j].ids for j in order[i:i + BATCH]]
        n = max(map(len, rows))
        ids = np.array([r + [0] * (n - len(r)) for r in rows], np.int64)
        mask = np.array([[1] * len(r) + [0] * (n - len(r)) for r in rows], np.int64)
        v = (run(ids, mask) * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        for j, row in zip(order[i:i + BATCH], v):
            out[j] = row
    return np.array(out, np.float32)


def repeat(f):
    """Runs f until --seconds pass (3 runs at least) after one warm-up."""
    f()
    ts, t0 = [], time.perf_counter()
    while len(ts) < 3 or time.perf_counter() - t0 < a.seconds:
        t = time.perf_counter()
        f()
        ts.append(time.perf_counter() - t)
    return ts


if a.embeddings:
    np.save(a.embeddings, embed(tokenizer(), texts()[:64]))
for w in a.workload:
    if w == "encode-real":
        xs, tok = texts(), tokenizer()
        unit, amount, ts = "texts/s", len(xs), repeat(lambda: embed(tok, xs))
    else:
        b, s = (a.batch, 128) if w == "encode-b32-s128" else (1, 16)
        ids, mask = np.random.randint(1000, 30000, (b, s)), np.ones((b, s), np.int64)
        unit, amount = ("ms", 0) if b == 1 else ("sequences/s", b)
        ts = repeat(lambda: run(ids, mask))
    value = (lambda t: t * 1e3) if unit == "ms" else (lambda t: amount / t)
    print(json.dumps({
        "engine": "onnxruntime-" + ort.__version__,
        "workload": w,
        "model": os.path.basename(a.model.rstrip("/")),
        "precision": a.precision,
        "value": round(value(statistics.median(ts)), 3),
        "unit": unit,
        "best": round(value(min(ts)), 3),
        "runs": len(ts),
        "threads": a.threads,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }), flush=True)
