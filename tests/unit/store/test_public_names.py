"""What the part offers by name, whatever was imported before it."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import scfae.store


def test_no_module_hides_a_public_name() -> None:
    for module in pkgutil.iter_modules(scfae.store.__path__):
        import_module(f"scfae.store.{module.name}")
    named = {name: getattr(scfae.store, name) for name in scfae.store.__all__}
    assert [n for n, value in named.items() if isinstance(value, ModuleType)] == ["errors"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'scfae\.store' has no attribute 'Feature'"):
        _ = scfae.store.Feature


def test_reading_a_store_needs_no_torch() -> None:
    code = """
import sys
from scfae.store import Damage, FeatureStore, StoreView, verify
assert callable(verify)
assert "torch" not in sys.modules
from scfae.store import FeatureStream
assert "torch" in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
