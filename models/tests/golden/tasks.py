#!/usr/bin/env python3
"""Fifty steps of every task in PyTorch, for `models/tests/all/tasks.rs`: a tiny BERT, one batch of
twelve texts, dropout off, AdamW with warm-up, decay and clipping. The masks of the masked language
model are Gradus's own (masks.safetensors), other ones for every step:

    cargo test -p gradus-models --test all -- --ignored write_masks
    python3 models/tests/golden/tasks.py     # writes tasks.safetensors beside itself

Needs torch, transformers, safetensors, numpy.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from steps import STEPS, trained

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS, LABELS = 12, 3
VOCABULARY = 60  # of the masked text
WEIGHTS = torch.tensor([0.5, 1.0, 2.5])

random = np.random.RandomState(0)
lengths = random.randint(3, 13, TEXTS)
ids = [[1, *random.randint(3, 50, n - 2), 2] for n in lengths]
width = max(lengths)
padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
single = torch.tensor(random.randint(0, LABELS, TEXTS))
multi = torch.tensor(random.randint(0, 2, (TEXTS, LABELS)))
numbers = torch.tensor(random.randn(TEXTS), dtype=torch.float32)

config = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
              max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def new(kind, vocabulary=50, **more):
    torch.manual_seed(0)
    model = kind(BertConfig(**config, vocab_size=vocabulary, **more, attn_implementation="eager"))
    for parameter in model.parameters():  # larger than usual, so that the texts differ
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.train()


def add(name, model, loss_of):
    """Trains, and keeps the first weights and the numbers of every step."""
    # The decoder is tied to the embeddings, and its bias to the head's.
    first = {key: value.clone() for key, value in model.state_dict().items() if "decoder" not in key}
    losses, norms = trained(model, loss_of)
    out.update({f"{name}.{key}": value for key, value in first.items()})
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    out[f"{name}.norms"] = torch.tensor(norms, dtype=torch.float64)
    print(name, losses[0], losses[-1])


tasks = {
    "single": (LABELS, lambda z: F.cross_entropy(z, single, weight=WEIGHTS, label_smoothing=0.1)),
    "multi": (LABELS, lambda z: F.binary_cross_entropy_with_logits(z, multi.float(), pos_weight=WEIGHTS)),
    "regression": (1, lambda z: F.mse_loss(z[:, 0], numbers)),
}
out = {"ids": torch.tensor([i for row in ids for i in row], dtype=torch.int32),
       "lengths": torch.tensor(lengths.astype(np.int32)), "weights": WEIGHTS, "single": single.int(),
       "multi": multi.int(), "regression": numbers}
for name, (labels, loss) in tasks.items():
    model = new(BertForSequenceClassification, num_labels=labels)
    add(name, model, lambda model, step: loss(model(input_ids=padded, attention_mask=mask).logits))

masks = load_file(os.path.join(HERE, "masks.safetensors"))
for name in "mlm", "mlm_words":
    lengths, ids, labels = (masks[f"{name}.{key}"].long() for key in ("lengths", "ids", "labels"))
    labels[labels == 2**32 - 1] = -100
    rows = torch.nn.utils.rnn.pad_sequence(ids.split(lengths.tolist()), batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(labels.split(lengths.tolist()), batch_first=True, padding_value=-100)
    blocks = len(lengths) // STEPS

    def loss(model, step):
        part = slice(step * blocks, (step + 1) * blocks)
        there = (torch.arange(rows.shape[1])[None] < lengths[part, None]).long()
        logits = model(input_ids=rows[part], attention_mask=there).logits
        return F.cross_entropy(logits.flatten(0, 1), targets[part].flatten(), ignore_index=-100)

    add(name, new(BertForMaskedLM, VOCABULARY), loss)
save_file({key: value.contiguous() for key, value in out.items()}, os.path.join(HERE, "tasks.safetensors"))
