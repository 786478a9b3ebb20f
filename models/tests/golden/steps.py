"""The steps that the scripts of this folder make in PyTorch, fifty unless they say otherwise: AdamW with warm-up, decay
and clipping."""
import torch

STEPS, LR, DECAY, CLIP = 50, 2e-3, 0.01, 1.0


def plain(name):
    """Whether a parameter has no weight decay."""
    return name.endswith(".bias") or "LayerNorm" in name


def trained(model, loss_of, steps=STEPS):
    """The losses and the gradients' norms of the steps."""
    groups = [{"params": [p for n, p in model.named_parameters() if plain(n) == without],
               "weight_decay": 0.0 if without else DECAY} for without in (False, True)]
    optimiser = torch.optim.AdamW(groups, lr=LR)
    losses, norms = [], []
    for step in range(steps):
        loss = loss_of(model, step)
        optimiser.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        for group in optimiser.param_groups:
            group["lr"] = LR * factor(step, steps)
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


def factor(step, steps=STEPS):
    """The rate of a step, of the peak's."""
    warmup = steps // 10
    return step / warmup if step < warmup else (steps - step) / (steps - warmup)
