"""Times and what methods give, where the comparison with Go (tests/oracle) does not reach."""

from __future__ import annotations

import pytest

from treebuilder.errors import SpecError
from treebuilder.template import Templates

DAY = '(toDate "2006-01-02" "2020-02-29")'


def render(text: str, values: dict[str, object] | None = None) -> str:
    return Templates(epoch_s=86_400).render(text.replace("DAY", DAY), values or {}, file="f")


def test_a_month_is_a_number_with_a_name() -> None:
    text = '{{ $m := DAY.Month }}{{ $m }}|{{ printf "%02d" $m }}|{{ eq $m 2 }}|{{ add $m 1 }}|{{ typeOf $m }}'
    assert render(text) == "February|02|true|3|time.Month"


def test_now_is_a_local_time_of_the_epoch() -> None:
    assert render("{{ (now.AddDate 0 1 0).Sub now }}|{{ now.Location }}|{{ now.Weekday }}") == "744h0m0s|Local|Friday"
    assert render("{{ toYaml now }}|{{ toJson (list now) }}") == '1970-01-02T00:00:00Z|["1970-01-02T00:00:00Z"]'


def test_times_can_be_compared_as_newer_engines_do() -> None:
    assert render("{{ now.Compare (now.Add 1) }}{{ now.Compare now }}{{ (now.Add 1).Compare now }}") == "-101"


def test_a_zone_goes_on_beyond_the_years_that_python_knows() -> None:
    text = '{{ dateInZone "2006 MST -0700" (DAY.AddDate 20000 5 0) "Europe/Berlin" }}'
    assert render(text) == "22020 CEST +0200"


def test_months_wrap_around_as_gos_do() -> None:
    assert render('{{ (toDate "2006-01-02" "2020-01-29").AddDate 0 9223372036854775807 0 }}') == (
        "2019-12-28 21:07:12 +0000 UTC"
    )


@pytest.mark.parametrize(
    "call",
    ["now.Add .Values.n", "now.AddDate 1 2", "now.Sub 1", "now.Nothing", "now.Month.Nothing", "now.Format 1",
     "now.Year 1", "now.Date", "now.Truncate 1.5"],
)  # fmt: skip
def test_methods_take_what_gos_take(call: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(f"{{{{ {call} }}}}", {"n": 5})
    assert caught.value.reason == "template"


def test_versions_count_in_unsigned_numbers() -> None:
    text = '{{ $v := semver "v1.2.3" }}{{ typeOf $v.Major }}|{{ $v.IncMajor }}|{{ typeOf $v.IncMajor }}'
    assert render(text) == "uint64|2.0.0|semver.Version"


def test_what_yaml_cannot_hold_is_an_error() -> None:
    with pytest.raises(SpecError, match="complex128"):
        render("{{ toYaml 1i }}")
