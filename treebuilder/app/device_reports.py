"""What became of an upgrade, posted to the channel's `report_url`. Nothing waits for it, and nothing fails by it."""

from __future__ import annotations

from treebuilder.app.device import Site
from treebuilder.channel.results import Result, device_name, result_bytes
from treebuilder.device import health
from treebuilder.device.followed import due
from treebuilder.device.states import Device
from treebuilder.errors import TreebuildError
from treebuilder.events import Warned

_TIMEOUT_S = (5.0, 10.0)
_LONGEST = 200


def report(site: Site, device: Device) -> int:
    """Posts what is due; what could not be posted is due the next time. How many were posted."""
    channels = site.channels()
    posted = 0
    for each, good, why in due(channels, device, healthy=health.passed(site.memory, site.started.boot_id)):
        name = device_name(site.machine_id, each.channel)
        result = Result(each.channel, each.snapshot, name, good, why[:_LONGEST])
        try:
            _post(each.report_url, result_bytes(result))
            # An upgrade may have remembered more while the other side took its time.
            site.remember(site.channels().mark(each, "good" if good else "failed"))
            posted += 1
        except TreebuildError as err:
            site.events.emit(Warned(f"the result of {each.version} was not reported: {err.message}"))
    return posted


def _post(url: str, data: bytes) -> None:
    """Raises TreebuildError for whatever goes wrong."""
    import requests

    from treebuilder.oci.connection import short
    from treebuilder.oci.session import new_session

    headers = {"Content-Type": "application/json"}
    try:
        with (
            new_session(connections=1) as session,
            session.post(
                url, data=data, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False, stream=True
            ) as reply,
        ):
            status = int(reply.status_code)  # what it says besides is not read
    except (requests.RequestException, ValueError, OSError) as err:
        raise TreebuildError(f"{url}: {short(err)}") from err
    if not 200 <= status < 300:
        raise TreebuildError(f"{url}: the server answered {status}")
