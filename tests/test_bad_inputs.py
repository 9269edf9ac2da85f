"""Every mistake of the corpus is refused by ingest or prepare with exactly the line it deserves, and leaves nothing.

Reference: the lines written beside the cases in tests/bad_inputs/.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_inputs import Case, all_cases

from components.ingest import ingest
from components.params import validate
from components.params.ingest import Params as IngestParams
from components.params.prepare import Params
from components.prepare import prepare
from components.runtime.errors import UserError


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_a_mistake_is_answered_with_one_exact_line(
    case: Case, tmp_path: Path, in_directory: Callable[[Path], None]
) -> None:
    in_directory(tmp_path)
    Path("data").mkdir()
    case.make(Path("data"))
    with pytest.raises(UserError) as caught:
        ingest(validate(IngestParams, {"path": "data", **case.ingest}, "ingest"))
        prepare(validate(Params, dict(case.prepare), "prepare"))
    assert str(caught.value) == case.error
    assert not Path("artifacts/prepare").exists()
    assert not list(Path(".work/tmp").glob("*"))
