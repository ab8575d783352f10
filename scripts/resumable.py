"""The loop that `train_codec.py` and `train_detector.py` share: killed and started again, it goes on where it was."""

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from fvdm.files import atomic_write


@dataclass
class Schedule:
    steps: int
    lr: float  # the highest learning rate
    warmup: int  # steps of a linear rise
    report_every: int  # steps between two reports
    save_every: int  # steps between two saved states

    def rate(self, step: int) -> float:
        "Learning rate: warm up, then a cosine down to 0."
        return self.lr * min(1, (step + 1) / self.warmup) * (1 + math.cos(math.pi * step / self.steps)) / 2


def load_state(file: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    "Restore a saved state, if there is one: steps done, and the seconds that they took."
    if not file.exists():
        return 0, 0.0
    state = torch.load(file, weights_only=True)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["opt"])
    return state["step"], state["seconds"]


def save_state(file: Path, net: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    "Write a state whole or not at all."
    data = io.BytesIO()
    torch.save(dict(net=net.state_dict(), opt=optimizer.state_dict(), step=step, seconds=seconds), data)
    atomic_write(file, data.getvalue())


def train(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Callable[[int], tuple[Tensor, Callable[[], str]]],  # step -> loss, and what tells how it goes
    schedule: Schedule,
    state: Path,  # file of the unfinished state
    title: str,  # of the progress bar
) -> float:  # when it would have begun if it had not been interrupted: time.time() less this is what it took
    "Train to the last step. Every step asks `losses` for a loss, which draws its own batch."
    first, seconds = load_state(state, net, optimizer)
    started = time.time() - seconds
    bar = tqdm(range(first, schedule.steps), initial=first, total=schedule.steps, desc=title, mininterval=5)
    for step in bar:
        loss, report = losses(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
        optimizer.zero_grad()
        if step % schedule.report_every == 0:
            bar.set_postfix_str(report())
        if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
            save_state(state, net, optimizer, step + 1, time.time() - started)
    return started
