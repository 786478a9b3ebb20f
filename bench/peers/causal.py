"""Trains a GPT-2 with PyTorch and transformers by the recipe of `train lm`: blocks of full length, of which neighbours share
a token. Prints perplexity, bits per byte and accuracy on dev and test.

    causal.py --model DIR --data DIR [--epochs 3 --lr 5e-5 --batch-size 32 --max-length 256 --seed 0]

The data are train.txt, dev.txt and test.txt. `train lm --model scratch --steps 1` makes a folder to begin with. Needs torch
and transformers.
"""
import json
import math

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import recipe


class Blocks:
    """The blocks of a text."""

    def __init__(self, a, tokenizer, split):
        with open(f"{a.data}/{split}.txt", encoding="utf-8", newline="") as f:
            text = f.read()
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        self.bytes, step = len(text.encode()), a.max_length - 1
        self.blocks = [torch.tensor(ids[at:at + a.max_length]) for at in range(0, len(ids) - 1, step)]

    def batch(self, places):
        """Ids, mask of padding, and the next ids."""
        rows = [self.blocks[i] for i in places]
        pad = lambda rows, value: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
        return pad(rows, 0), pad([torch.ones_like(row) for row in rows], 0), pad(rows, recipe.IGNORED)[:, 1:]


def scores(net, batch):
    """Logits and next ids, one row a token."""
    ids, there, labels = batch
    logits = net(input_ids=ids, attention_mask=there).logits[:, :-1]
    return logits.flatten(0, 1), labels.flatten()


def evaluate(a, net, tokenizer, split):
    data = Blocks(a, tokenizer, split)
    loss, right, count = recipe.guesses(net, len(data.blocks), lambda places: scores(net, data.batch(places)))
    return {"perplexity": math.exp(loss / count), "bits_per_byte": loss / math.log(2) / data.bytes,
            "accuracy": right / count, "loss": loss / count}


def main():
    p = recipe.flags(__doc__)
    p.set_defaults(max_length=256)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    net = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    data = Blocks(a, tokenizer, "train")
    loss_of = lambda places: torch.nn.functional.cross_entropy(*scores(net, data.batch(places)))
    dev = recipe.train(a, net, len(data.blocks), loss_of, lambda: evaluate(a, net, tokenizer, "dev"), head="lm_head",
                       rank=lambda metrics: -metrics["perplexity"])
    print(json.dumps({"engine": "torch", "task": "lm", "seed": a.seed, "dev": dev,
                      "test": evaluate(a, net, tokenizer, "test")}), flush=True)


main()
