"""The README's code runs as it stands, and so does a copy of the folder under another name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "fusion"
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_its_code_runs_in_a_project_that_has_a_copy_of_the_folder(
    block: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "scfae" / "fusion", tmp_path / "fuse")
    assert "scfae.fusion" in block
    check = "import sys\nassert not [m for m in sys.modules if m.split('.')[0] == 'scfae']\n"
    check += "assert loss.isfinite()\nloss.backward()\n"
    (tmp_path / "own.py").write_text(block.replace("scfae.fusion", "fuse") + check)
    command = [sys.executable, "-W", "error", "own.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
