"""`podcert ca …` behind its options: environment and options in, lines and an exit code out.

Exit codes: 0 done, 1 it failed or stopped (the pods that it stopped at are named), 2 wrong usage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from certmanager.ca import vault
from certmanager.ca.cluster import Cluster
from certmanager.ca.drive import Clock, Course, Driver, Outcome, undoing_steps, upcoming
from certmanager.ca.look import Eyes, Picture
from certmanager.ca.terms import NewRoot, Options
from certmanager.ca.text import as_dict, as_text
from certmanager.console import Console, Target, UsageError
from certmanager.domain.ca_change import Issuer
from certmanager.domain.errors import PodcertError, Refused
from certmanager.domain.names import parse_duration, parse_role
from certmanager.domain.problems import RuleError, shown
from certmanager.kube.kubeconfig import client
from certmanager.vault.bootstrap import environment as env
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.transport import Transport

Action = Callable[[Admin, Eyes, Options, Console], int]


def main(action: Action, options: Options, console: Console) -> int:
    """Runs one of `status`, `rotate`, `abort`; returns its exit code."""
    try:
        mount = _mount(options.mount)
        config = env.vault_config(console.environment)
        token, source = env.admin_token(console.environment, console.home)
        cluster = Cluster(client(Target(options.kubeconfig, options.context), console))
        transport = Transport(config)
    except (UsageError, ValueError) as error:
        console.err(f"podcert ca: {error}")
        return 2
    admin = Admin(transport, token, source)
    eyes = Eyes(lambda: vault.read(admin, mount), cluster, time.time, options.namespace)
    try:
        return action(admin, eyes, options, console)
    except UsageError as error:
        console.err(f"podcert ca: {error}")
        return 2
    except PodcertError as error:
        console.err(f"podcert ca: {error.message}")
        return 1
    except KeyboardInterrupt:
        console.err("podcert ca: interrupted; nothing is lost, the same command goes on from here")
        return 1
    finally:
        transport.close()


def status(_admin: Admin, eyes: Eyes, options: Options, console: Console) -> int:
    """Shows where a change of the CA stands."""
    _show(eyes.look(), options, console)
    return 0


def rotate(admin: Admin, eyes: Eyes, options: Options, console: Console) -> int:
    """Begins a change of the CA, or goes on with the one that is under way."""
    course = _course(options)
    if options.dry_run:
        picture = eyes.look(options.to)
        _show(picture, options, console)
        for problem in picture.problems:
            raise Refused("CannotGoOn", problem)
        for command in upcoming(picture, course):
            console.err(f"next: {command}")
        return 0
    say = console.err if options.as_json else console.out
    outcome, picture = Driver(admin, eyes, course, say, Clock()).run()
    if options.as_json:
        console.out(json.dumps({"outcome": outcome.value, **as_dict(picture)}, indent=2))
    return _ended(outcome, picture, say, console)


def abort(admin: Admin, eyes: Eyes, options: Options, console: Console) -> int:
    """Takes a change back whose new issuer has not signed yet."""
    steps = undoing_steps(eyes.look(options.to))
    if not options.dry_run:
        admin.require(steps)
    for step in steps:
        console.out(step.command)
        if not options.dry_run:
            admin.write(step.call, step.payload)
    return 0


def _ended(outcome: Outcome, picture: Picture, say: Callable[[str], None], console: Console) -> int:
    default = picture.authorities.default
    if outcome is Outcome.DONE:
        say(f"done: {default.label if default else 'no issuer'} signs, and its anchor is the one that pods trust")
        return 0
    if outcome is Outcome.TIMEOUT:
        console.err("podcert ca: the time is over, and pods are still waited for; the same command goes on from here")
    else:
        console.err(
            "podcert ca: stopped: the pods above cannot follow. See to them and run the same command again, or go on without "
            "them (--leave-behind): they and their peers may then refuse each other"
        )
    return 1


def _show(picture: Picture, options: Options, console: Console) -> None:
    console.out(json.dumps(as_dict(picture), indent=2) if options.as_json else as_text(picture))


def _course(options: Options) -> Course:
    if options.to and (options.common_name or options.key_type or options.ttl):
        raise UsageError("--common-name, --key-type and --ttl are a new root's; with --to there is none")
    ttl = _seconds("--ttl", options.ttl)

    def root(current: Issuer) -> NewRoot:
        name, key_type = options.common_name or current.common_name, options.key_type or current.key_type
        if not name:
            raise UsageError(
                "the current root has no common name that the new one could have; give one by --common-name"
            )
        if key_type not in vault.KEYS:
            raise UsageError(f"the current root's key is {key_type}; choose one for the new root by --key-type")
        return NewRoot(name, key_type, ttl or lifetime(current))

    return Course(root, options.to, options.leave_behind, _seconds("--timeout", options.timeout))


def lifetime(issuer: Issuer) -> int:
    """Of a successor, in seconds: whole hours, for Vault sets the beginning half a minute back, and each root would be longer
    than the one before."""
    seconds = round(issuer.not_after - issuer.not_before)
    return seconds // 3600 * 3600 or seconds


def _mount(text: str) -> str:
    try:
        return parse_role(text.strip("/"))
    except RuleError as error:
        problem = error.rule
    raise UsageError(f'--mount="{shown(text)}": {problem}')


def _seconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except RuleError as error:
        problem = error.rule
    raise UsageError(f'{option}="{shown(text)}": {problem}')
