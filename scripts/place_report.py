"""Put an executed notebook in its place, whole, without the progress bars that it printed: place_report.py EXECUTED PLACE"""
import sys
from pathlib import Path

import nbformat

from fvdm.data import write_whole

executed, place = map(Path, sys.argv[1:])
notebook = nbformat.read(executed, as_version=4)
for cell in notebook.cells:
    if cell.cell_type == "code": cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
write_whole(place, nbformat.writes(notebook))
executed.unlink()
print(place)
