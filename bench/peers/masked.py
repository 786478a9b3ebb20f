"""Trains a masked language model with PyTorch and transformers by the recipe of `train mlm`: blocks of full length, whose
lines follow each other with a [SEP] between documents, and other masks in each epoch. Prints perplexity and
masked accuracy on dev and test.

    masked.py --model DIR --data DIR [--epochs 3 --lr 5e-5 --batch-size 32 --max-length 128 --seed 0 --out DIR]

The data are train.txt, dev.txt and test.txt. `--out` keeps the model, so that `infer evaluate` can measure it with the
masks that it draws for any other. Needs torch and transformers.
"""
import json
import math

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import recipe

SHARE = 0.15


def blocks(a, tokenizer, split):
    """The ids of the blocks of a text."""
    with open(f"{a.data}/{split}.txt", encoding="utf-8") as f:
        lines = f.read().split("\n")
    ids, ends = [], False
    for line, encoded in zip(lines, tokenizer(lines, add_special_tokens=False)["input_ids"]):
        if not line.strip():
            ends = bool(ids)
            continue
        ids += [tokenizer.sep_token_id] * ends + encoded
        ends = False
    size = a.max_length - 2
    return [[tokenizer.cls_token_id, *ids[at:at + size], tokenizer.sep_token_id] for at in range(0, len(ids), size)]


class Masked:
    """Blocks, and the masks that are drawn for them."""

    def __init__(self, a, tokenizer, split, seed):
        self.blocks, self.tokenizer, self.random = blocks(a, tokenizer, split), tokenizer, np.random.RandomState(seed)

    def batch(self, places):
        """Ids, mask of padding, and the ids to predict."""
        t, rows = self.tokenizer, [self.blocks[i] for i in places]
        n = max(map(len, rows))
        ids = np.array([row + [t.pad_token_id] * (n - len(row)) for row in rows])
        there = np.array([[1] * len(row) + [0] * (n - len(row)) for row in rows])
        plain = ~np.isin(ids, [t.cls_token_id, t.sep_token_id, t.pad_token_id])
        picked = plain & (self.random.rand(*ids.shape) < SHARE)
        kind = self.random.rand(*ids.shape)
        masked = np.where(picked & (kind < 0.8), t.mask_token_id, ids)
        other = self.random.randint(len(t), size=ids.shape)
        masked = np.where(picked & (kind >= 0.8) & (kind < 0.9), other, masked)
        return torch.tensor(masked), torch.tensor(there), torch.tensor(np.where(picked, ids, recipe.IGNORED))


def logits_and_labels(net, batch):
    """Of the masked tokens alone: the decoder is the most expensive part."""
    ids, there, labels = batch
    hidden = net.base_model(input_ids=ids, attention_mask=there).last_hidden_state
    picked = labels != recipe.IGNORED
    return net.cls(hidden[picked]), labels[picked]


def evaluate(a, net, tokenizer, split):
    """Perplexity and accuracy, with the same masks each time."""
    data = Masked(a, tokenizer, split, seed=1)
    loss, right, count = recipe.guesses(net, len(data.blocks), lambda places: logits_and_labels(net, data.batch(places)))
    return {"perplexity": math.exp(loss / count), "accuracy": right / count, "masked": count}


def main():
    p = recipe.flags(__doc__)
    p.add_argument("--out")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    net = AutoModelForMaskedLM.from_pretrained(a.model, dtype=torch.float32)
    data = Masked(a, tokenizer, "train", a.seed)
    loss_of = lambda places: torch.nn.functional.cross_entropy(*logits_and_labels(net, data.batch(places)))
    dev = recipe.train(a, net, len(data.blocks), loss_of, lambda: evaluate(a, net, tokenizer, "dev"), head="cls",
                       rank=lambda metrics: -metrics["perplexity"])
    if a.out:
        net.save_pretrained(a.out)
        tokenizer.save_pretrained(a.out)
    print(json.dumps({"engine": "torch", "task": "mlm", "seed": a.seed, "dev": dev,
                      "test": evaluate(a, net, tokenizer, "test")}), flush=True)


main()
