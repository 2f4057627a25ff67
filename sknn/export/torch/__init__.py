"""Fitted estimators as `torch.export` programs."""
