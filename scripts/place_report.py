"""Put an executed notebook into its report's folder: place_report.py EXECUTED ROOT"""

import sys
from pathlib import Path

from fvdm.experiments import place_notebook

print(place_notebook(*map(Path, sys.argv[1:])))
