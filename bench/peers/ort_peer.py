#!/usr/bin/env python3
"""Times ONNX Runtime on the encode workloads of `bench`; prints one JSON object a line.

usage: ort_peer.py --model DIR --onnx FILE [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

A missing FILE is made (that needs torch): the script exports it from transformers and optimises it with
onnxruntime.transformers.optimizer, which fuses attention, layer norm and GELU. `--precision int8`
quantises it dynamically, per channel, into a second file. `--model base` is BERT-base with random
weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of --data instead.
"""
import os

import common
import numpy as np

p = common.parser(__doc__, ["f32", "int8"])
p.add_argument("--onnx", required=True)
a = p.parse_args()


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
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        # ONNX cannot infer the types of the fused operators' outputs.
        types = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(a.onnx, path, per_channel=True, weight_type=QuantType.QInt8, extra_options=types)
options = ort.SessionOptions()
options.intra_op_num_threads = a.threads
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(ids, mask):
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def texts():
    return [r["text"] for r in common.rows(a.data)]


def embed(tok, xs):
    encodings = tok.encode_batch(xs)
    out = [None] * len(xs)
    for batch in common.batches_by_length(encodings):
        ids, mask = (np.array(x, np.int64) for x in common.pad([encodings[j] for j in batch]))
        v = (run(ids, mask) * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        for j, row in zip(batch, v):
            out[j] = row
    return np.array(out, np.float32)


if a.embeddings:
    np.save(a.embeddings, embed(common.tokenizer(a.model), texts()[:64]))
for w in a.workload:
    if w == "encode-real":
        xs, tok = texts(), common.tokenizer(a.model)
        amount, f = len(xs), lambda: embed(tok, xs)
    else:
        amount, s = common.shape(w, a.batch)
        ids, mask = np.random.randint(1000, 30000, (amount, s)), np.ones((amount, s), np.int64)
        f = lambda: run(ids, mask)
    common.report("onnxruntime-" + ort.__version__, a, w, amount, common.repeat(f, a.seconds))
