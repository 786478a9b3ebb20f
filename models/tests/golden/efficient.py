#!/usr/bin/env python3
"""Efficient fine-tuning in PyTorch and PEFT, for `models/tests/all/efficient.rs`: fifty steps of the
classifier of tasks.py, from its weights and texts (tasks.safetensors), with frozen layers, with a
rate that decays from layer to layer, with averaged weights, and with LoRA.

    python3 models/tests/golden/tasks.py
    python3 models/tests/golden/efficient.py   # writes efficient.safetensors and peft/ beside itself

`peft/` holds a base and adapters that PEFT wrote, with the logits of some texts.

Needs torch, transformers, peft, safetensors, numpy.
"""
import json
import math
import os
import shutil

import torch
import torch.nn.functional as F
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from steps import CLIP, DECAY, LR, STEPS, factor, plain

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD_LR = 5e-3
LABELS, LAYERS, LAYER_DECAY, EMA = 3, 2, 0.6, 0.9

golden = load_file(os.path.join(HERE, "tasks.safetensors"))
lengths = golden["lengths"].tolist()
rows = golden["ids"].long().split(lengths)
padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
mask = (torch.arange(padded.shape[1])[None] < torch.tensor(lengths)[:, None]).long()
single = golden["single"].long()

config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=LAYERS, num_attention_heads=2,
                    intermediate_size=32, max_position_embeddings=24, hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0, num_labels=LABELS, attn_implementation="eager")


def new():
    model = BertForSequenceClassification(config)
    weights = {key.removeprefix("single."): value for key, value in golden.items() if key.startswith("single.")}
    found = model.load_state_dict({k: v for k, v in weights.items() if k not in ("losses", "norms")}, strict=False)
    assert not found.unexpected_keys and not [k for k in found.missing_keys if "position_ids" not in k], found
    return model.train()


def logits(model):
    return model(input_ids=padded, attention_mask=mask).logits


def trained(model, rate=lambda name: LR, each=None):
    """The losses and the gradients' norms of the steps."""
    groups = [{"params": [p], "weight_decay": 0.0 if plain(n) else DECAY, "peak": rate(n)}
              for n, p in model.named_parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(groups, lr=LR)
    losses, norms = [], []
    for step in range(STEPS):
        loss = F.cross_entropy(logits(model), single)
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([g["params"][0] for g in groups], CLIP).item())
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor(step)
        optimiser.step()
        losses.append(loss.item())
        if each:
            each(step + 1)
    return losses, norms


def add(name, model, **how):
    losses, norms = trained(model, **how)
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    out[f"{name}.norms"] = torch.tensor(norms, dtype=torch.float64)
    print(name, losses[0], losses[-1])


out = {}

model = new()
for name, parameter in model.named_parameters():
    parameter.requires_grad = not name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))
add("freeze", model)


def by_layer(name):
    """The head at its own rate; the layers below it at ever lower ones."""
    if name.startswith("classifier"):
        return HEAD_LR
    if name.startswith("bert.embeddings"):
        return LR * LAYER_DECAY ** (LAYERS + 1)
    if name.startswith("bert.encoder.layer."):
        return LR * LAYER_DECAY ** (LAYERS - int(name.split(".")[3]))
    return LR


add("layer_decay", new(), rate=by_layer)

model, of_averages = new(), []
averages = {name: p.detach().clone() for name, p in model.named_parameters()}


def average(step):
    decay = min(EMA, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            averages[name].mul_(decay).add_(parameter, alpha=1 - decay)
        z = torch.func.functional_call(model, averages, (padded,), {"attention_mask": mask}).logits
        of_averages.append(F.cross_entropy(z, single).item())


add("ema", model, each=average)
out["ema.of_averages"] = torch.tensor(of_averages, dtype=torch.float64)

# A base and adapters in PEFT's own files.
peft_folder = os.path.join(HERE, "peft")
shutil.rmtree(peft_folder, ignore_errors=True)
base_folder = os.path.join(peft_folder, "base")
base = new()
base.save_pretrained(base_folder)
with open(os.path.join(base_folder, "vocab.txt"), "w") as file:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    file.write("".join(f"{word}\n" for word in special + [f"w{i}" for i in range(5, 50)]))

adaptations = {
    "lora": dict(r=4, lora_alpha=8, target_modules=["query", "value"]),
    "lora_dense": dict(r=3, lora_alpha=5, target_modules=["attention.output.dense", "intermediate.dense", "key"],
                       use_rslora=True, modules_to_save=["pooler"]),
}
logits_of = {}


def save_adapter(model, name):
    folder = os.path.join(peft_folder, name)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as file:
        written = json.load(file)
    written["base_model_name_or_path"] = "models/tests/golden/peft/base"
    written["target_modules"].sort()
    with open(path, "w") as file:
        json.dump(written, file, indent=2, sort_keys=True)


for name, settings in adaptations.items():
    torch.manual_seed(1)
    model = get_peft_model(new(), LoraConfig(task_type=TaskType.SEQ_CLS, lora_dropout=0.0, **settings))
    for key, parameter in model.named_parameters():
        if "lora_A" in key:
            short = key.removeprefix("base_model.model.").replace(".default", "")
            out[f"{name}.{short}"] = parameter.detach().clone()
            assert parameter.abs().max() <= 1 / math.sqrt(parameter.shape[1])  # Kaiming-uniform, a = √5
    add(name, model)
    save_adapter(model, name)
    with torch.no_grad():
        logits_of[name] = logits(model.eval())

# A masked language model: PEFT copies the head, and the decoder that it shares with the words.
torch.manual_seed(2)
masked = get_peft_model(BertForMaskedLM.from_pretrained(base_folder), LoraConfig(
    r=2, lora_alpha=8, target_modules=["query", "value"], modules_to_save=["cls"], init_lora_weights=False))
save_adapter(masked, "lora_words")
with torch.no_grad():
    logits_of["lora_words"] = masked.eval()(input_ids=padded, attention_mask=mask).logits[mask.bool()]
with torch.no_grad():
    logits_of["base"] = logits(base.eval())
save_file({key: value.contiguous() for key, value in logits_of.items()}, os.path.join(peft_folder, "logits.safetensors"))
save_file({key: value.contiguous() for key, value in out.items()}, os.path.join(HERE, "efficient.safetensors"))
