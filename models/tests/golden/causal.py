#!/usr/bin/env python3
"""Fifty steps of a tiny GPT-2 in PyTorch, for `models/tests/all/causal.rs`. The blocks of each step are Gradus's own
(causal_blocks.safetensors):

    cargo test -p gradus-models --test all -- --ignored write_blocks
    python3 models/tests/golden/causal.py     # writes causal.safetensors beside itself

Needs torch, transformers, safetensors.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

import steps

HERE = os.path.dirname(os.path.abspath(__file__))
steps.plain = lambda name: name.endswith(".bias") or ".ln_" in name

blocks = load_file(os.path.join(HERE, "causal_blocks.safetensors"))
counts, lengths, ids = (blocks[name].long().tolist() for name in ("counts", "lengths", "ids"))
of_steps, at = [], 0
for count in counts:
    rows = []
    for length in lengths[:count]:
        rows.append(torch.tensor(ids[at:at + length]))
        at += length
    lengths = lengths[count:]
    of_steps.append(rows)

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(
    vocab_size=280, n_embd=16, n_layer=2, n_head=2, n_inner=32, n_positions=24, bos_token_id=0, eos_token_id=0, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    attn_implementation="eager")).train()
for parameter in model.parameters():  # larger than usual
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=0.2)
out = {}
for name, value in model.state_dict().items():
    if name != "lm_head.weight":  # tied to the embeddings
        # Gradus has the weights of linear layers as [out, in], GPT-2's class as [in, out].
        out[f"lm.{name}"] = (value.T if ".c_" in name and value.dim() == 2 else value).clone()


def loss(model, step):
    rows = of_steps[step]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    there = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)[:, 1:]
    logits = model(input_ids=padded, attention_mask=there).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


losses, norms = steps.trained(model, loss)
out["lm.losses"], out["lm.norms"] = (torch.tensor(numbers, dtype=torch.float64) for numbers in (losses, norms))
print(losses[0], losses[-1])
save_file({key: value.contiguous() for key, value in out.items()}, os.path.join(HERE, "causal.safetensors"))
