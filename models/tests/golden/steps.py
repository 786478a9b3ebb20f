"""The fifty steps that the scripts of this folder make in PyTorch: AdamW with warm-up, decay and clipping."""
import torch

STEPS, WARMUP, LR, DECAY, CLIP = 50, 5, 2e-3, 0.01, 1.0


def plain(name):
    """Whether a parameter has no weight decay."""
    return name.endswith(".bias") or "LayerNorm" in name


def trained(model, loss_of):
    """The losses and the gradients' norms of the steps."""
    groups = [{"params": [p for n, p in model.named_parameters() if plain(n) == without],
               "weight_decay": 0.0 if without else DECAY} for without in (False, True)]
    optimiser = torch.optim.AdamW(groups, lr=LR)
    losses, norms = [], []
    for step in range(STEPS):
        loss = loss_of(model, step)
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        for group in optimiser.param_groups:
            group["lr"] = LR * factor(step)
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


def factor(step):
    """The rate of a step, of the peak's."""
    return step / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP)
