#!/usr/bin/env python3
"""Fifty steps of distillation in PyTorch, for `models/tests/all/distilling.rs`: a tiny student and a tiny teacher, one
batch of twelve texts, dropout off, AdamW with warm-up, decay and clipping; with labels, without, and with hidden
states (TinyBERT's loss: a teacher of another width with a projection, and one of the same width):

    OMP_NUM_THREADS=1 python3 models/tests/golden/distilling.py     # writes distilling.safetensors beside itself

Needs torch, transformers, safetensors, numpy.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from steps import trained

PAIRS, WEIGHT = [(0, 0), (1, 1), (2, 3)], 0.5  # hidden states of student and teacher, and their factor
TEXTS, LABELS, TEMPERATURE, ALPHA = 12, 3, 3.0, 0.7

random = np.random.RandomState(1)
lengths = random.randint(3, 13, TEXTS)
ids = [[1, *random.randint(3, 50, n - 2), 2] for n in lengths]
# The teacher reads other tokens than the student.
taught = [[1, *random.randint(3, 50, n), 2] for n in lengths]
labels = torch.tensor(random.randint(0, LABELS, TEXTS))


def padded(rows):
    width = max(map(len, rows))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return {"input_ids": torch.tensor([row + [0] * (width - len(row)) for row in rows]), "attention_mask": mask}


def new(seed, hidden, layers):
    torch.manual_seed(seed)
    model = BertForSequenceClassification(BertConfig(
        vocab_size=50, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=2 * hidden,
        max_position_embeddings=24, num_labels=LABELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        attn_implementation="eager"))
    for parameter in model.parameters():  # larger than usual, so that the texts differ
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


teacher = new(0, 24, 3).eval()
with torch.no_grad():
    teacher.classifier.weight.mul_(20)  # a teacher that is sure
    targets = teacher(**padded(taught)).logits
out = {f"teacher.{name}": value.clone() for name, value in teacher.state_dict().items()}
out |= {"ids": torch.tensor([i for row in ids for i in row], dtype=torch.int32),
        "lengths": torch.tensor(lengths.astype(np.int32)), "labels": labels.int(),
        "taught": torch.tensor([i for row in taught for i in row], dtype=torch.int32)}
for name in "labelled", "unlabelled":
    model = new(2, 16, 2).train()
    out |= {f"{name}.{key}": value.clone() for key, value in model.state_dict().items()}

    def loss_of(model, _):
        logits = model(**padded(ids)).logits
        loss = TEMPERATURE ** 2 * F.kl_div(F.log_softmax(logits / TEMPERATURE, -1), F.softmax(targets / TEMPERATURE, -1),
                                           reduction="batchmean")
        return ALPHA * loss + (1 - ALPHA) * F.cross_entropy(logits, labels) if name == "labelled" else loss

    losses, norms = trained(model, loss_of)
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    out[f"{name}.norms"] = torch.tensor(norms, dtype=torch.float64)
    print(name, losses[0], losses[-1])


class Projected(nn.Module):
    """A student, and the projection of its hidden states to the teacher's width."""

    def __init__(self, student, width):
        super().__init__()
        self.student = student
        self.projection = nn.Linear(16, width) if width != 16 else None


def hidden_loss(model, teacher):
    """The sum over the pairs of the mean over texts of the mean square over a text's tokens."""
    with torch.no_grad():
        theirs = teacher(**padded(ids), output_hidden_states=True)
    ours = model.student(**padded(ids), output_hidden_states=True)
    mask = padded(ids)["attention_mask"][..., None]
    apart = 0
    for own, other in PAIRS:
        state = ours.hidden_states[own]
        if model.projection is not None:
            state = model.projection(state)
        square = ((state - theirs.hidden_states[other]) ** 2 * mask).sum(1) / mask.sum(1)
        apart = apart + square.mean()
    soft = TEMPERATURE ** 2 * F.kl_div(F.log_softmax(ours.logits / TEMPERATURE, -1),
                                       F.softmax(theirs.logits / TEMPERATURE, -1), reduction="batchmean")
    return ALPHA * soft + (1 - ALPHA) * F.cross_entropy(ours.logits, labels) + WEIGHT * apart


narrow = new(3, 16, 3).eval()
out |= {f"narrow.{name}": value.clone() for name, value in narrow.state_dict().items()}
for name, of in ("projected", teacher), ("same_width", narrow):
    student = new(4, 16, 2).train()
    model = Projected(student, of.config.hidden_size)
    own = {key.removeprefix("student."): value.clone() for key, value in model.state_dict().items()}
    out |= {f"{name}.{key}": value for key, value in own.items()}
    losses, norms = trained(model, lambda model, _: hidden_loss(model, of))
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    out[f"{name}.norms"] = torch.tensor(norms, dtype=torch.float64)
    print(name, losses[0], losses[-1])
save_file({key: value.contiguous() for key, value in out.items()},
          os.path.join(os.path.dirname(os.path.abspath(__file__)), "distilling.safetensors"))
