"""A custom module: a small convolutional network for images of digits."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn

from sknn import NeuralClassifier


def convolutional(in_features, out_features):
    """Return two convolutions and a linear layer; `in_features` is a row's shape, here (channels, height, width)."""
    channels, height, width = in_features
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * (height // 2) * (width // 2), out_features),
    )


def main():
    digits = load_digits()
    images = digits.images[:, None] / 16  # (rows, 1, 8, 8), values from 0 to 1
    X_train, X_test, y_train, y_test = train_test_split(images, digits.target, random_state=0, stratify=digits.target)
    clf = NeuralClassifier(module=convolutional, ensemble_size=1, max_iter=20, random_state=0).fit(X_train, y_train)
    linear = LogisticRegression(max_iter=1000).fit(X_train.reshape(len(X_train), -1), y_train)
    print(f"{len(X_train)} images of shape {X_train.shape[1:]}, {clf.n_iter_} epochs")
    print(f"Accuracy of the convolutional network: {clf.score(X_test, y_test):.3f}")
    print(f"Accuracy of logistic regression:       {linear.score(X_test.reshape(len(X_test), -1), y_test):.3f}\n")
    print(clf.module_.members[0])
    return clf, X_test, y_test


if __name__ == "__main__":
    main()
