"""Writes 50 steps of PyTorch's training of a tiny tagger to models/tests/golden/tagging.safetensors.

    pip install torch transformers safetensors
    OMP_NUM_THREADS=1 python models/tests/golden/tagging.py

A BertForTokenClassification of random weights learns random tags of sentences of unequal lengths, with dropout 0,
AdamW, warm-up and clipping. The file has the weights before the first step, the sentences (ids; the target of
each token, the number of tags for none; both padded to one length), the numbers of each step's sentences, the losses, the
norms of the gradients before clipping, and the logits of the first sentences after the last step.
"""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForTokenClassification

from steps import DECAY, STEPS, factor, plain

BATCH, SENTENCES, LONGEST, TAGS, VOCABULARY = 6, 40, 14, 5, 60
LR = 1e-3


def data(generator):
    draw = lambda low, high, size: torch.randint(low, high, size, generator=generator)
    lengths = draw(3, LONGEST + 1, (SENTENCES,))
    ids = draw(5, VOCABULARY, (SENTENCES, LONGEST))
    # The tag of most words follows from the word; some tokens have none, as the later ones of a word.
    targets = torch.where(draw(0, 4, ids.shape) == 0, draw(0, TAGS, ids.shape), ids % TAGS)
    targets[draw(0, 3, ids.shape) == 0] = -100
    for i, length in enumerate(lengths):
        ids[i, 0], ids[i, length - 1] = 2, 3
        ids[i, length:], targets[i, length:] = 0, -100
        targets[i, 0], targets[i, length - 1], targets[i, 1] = -100, -100, int(ids[i, 1]) % TAGS
    mask = torch.arange(LONGEST)[None] < lengths[:, None]
    return ids, targets, mask, lengths


def main():
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16, num_labels=TAGS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0, initializer_range=0.2, attn_implementation="eager")
    model = BertForTokenClassification(config).train()
    weights = {f"before.{name}": p.detach().clone() for name, p in model.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    ids, targets, mask, lengths = data(generator)
    batches = torch.stack([torch.randperm(SENTENCES, generator=generator)[:BATCH] for _ in range(STEPS)])

    named = list(model.named_parameters())
    groups = [{"params": [p for n, p in named if plain(n) == kind], "weight_decay": 0.0 if kind else DECAY}
              for kind in (False, True)]
    optimizer = torch.optim.AdamW(groups, lr=LR, foreach=False, fused=False)
    losses, norms = [], []
    for step in range(STEPS):
        batch = batches[step]
        output = model(input_ids=ids[batch], attention_mask=mask[batch].long(), labels=targets[batch])
        optimizer.zero_grad()
        output.loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        for group in optimizer.param_groups:
            group["lr"] = LR * factor(step)
        optimizer.step()
        losses.append(output.loss.item())
    with torch.no_grad():
        logits = model(input_ids=ids[:BATCH], attention_mask=mask[:BATCH].long()).logits
    floats = lambda values: torch.tensor(values, dtype=torch.float64)
    save_file({**weights, "ids": ids, "targets": targets.masked_fill(targets < 0, TAGS), "lengths": lengths, "batches": batches,
               "loss": floats(losses), "grad_norm": floats(norms), "logits": logits.contiguous()},
              pathlib.Path(__file__).with_suffix(".safetensors"))
    print(losses[0], losses[-1], norms[0])


main()
