"""300 hostile pods, well-behaved ones among them, and a Vault that refuses nothing."""

from __future__ import annotations

from tests.integration.besiege import Besieged
from tests.prove.control import control
from tests.prove.parts import say
from tests.prove.proof import Shown

PODS, WELL_BEHAVED = 300, 40
MOST = 4.0
"""A well-behaved pod's median wait among them, at most, by that of pods alone: both servers and both crowds share a machine."""
LINE = 4096


def run() -> dict[str, Shown]:
    """The lines `outside`, `told`, `delayed`, `log`."""
    with control("siege") as place:
        besieged = Besieged(place.world("prove-siege"))
        besieged.set_up()
        say(f"{PODS} hostile pods")
        siege = besieged.run(PODS, WELL_BEHAVED)
    wrong = [*siege.outside, *siege.unexplained, *siege.enrolled, *siege.touched]
    figure = f"{len(siege.outside)} outside, {len(siege.unexplained)} in Vault's store that no pod has; "
    figure += f"{siege.certificates} pods whose lies nobody fell for have their own name"
    told = siege.refused - len(siege.silent)
    delayed = f"median wait {siege.ratio:.1f} times that without them ({WELL_BEHAVED} each, all enrolled)"
    log = f"longest line {siege.longest} characters, {siege.unprintable} lines with a control character"
    return {
        "outside": Shown(not wrong, figure + "".join(f"; {one}" for one in wrong[:5])),
        "told": Shown(not siege.silent, f"{told} of {siege.refused}" + "".join(f"; {one}" for one in siege.silent[:3])),
        "delayed": Shown(len(siege.among) == WELL_BEHAVED and siege.ratio <= MOST, delayed),
        "log": Shown(siege.longest <= LINE and not siege.unprintable, log),
    }
