#!/usr/bin/env python3
"""A hundred steps of a masked language model in PyTorch, for `models/tests/all/shakespeare.rs`: a tiny BERT on
shakespeare/text.txt, dropout off. The batches and masks are those of a run of Gradus (shakespeare/batches.safetensors):

    cargo test -p gradus-models --test all -- --ignored write_batches
    python3 models/tests/golden/shakespeare.py   # writes shakespeare/pytorch.safetensors

The text is the beginning of tiny Shakespeare (github.com/karpathy/char-rnn); the plays are in the public domain.

Needs torch, transformers, safetensors.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from steps import trained

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shakespeare")
STEPS, VOCABULARY, NONE = 100, 200, 255  # NONE is the label of a token that is not masked

batches = load_file(os.path.join(FOLDER, "batches.safetensors"))
sizes = batches["sizes"].tolist()
lengths = batches["lengths"].long()
padded = lambda name, value: torch.nn.utils.rnn.pad_sequence(
    batches[name].long().split(lengths.tolist()), batch_first=True, padding_value=value)
ids, labels = padded("ids", 0), padded("labels", NONE)
there = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
ids, labels, there = (rows.split(sizes) for rows in (ids, labels, there))
assert len(sizes) == STEPS

torch.manual_seed(0)
model = BertForMaskedLM(BertConfig(
    vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=48, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"))
for parameter in model.parameters():  # larger than usual, so that the words differ
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=0.1)
model.train()


def loss(model, step):
    logits = model(input_ids=ids[step], attention_mask=there[step]).logits
    return F.cross_entropy(logits.flatten(0, 1), labels[step].flatten(), ignore_index=NONE)


# The decoder is tied to the embeddings, and its bias to the head's.
out = {key: value.clone() for key, value in model.state_dict().items() if "decoder" not in key}
losses, _ = trained(model, loss, STEPS)
out["losses"] = torch.tensor(losses, dtype=torch.float64)
print(losses[0], losses[-1])
save_file({key: value.contiguous() for key, value in out.items()}, os.path.join(FOLDER, "pytorch.safetensors"))
