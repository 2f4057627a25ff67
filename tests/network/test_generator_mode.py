"""GeneratorMode: the same numbers as with the global generator, whose state does not change, in any thread."""

import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.checkpoint import checkpoint

from sknn.network.generator_mode import (
    DROPOUT_ARGUMENTS,
    GeneratorMode,
    _draw_with_global_generator,
    find_draw_function,
)

SEED, WAIT = 3, 60  # seconds until a waiting thread gives up
X = torch.linspace(-1, 1, 48).view(8, 6)
SEQUENCES, IMAGES = X.view(2, 4, 6), torch.linspace(-1, 1, 384).view(2, 3, 8, 8)
HALVES = torch.full((9,), 0.5)


def noisy_without_gradients():
    with torch.no_grad():
        return X + torch.randn_like(X) + torch.rand(8, 1)


def dropped_in_inference_mode():
    with torch.inference_mode():
        return F.alpha_dropout(X, 0.5, True)


def gated_units(make, **kwargs):
    """Return outputs of a recurrent layer with two parts and dropout between them."""
    layer = make(6, 6, 2, dropout=0.5, batch_first=True)
    rows = nn.utils.rnn.pack_padded_sequence(SEQUENCES, torch.tensor([4, 2]), batch_first=True)
    return torch.cat([layer(SEQUENCES)[0].flatten(), layer(rows)[0].data.flatten()])


DRAWS = {
    "dropout": lambda: F.dropout(X, 0.5),
    "dropout_in_place": lambda: F.dropout(X.clone(), 0.5, True, True),
    "dropout_of_channels": lambda: F.dropout2d(IMAGES, 0.5),
    "alpha_dropout": lambda: F.alpha_dropout(X, 0.5, True),
    "feature_alpha_dropout": lambda: F.feature_alpha_dropout(IMAGES, 0.5, True),
    "rrelu": lambda: F.rrelu(X, training=True),
    "gumbel_softmax": lambda: F.gumbel_softmax(X),
    "fractional_max_pool": lambda: F.fractional_max_pool2d(IMAGES, 3, output_size=2),
    "attention": lambda: F.scaled_dot_product_attention(SEQUENCES, SEQUENCES, SEQUENCES, dropout_p=0.5),
    "transformer": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5, batch_first=True)(SEQUENCES),
    "lstm": lambda: gated_units(nn.LSTM),
    "gru": lambda: gated_units(nn.GRU),
    "rnn": lambda: gated_units(nn.RNN),
    "without_gradients": noisy_without_gradients,
    "inference_mode": dropped_in_inference_mode,
    "vmap": lambda: torch.func.vmap(lambda row: F.dropout(row, 0.5), randomness="different")(X),
    "bernoulli": lambda: torch.bernoulli(HALVES) + HALVES.bernoulli(0.3) + HALVES.clone().bernoulli_(HALVES),
    "multinomial": lambda: torch.multinomial(torch.ones(5), 2),
    "normal": lambda: torch.normal(0.0, 1.0, (9,)) + torch.normal(HALVES, HALVES) + torch.normal(HALVES, 1.0),
    "uniform": lambda: torch.rand(9) + torch.rand(9, out=torch.empty(9)) + torch.rand_like(HALVES),
    "whole_numbers": lambda: torch.randint(9, (3,)) + torch.randint(2, 9, (3,)) + torch.empty(3).random_(2, 9),
    "permutation": lambda: torch.randperm(9),
    "in_place": lambda: torch.empty(9).exponential_() + torch.empty(9).cauchy_() + torch.empty(9).log_normal_(),
    "geometric": lambda: torch.empty(9).geometric_(0.3),
    "poisson_and_binomial": lambda: torch.poisson(HALVES) + torch.binomial(HALVES * 8, HALVES),
    "gamma": lambda: torch.distributions.Gamma(HALVES, HALVES).rsample(),
    "dirichlet": lambda: torch.distributions.Dirichlet(HALVES).rsample(),
    "initial_weights": lambda: nn.Linear(4, 4).weight + nn.Embedding(4, 4).weight,
    "nn_init": lambda: nn.init.orthogonal_(torch.empty(4, 4)) + nn.init.trunc_normal_(torch.empty(4, 4)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_numbers_agree_with_the_global_generator_of_that_seed_whose_state_does_not_change(draw):
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        expected = draw()
        after = torch.get_rng_state()
    before, mode = torch.get_rng_state(), GeneratorMode(SEED)
    with mode:
        actual = draw()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(actual, expected)
    assert torch.equal(mode.states["cpu"], after)


def test_native_dropout_agrees_with_dropout():
    with GeneratorMode(SEED):
        expected = F.dropout(X, 0.25)
    before = torch.get_rng_state()
    with GeneratorMode(SEED):
        actual, kept = torch.native_dropout(X, 0.25, True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(actual, expected)
    assert torch.equal(kept, (expected != 0) | (X == 0))
    with GeneratorMode(SEED):
        unchanged, kept = torch.native_dropout(X, 0.25, False)
        nothing, _ = torch.native_dropout(X, 1.0, True)
    assert torch.equal(unchanged, X)
    assert kept.all()
    assert not nothing.any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("drop", [F.dropout, lambda x, p: torch.native_dropout(x, p, True)[0]], ids=["", "native"])
def test_dropout_keeps_the_right_share_of_values_and_scales_them_up(rate, drop):
    n = 100_000
    with GeneratorMode(SEED):
        dropped = drop(torch.ones(n), rate)
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))
    assert abs(len(kept) / n - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5  # five standard deviations


@pytest.mark.parametrize("drop", [F.dropout, lambda x, p: torch.native_dropout(x, p, True)[0]], ids=["", "native"])
def test_the_gradient_of_dropout_is_that_of_a_product_with_its_factors(drop):
    x, weight = X.double().requires_grad_(), torch.linspace(0, 1, 6, dtype=torch.float64).requires_grad_()
    with GeneratorMode(SEED):
        factors = drop(torch.ones_like(X, dtype=torch.float64), 0.5)
    with GeneratorMode(SEED):
        z = (drop((x * weight).tanh(), 0.5) ** 2).sum()
    expected = torch.autograd.grad((((x * weight).tanh() * factors) ** 2).sum(), (x, weight))
    torch.testing.assert_close(torch.autograd.grad(z, (x, weight)), expected)
    assert all(gradient.any() for gradient in expected)


def test_draws_of_another_thread_do_not_use_the_mode():
    inside, has_drawn = threading.Event(), threading.Event()
    drawn = {}

    def draw():
        with GeneratorMode(SEED):
            drawn["first"] = torch.rand(3)
            inside.set()
            has_drawn.wait(WAIT)
            drawn["second"] = torch.rand(3)

    with GeneratorMode(SEED):
        expected = [torch.rand(3), torch.rand(3)]
    with torch.random.fork_rng():
        torch.manual_seed(8)
        plain = torch.rand(3)
        torch.manual_seed(8)
        thread = threading.Thread(target=draw)
        thread.start()
        inside.wait(WAIT)
        assert torch.equal(torch.rand(3), plain)
        has_drawn.set()
        thread.join()
    assert torch.equal(drawn["first"], expected[0])
    assert torch.equal(drawn["second"], expected[1])


def test_flags_that_threads_share_are_not_set():
    from torch.utils import _python_dispatch

    with GeneratorMode(SEED):
        assert not _python_dispatch.is_in_torch_dispatch_mode()


def test_a_generator_passed_by_the_module_is_used():
    with GeneratorMode(SEED):
        expected = torch.rand(3)
    with GeneratorMode(SEED):
        passed = torch.rand(3, generator=torch.Generator().manual_seed(8))
        of_mode = torch.rand(3)
    assert torch.equal(passed, torch.rand(3, generator=torch.Generator().manual_seed(8)))
    assert torch.equal(of_mode, expected)


def test_a_mode_made_from_states_continues_from_them():
    mode = GeneratorMode(SEED)
    with mode:
        torch.rand(3)
    other = GeneratorMode.from_states(mode.states)
    with mode:
        expected = torch.rand(3)
    with other:
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_state_of_an_unavailable_device_is_ignored():
    mode = GeneratorMode.from_states({**GeneratorMode(SEED).states, "cuda:0": torch.zeros(16, dtype=torch.uint8)})
    assert list(mode.generators) == ["cpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("draw", ["dropout", "attention", "rand"])
def test_a_gpu_has_its_own_generator(draw):
    x = torch.ones(2, 64, 32, device="cuda")
    draw_numbers = {
        "dropout": lambda: F.dropout(x, 0.5),
        "attention": lambda: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
        "rand": lambda: torch.rand(5, device="cuda"),
    }[draw]
    before = torch.cuda.get_rng_state()
    with GeneratorMode(SEED):
        first, second = draw_numbers(), draw_numbers()
    with GeneratorMode(SEED):
        again = draw_numbers()
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


# --- Kernels without a generator --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel():
    """A custom operation that is tagged as random and takes no generator."""
    library = torch.library.Library("sknn_tests", "DEF")
    library.define("noisy(Tensor x, float dropout_p=0.5) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,))
    library.impl("noisy", lambda x, dropout_p=0.5: x + torch.rand(x.shape) * dropout_p, "CPU")
    yield torch.ops.sknn_tests.noisy
    library._destroy()


def test_a_kernel_without_a_generator_uses_the_modes_state_and_the_global_state_is_restored(kernel):
    before, mode = torch.get_rng_state(), GeneratorMode(SEED)
    with mode:
        first, second = kernel(X), kernel(X)
    assert torch.equal(torch.get_rng_state(), before)
    with GeneratorMode(SEED):
        torch.testing.assert_close(first, X + torch.rand(X.shape) / 2)
        torch.testing.assert_close(second, X + torch.rand(X.shape) / 2)


def test_a_kernel_with_dropout_0_is_called_unchanged(kernel):
    mode = GeneratorMode(SEED)
    with mode:
        assert torch.equal(kernel(X, 0.0), X)
    assert torch.equal(mode.states["cpu"], GeneratorMode(SEED).states["cpu"])


def test_only_kernels_with_a_dropout_argument_draw_without_a_generator():
    left = set()
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = name.partition("::")
        base, _, overload = rest.partition(".")
        if namespace == "aten":
            func = getattr(getattr(torch.ops.aten, base), overload or "default")
            draw = find_draw_function(func)
            names = {argument.name for argument in func._schema.arguments}
            assert "generator" not in names or draw is not None, name
            if getattr(draw, "func", None) is _draw_with_global_generator and not names & set(DROPOUT_ARGUMENTS):
                left.add(base)
    assert left <= {"_nested_tensor_softmax_with_shape", "native_dropout"}  # the latter if it writes to `out`


# --- Checkpoints and compilers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_draw_inside_a_checkpoint_raises(use_reentrant):
    x = X.clone().requires_grad_()
    message = (
        r"^module draws random numbers \(for example dropout\) inside torch\.utils\.checkpoint, which would draw "
        r"different numbers when it computes that part again in the backward pass\. Leave that part out of the "
        r"checkpoint, or draw before it\.$"
    )
    with GeneratorMode(SEED), pytest.raises(RuntimeError, match=message):
        checkpoint(lambda x: F.dropout(x, 0.5), x, use_reentrant=use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_checkpoint_without_draws_does_not_change_the_gradient(use_reentrant):
    x, other = X.clone().requires_grad_(), X.clone().requires_grad_()
    with GeneratorMode(SEED):
        checkpoint(torch.tanh, F.dropout(x, 0.5), use_reentrant=use_reentrant).sum().backward()
    with GeneratorMode(SEED):
        F.dropout(other, 0.5).tanh().sum().backward()
    assert torch.equal(x.grad, other.grad)


def test_a_compiled_module_draws_the_same_numbers():
    plain = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.5))
    compiled = torch.compile(plain, backend="eager")
    torch.testing.assert_close(compiled.eval()(X), plain.eval()(X))
    plain.train()
    compiled.train()
    with GeneratorMode(SEED):
        expected = plain(X)
    before = torch.get_rng_state()
    for _ in range(2):
        with GeneratorMode(SEED):
            assert torch.equal(compiled(X), expected)
    assert torch.equal(torch.get_rng_state(), before)
