"""The executed notebooks that are kept: every cell ran without an error, no progress bars, no place on the machine that made them."""
import json
import re
from pathlib import Path

import pytest

REPORTS = sorted((Path(__file__).parent.parent / "reports").glob("*.ipynb"))
ABSOLUTE = re.compile(r"""(?:^|[\s"'`(=])(/[\w.-]+/[\w.-]+|[A-Za-z]:\\)""")   # a path from the root, of any machine; an address has its // behind a colon


@pytest.mark.parametrize("file", REPORTS, ids=lambda f: f.stem)
def test_report_is_clean(file):
    notebook = json.loads(file.read_text())
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    assert not notebook["metadata"]["papermill"]["exception"] and not any(o["output_type"] == "error" for o in outputs)
    assert not [o for o in outputs if o.get("name") == "stderr"], "progress bars: scripts/place_report.py leaves them out"
    said = json.dumps([notebook["metadata"], *(c["source"] for c in notebook["cells"])]) + "".join("".join(o.get("text", "")) for o in outputs)
    assert not ABSOLUTE.findall(said)
