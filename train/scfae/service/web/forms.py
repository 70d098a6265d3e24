"""The form of a new run, made from the config's own fields: nothing is listed twice."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from scfae.train.provenance import shown
from scfae.train.settings import GROUPS

Kind = Literal["text", "number", "choice", "switch", "pairs"]

HIDDEN: Final = frozenset({"run", "trackers", "store", "columns", "label"})
"""Fields that the service sets, or that the form has a place of its own for."""
SHOWN: Final = frozenset(
    {"task", "fusion", "options", "epochs", "batch_size", "lr", "masking", "seed", "device"}
)
"""Fields that most runs set; the others are folded away until asked for."""
TITLES: Final = {"data": "Data", "model": "Model", "optim": "Optimizer", "loop": "Run"}


@dataclass(frozen=True)
class FormField:
    """One setting.

    Attributes:
        name: Of the setting.
        title: The same as words.
        help: What it means.
        kind: How it is set.
        choices: Of a choice, each with what stands beside it.
        default: As text.
        value: What it is now, as text.
        is_shown: Whether it is seen at once.
    """

    name: str
    title: str
    help: str
    kind: Kind
    choices: tuple[tuple[str, str], ...]
    default: str
    value: str
    is_shown: bool


@dataclass(frozen=True)
class FormGroup:
    """The settings of a group.

    Attributes:
        name: Of the group.
        title: Its heading.
        fields: In the config's order.
    """

    name: str
    title: str
    fields: tuple[FormField, ...]

    @property
    def shown(self) -> list[FormField]:
        """Those that are seen at once."""
        return [one for one in self.fields if one.is_shown]

    @property
    def folded(self) -> list[FormField]:
        """The others."""
        return [one for one in self.fields if not one.is_shown]


def form_groups(values: dict[str, Any]) -> list[FormGroup]:
    """Return the form, filled in.

    Args:
        values: Settings by name, flat; defaults elsewhere.
    """
    groups = []
    for key, group in GROUPS.items():
        properties = group.model_json_schema()["properties"]
        fields = []
        for name, info in group.model_fields.items():
            if name in HIDDEN:
                continue
            default = spelled(info.get_default(call_default_factory=True))
            value = spelled(values[name]) if name in values else default
            kind, choices = _kind(name, properties[name])
            fields.append(
                FormField(
                    name=name,
                    title=name.replace("_", " "),
                    help=" ".join((info.description or "").split()),
                    kind=kind,
                    choices=choices,
                    default=default,
                    value=value,
                    is_shown=name in SHOWN or value != default,
                )
            )
        groups.append(FormGroup(key, TITLES[key], tuple(fields)))
    return groups


def spelled(value: Any) -> str:
    """Return a setting as it is typed."""
    if isinstance(value, dict):
        return " ".join(f"{name}={spelled(one)}" for name, one in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(spelled, value)) or "none"
    return shown(value)


def _kind(name: str, schema: dict[str, Any]) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    if name == "fusion":
        from scfae.fusion import list_fusions  # torch comes with it

        infos = sorted(list_fusions(), key=lambda info: (info.name != "scfae", info.name))
        return "choice", tuple((info.name, info.paper_row) for info in infos)
    if "enum" in schema:
        return "choice", tuple((str(one), "") for one in schema["enum"])
    branches = schema.get("anyOf", [schema])
    types = {branch.get("type") for branch in branches}
    if types == {"boolean"}:
        return "switch", ()
    if "object" in types:
        return "pairs", ()
    return ("number" if types & {"integer", "number"} else "text"), ()
