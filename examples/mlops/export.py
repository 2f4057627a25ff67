"""Export the model as an ONNX graph, which is compared with the model on the training rows."""

import pandas as pd

import sknn
from sknn.export import to_onnx

X = pd.read_parquet("data/train.parquet").drop(columns="diagnosis")
to_onnx(sknn.load("models/tumour.sknn"), X, path="models/tumour.onnx")
print("models/tumour.onnx agrees with models/tumour.sknn")
