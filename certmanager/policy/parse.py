"""From the text of a policy file to `domain.policy`, or to everything that is wrong with it, each with its line.

YAML is read as nodes and not as values: so each message has a line, a key that stands there twice is noticed, and `no` or
`1_000` is never taken for something that nobody wrote. All or nothing: a file with one mistake is not used at all.
The format is in docs/policy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import yaml

from certmanager.domain.limits import Grants
from certmanager.domain.policy import IdentityPolicy, Rule
from certmanager.domain.problems import RuleError, shown
from certmanager.policy.fields import GRANTS, LISTS, MAPPINGS, MAY_BE_EMPTY, SCALARS, parse_rule_name

T = TypeVar("T")

SIZE_LIMIT: Final = 1024 * 1024
"""Characters: no ConfigMap is larger."""
RULES_LIMIT: Final = 1000
SHOWN_PROBLEMS: Final = 20
KEYS: Final = ("name", "enroll", *LISTS, *MAPPINGS, *SCALARS, *GRANTS)


class PolicyError(Exception):
    """A policy that cannot be used; the text has one line per problem: line, field, value, rule, what to do."""


def parse_policy(text: str) -> IdentityPolicy:
    """Reads a policy.

    Raises:
        PolicyError: with everything that is wrong.
    """
    root = _compose(text)
    reader = _Reader()
    rules = reader.rules(root)
    if reader.problems:
        more = len(reader.problems) - SHOWN_PROBLEMS
        lines = reader.problems[:SHOWN_PROBLEMS] + ([f"and {more} more problems"] if more > 0 else [])
        raise PolicyError("\n".join(lines))
    return IdentityPolicy(tuple(rules), given=True)


def _compose(text: str) -> yaml.Node:
    if len(text) > SIZE_LIMIT:
        raise PolicyError(f"it has more than {SIZE_LIMIT} characters; shorten it")
    why: str
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = f"line {mark.line + 1}: " if mark else ""
    except (RecursionError, ValueError):
        why = ""
    else:
        if root is None:
            raise PolicyError("it is empty; write at least `rules: []`")
        return root
    raise PolicyError(f"{why}it is not YAML; see docs/policy.md")


class _Reader:
    """Walks the nodes and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._where = ""

    def rules(self, root: yaml.Node) -> list[Rule]:
        """The rules, as far as they can be read."""
        top = self._mapping(root, ("rules",), "the file")
        if "rules" not in top:
            if isinstance(root, yaml.MappingNode):
                self._say(root, "rules", None, "is missing", "write `rules:` and a list below it")
            return []
        found: list[Rule] = []
        names: set[str] = set()
        items = self._sequence(top["rules"], "rules")
        if len(items) > RULES_LIMIT:
            self._say(top["rules"], "rules", None, f"must be at most {RULES_LIMIT}", "put namespaces together")
            return []
        for node in items:
            rule = self._rule(node)
            if rule is not None:
                if rule.name in names:
                    self._say(node, "name", rule.name, "must not stand there twice", "give each rule its own name")
                names.add(rule.name)
                found.append(rule)
        return found

    def _rule(self, node: yaml.Node) -> Rule | None:
        self._where = ""
        before = len(self.problems)
        entries = self._mapping(node, KEYS, "a rule")
        if not isinstance(node, yaml.MappingNode):
            return None
        name = self._parsed(entries["name"], "name", parse_rule_name) if "name" in entries else None
        if "name" not in entries:
            self._say(node, "name", None, "is missing", "give the rule a name")
        self._where = f"rule {name}: " if name else ""
        values = self._values(entries)
        if len(self.problems) > before or name is None:
            return None
        rule = Rule(name=name, **values)
        self._whole(node, rule)
        return rule

    def _values(self, entries: Mapping[str, yaml.Node]) -> dict[str, Any]:
        """The arguments of `Rule`, but for its name."""
        values: dict[str, Any] = {}
        if "enroll" in entries:
            values["enroll"] = self._boolean(entries["enroll"], "enroll")
        for key, parse in LISTS.items():
            if key in entries:
                values[key] = self._list(entries[key], key, parse)
        for key, parse_pair in MAPPINGS.items():
            if key in entries:
                values[key] = self._pairs(entries[key], key, parse_pair)
        for key, parse_one in SCALARS.items():
            if key in entries:
                values[key] = self._parsed(entries[key], key, parse_one)
        granted: dict[str, Any] = {
            attribute: self._list(entries[key], key, parse)
            for key, (attribute, parse) in GRANTS.items()
            if key in entries
        }
        return values | {"grants": Grants(**granted)}

    def _whole(self, node: yaml.Node, rule: Rule) -> None:
        """What no single field shows."""
        if not rule.namespaces and not rule.namespace_labels:
            remedy = 'write namespaces: ["*"] for every namespace'
            self._say(node, "namespaces", None, "or namespace_labels must say what the rule is for", remedy)
        if rule.min_ttl is not None and rule.max_ttl is not None and rule.min_ttl > rule.max_ttl:
            self._say(node, "min_ttl", f"{rule.min_ttl}s", f"must not be more than max_ttl ({rule.max_ttl}s)")
        if rule.ttl is not None and not (rule.min_ttl or rule.ttl) <= rule.ttl <= (rule.max_ttl or rule.ttl):
            self._say(node, "ttl", f"{rule.ttl}s", "must be between min_ttl and max_ttl")

    def _mapping(self, node: yaml.Node, known: Sequence[str], what: str) -> dict[str, yaml.Node]:
        """Keys and nodes; unknown and repeated keys are problems."""
        if not isinstance(node, yaml.MappingNode):
            self._say(node, what, None, "must be a mapping: `key: value` lines", "see docs/policy.md")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key not in known:
                near = get_close_matches(key.lower().replace("-", "_"), known, 1)
                remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self._say(key_node, shown(key), None, f"is no key of {what}", remedy)
            elif key in found:
                self._say(key_node, key, None, "must not stand there twice", "remove one of them")
            else:
                found[key] = value
        return found

    def _sequence(self, node: yaml.Node, field: str) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self._say(node, field, None, "must be a list", "write [one, another], or a line with `- ` for each")
        return []

    def _list(self, node: yaml.Node, field: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """A list that is not empty, of different values."""
        items = self._sequence(node, field)
        if isinstance(node, yaml.SequenceNode) and not items and field not in MAY_BE_EMPTY:
            self._say(node, field, None, "must not be an empty list", "remove the key, or name what is allowed")
        values = [self._parsed(item, field, parse) for item in items]
        good = [value for value in values if value is not None]
        if len(set(good)) != len(good):
            self._say(node, field, None, "must not name the same value twice", "remove one of them")
        return tuple(good)

    def _pairs(self, node: yaml.Node, field: str, parse: Callable[[str, str], None]) -> Mapping[str, str]:
        """A mapping of texts that is not empty."""
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self._say(node, field, None, "must be a mapping that is not empty", "write `label: value` lines below it")
            return {}
        found: dict[str, str] = {}
        for key_node, value_node in node.value:
            key, value = self._text(key_node, field), self._text(value_node, field)
            if key is None or value is None:
                continue
            try:
                parse(key, value)
            except RuleError as error:
                self._say(key_node, field, f"{key}: {value}", error.rule, error.remedy)
            if key in found:
                self._say(key_node, field, key, "must not stand there twice", "remove one of them")
            found[key] = value
        return found

    def _parsed(self, node: yaml.Node, field: str, parse: Callable[[str], T]) -> T | None:
        text = self._text(node, field)
        if text is None:
            return None
        try:
            return parse(text)
        except RuleError as error:
            self._say(node, field, text, error.rule, error.remedy)
            return None

    def _text(self, node: yaml.Node, field: str) -> str | None:
        """A text or a number as it stands there. What YAML takes for something else has to be quoted."""
        if isinstance(node, yaml.ScalarNode) and node.tag.rpartition(":")[2] in ("str", "int", "float"):
            return str(node.value)
        value = node.value if isinstance(node, yaml.ScalarNode) else None
        self._say(node, field, value, "must be text", "put it in quotes" if value else "write one value")
        return None

    def _boolean(self, node: yaml.Node, field: str) -> bool:
        if isinstance(node, yaml.ScalarNode) and node.value in ("true", "false"):
            return bool(node.value == "true")
        self._say(node, field, node.value if isinstance(node, yaml.ScalarNode) else None, "must be true or false")
        return False

    def _say(self, node: yaml.Node, field: str, value: str | None, rule: str, remedy: str | None = None) -> None:
        said = "" if value is None else f'="{shown(value)}"'
        self.problems.append(
            f"line {node.start_mark.line + 1}: {self._where}{field}{said}: {rule}; {remedy or 'change it'}"
        )
