"""Reading a promotion policy: a misspelt rule is an error, never a rule that is not applied."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import ValidationError

from catalog.errors import ConfigError
from validation.gate.config import BeatRule, GateConfig, GatePolicy, Limits, NoLoss, Pin, SliceRules, Waiver


def load_policy(config: GateConfig) -> GatePolicy:
    """The policy that `config` names or holds.

    Raises:
        ConfigError: The file is missing or not YAML, a key stands twice, or a key or value is not one a policy knows.
    """
    if isinstance(config.policy, GatePolicy):
        return config.policy
    path = Path(config.policy)
    try:
        text = path.read_text(encoding="utf-8")
        _no_key_twice(yaml.compose(text, Loader=yaml.SafeLoader), path)
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(
            "gate policy cannot be read", where=str(path), got=error.strerror or str(error), fix="set gate.policy"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("gate policy is not YAML", where=str(path), got=str(error).replace("\n", " ")) from None
    if not isinstance(content, dict):
        raise ConfigError(
            "gate policy must be a mapping of rules",
            where=str(path),
            got="an empty file" if content is None else type(content).__name__,
            allowed=", ".join(GatePolicy.model_fields),
        )
    try:
        return GatePolicy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        # An error of the policy as a whole has no place in it, and its input is everything.
        raise ConfigError(
            f"gate policy: {message[0].lower()}{message[1:]}",
            where=f"{path}: {key}" if key else str(path),
            got=repr(first["input"]) if key else "",
            fix=_nearest(str(first["loc"][-1])) if first["type"] == "extra_forbidden" else "",
        ) from None


def _no_key_twice(node: yaml.Node | None, path: Path) -> None:
    """YAML keeps the last of two equal keys, so the rules below the first would silently not be applied."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(
                    f"gate policy gives {key.value} twice",
                    where=f"{path}:{line}",
                    got=f"also on line {lines[key.value]}",
                    fix="keep one of the two",
                )
            lines[key.value] = line
            _no_key_twice(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _no_key_twice(value, path)


def _nearest(key: str) -> str:
    sections = (GatePolicy, BeatRule, NoLoss, SliceRules, Limits, Pin, Waiver)
    known = list(dict.fromkeys(name for section in sections for name in section.model_fields))
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"a policy knows {', '.join(known)}"
