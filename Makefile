# `make demo` and `make test` create their own environment in .venv.
# They update it only if pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
TENSORFLOW := .venv-tensorflow
# A test process on each core; tests/conftest.py gives each one thread.
PYTEST := -m pytest --numprocesses auto --dist loadfile
PIP_FLAGS := --quiet --quiet --disable-pip-version-check --no-input

# The oldest versions that pyproject.toml allows.  torch has the version of constraints.txt, because older ones would
# bring several GB of CUDA packages.  pyparsing has the age of matplotlib 3.9.
OLDEST_VERSIONS := numpy==2.0.0 scipy==1.13.0 scikit-learn==1.7.0 skorch==1.1.0 torch==2.13.0 pandas==2.2.2 \
	matplotlib==3.9.0 polars==1.0.0 pyarrow==16.1.0 hypothesis==6.100.0 numpydoc==1.8.0 pytest==8.2.0 \
	pytest-timeout==2.3.1 pytest-xdist==3.6.1 safetensors==0.4.3 tensorboard==2.18.0 pyparsing==3.1.2 joblib==1.4.0 threadpoolctl==3.1.0 \
	dask==2025.1.0 distributed==2025.1.0 optuna==4.0.0 optuna-integration==4.0.0 flaml==2.3.0 lightgbm==4.5.0 \
	tqdm==4.66.0 xgboost-cpu==2.1.3 onnx==1.20.1 onnxruntime==1.32.0 skl2onnx==1.20.0 onnxscript==0.6.2 skops==0.12.0 \
	rich==13.7.0 wandb==0.22.3 mlflow-skinny==3.10.1 sqlalchemy==2.0.40 alembic==1.14.0 cloudpickle==3.0.0 dvc==3.67.0

.PHONY: demo mlops test test-all test-service lint bench test-oldest test-tensorflow clean serve
.DEFAULT_GOAL := help

help:  ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 26

demo: $(VENV)/.ready  ## Train on real data, compare with baselines, draw, save and load
	@$(VENV)/bin/python examples/demo.py

serve: $(VENV)/.ready  ## Train a model on real data and serve it: a page, an API and metrics; PORT=9000 changes the port
	@$(VENV)/bin/python examples/serve.py --port $(or $(PORT),8080)

mlops: $(VENV)/.ready  ## Run the pipeline of examples/mlops in demo/mlops: data, training, export, registration
	@$(VENV)/bin/python examples/mlops/run.py

test: $(VENV)/.ready  ## Run the tests, and the examples in docstrings and documentation
	@$(VENV)/bin/python $(PYTEST)

test-all: $(VENV)/.ready  ## Run all tests, including the slow ones
	@$(VENV)/bin/python $(PYTEST) -m 'not tensorflow and not service'

test-service: $(VENV)/.ready  ## Run the tests that start real servers, browsers or pipelines
	@$(VENV)/bin/python $(PYTEST) -m service

lint: $(VENV)/.ready  ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test-oldest: $(OLDEST)/.ready  ## Run all tests with the oldest supported versions
	@$(OLDEST)/bin/python $(PYTEST) -m 'not tensorflow and not service'

test-tensorflow: $(TENSORFLOW)/.ready  ## Run the tests that need TensorFlow, in an environment of 1.4 GB
	@$(TENSORFLOW)/bin/python -m pytest -m tensorflow tests/export tests/cli/test_export.py

bench: $(VENV)/.ready  ## Compare speed and memory with other libraries; writes docs/benchmarks.md
	@$(VENV)/bin/python -m benchmarks

clean:  ## Remove the environments and all generated files
	rm -rf $(VENV) $(OLDEST) $(TENSORFLOW) demo dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find sknn tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# An existing environment is kept and updated.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (the first time takes a minute or two) ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[test,lint]'
	@touch $@

$(OLDEST)/.ready: pyproject.toml Makefile
	@echo "Setting up $(OLDEST) (the first time takes a minute or two) ..."
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install $(PIP_FLAGS) -e '.[test]' $(OLDEST_VERSIONS)
	@touch $@

$(TENSORFLOW)/.ready: pyproject.toml constraints.txt
	@echo "Setting up $(TENSORFLOW) (the first time takes a few minutes) ..."
	@test -x $(TENSORFLOW)/bin/python || $(PYTHON) -m venv $(TENSORFLOW)
	@$(TENSORFLOW)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[test,tensorflow]'
	@touch $@
