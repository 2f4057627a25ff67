"""A raw table with strings, categories and missing values in cross-validation, a Pipeline and a grid search."""

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sknn import NeuralRegressor


def table():
    """Return the diabetes data with the sex as a string, the age as a category, and missing blood values."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X["sex"] = X["sex"].map({1.0: "female", 2.0: "male"})
    X["age"] = (X["age"] // 10 * 10).astype(int).astype(str).add("s").astype("category")
    blood = ["s1", "s2", "s3"]
    X[blood] = X[blood].mask(np.random.default_rng(0).random((len(X), len(blood))) < 0.2)
    return X, y


def main():
    X, y = table()
    print("A raw table:\n")
    print(X.head().to_string(index=False), "\n")
    reg = NeuralRegressor(hidden_layer_sizes=(64,), max_iter=30, ensemble_size=4, random_state=0)

    scores = cross_val_score(reg, X, y, cv=5)
    print(f"cross_val_score, R2: {scores.mean():.3f} +- {scores.std():.3f}")

    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    squares = make_column_transformer(
        (PolynomialFeatures(2, include_bias=False), ["bmi", "bp"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipeline = make_pipeline(squares, reg).fit(X_train, y_train)
    print(f"Pipeline with squares of two columns, R2 on new rows: {pipeline.score(X_test, y_test):.3f}")

    grid = {"hidden_layer_sizes": [(64,), (64, 64)], "dropout": [0.0, 0.3]}
    search = GridSearchCV(reg, grid, cv=3).fit(X_train, y_train)
    print(f"GridSearchCV chose {search.best_params_}, R2 on new rows: {search.score(X_test, y_test):.3f}")
    return search


if __name__ == "__main__":
    main()
