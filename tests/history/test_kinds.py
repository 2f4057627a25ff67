"""Members grouped by their kinds."""

import pytest

from sknn.history.kinds import KIND_COLOURS, group_members


def test_members_are_grouped_in_the_order_of_their_first_member():
    kinds = group_members(["b", "a", "b"], [0.1, 0.6, 0.3])

    assert [(kind.name, kind.members, kind.colour) for kind in kinds] == [
        ("b", [0, 2], KIND_COLOURS[0]),
        ("a", [1], KIND_COLOURS[1]),
    ]
    assert [kind.weight for kind in kinds] == pytest.approx([0.4, 0.6])
    assert list(map(str, kinds)) == ["b: 2 members, weight 0.40", "a: 1 member, weight 0.60"]


def test_without_weights_none_is_named():
    assert list(map(str, group_members(["a", "a"]))) == ["a: 2 members"]


def test_colours_repeat_if_there_are_more_kinds():
    kinds = group_members([str(i) for i in range(6)])

    assert [kind.colour for kind in kinds] == [*KIND_COLOURS, *KIND_COLOURS[:2]]


def luminance(colour):
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", KIND_COLOURS)
@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_colours_are_visible_on_light_and_dark_pages(colour, page):
    dark, light = sorted([luminance(colour), luminance(page)])

    assert (light + 0.05) / (dark + 0.05) >= 3  # the least that WCAG 2 asks for in a picture
