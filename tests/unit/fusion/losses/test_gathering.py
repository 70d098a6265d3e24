"""Two ranks compute the loss and, after data parallel's mean, the gradient of one process."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from scfae.fusion.losses import gather_rows, info_nce

COMMON = """
import torch
from scfae.fusion.losses import info_nce

def data():
    generator = torch.Generator().manual_seed(0)
    valid = torch.tensor([True, True, False, True, True, True, True])
    return torch.randn(7, 6, generator=generator), torch.randn(7, 5, generator=generator), valid

def towers():
    torch.manual_seed(1)
    return torch.nn.ModuleList([torch.nn.Linear(6, 4), torch.nn.Linear(5, 4)])
"""

RANK = (
    COMMON
    + """
import sys
import torch.distributed as dist

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = towers()
x, y, valid = (t[:4] if rank == 0 else t[4:] for t in data())  # 4 rows and 3
loss = info_nce(model[0](x), model[1](y), temperature=0.3, valid=valid)
loss.backward()
for parameter in model.parameters():
    dist.all_reduce(parameter.grad)
    parameter.grad /= 2
with torch.no_grad():
    alone = info_nce(model[0](x), model[1](y), temperature=0.3, valid=valid)
grads = [p.grad for p in model.parameters()]
torch.save({"loss": loss.detach(), "alone": alone, "grads": grads}, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""
)


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, str(tmp_path / "rank.py")]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, env=dict(os.environ)
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    here: dict[str, object] = {}
    exec(COMMON, here)
    model, (x, y, valid) = here["towers"](), here["data"]()  # type: ignore[operator]
    loss = info_nce(model[0](x), model[1](y), temperature=0.3, valid=valid)
    loss.backward()  # type: ignore[no-untyped-call]
    for rank in range(2):
        told = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(told["loss"], loss.detach())
        for got, parameter in zip(told["grads"], model.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad)
        assert not torch.allclose(told["alone"], loss)  # without gradients nobody is waited for


def test_a_single_process_gathers_nothing() -> None:
    x = torch.randn(3, 2)
    assert gather_rows(x)[0] is x
