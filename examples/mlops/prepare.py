"""Write the table: 569 tumours, measured under a microscope, and whether they were malignant."""

from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer

table: pd.DataFrame = load_breast_cancer(as_frame=True).frame
table["diagnosis"] = table.pop("target").map({0: "malignant", 1: "benign"})
table.columns = table.columns.str.replace(" ", "_")
Path("data").mkdir(exist_ok=True)
table.to_parquet("data/tumours.parquet", index=False)
print(f"{len(table)} rows, {table.shape[1] - 1} columns and the diagnosis")
