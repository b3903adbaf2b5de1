"""Write scikit-learn's breast cancer data (Wisconsin, 1995) as a table, for breast_cancer.toml.

569 rows, 30 columns of numbers, and the diagnosis in words. Nothing is fetched.

    python studies/write_breast_cancer.py [FILE]      breast_cancer.csv beside this file if left out
"""

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer


def write(path: Path) -> None:
    """Write the table to `path`."""
    data = load_breast_cancer(as_frame=True)
    table = data.data.assign(diagnosis=data.target_names[data.target])
    table.to_csv(path, index=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("breast_cancer.csv"))
