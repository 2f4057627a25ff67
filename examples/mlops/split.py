"""Split the rows: 70 % to train, 15 % to evaluate, 15 % held out to compare a new model with the champion."""

from pathlib import Path

import pandas as pd
import yaml
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text())["split"]
table = pd.read_parquet("data/tumours.parquet")
n_validation, n_heldout = (round(params[part] * len(table)) for part in ("validation", "heldout"))

rest, heldout = train_test_split(table, test_size=n_heldout, stratify=table["diagnosis"], random_state=params["seed"])
train, validation = train_test_split(
    rest, test_size=n_validation, stratify=rest["diagnosis"], random_state=params["seed"]
)
for name, part in {"train": train, "validation": validation, "heldout": heldout}.items():
    part.to_parquet(f"data/{name}.parquet", index=False)
    print(f"{name}: {len(part)} rows, {(part['diagnosis'] == 'malignant').mean():.0%} malignant")
