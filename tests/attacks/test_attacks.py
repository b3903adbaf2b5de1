from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moc.attacks import ATTACKS, AttackError, Threat
from moc.attacks.victim import climb
from moc.errors import StudyError


def make(name, **settings):
    return ATTACKS.make({"kind": name, **settings})


def starts_at_random(attack):
    return getattr(attack, "random_start", False)


ALL = (
    make("fgsm", steps=1),
    make("mifgsm", steps=5),
    make("pgd-ce", steps=5),
    make("pgd-margin", steps=5),
    make("pgd-ce", steps=5, random_start=True),
    make("pgd-margin", steps=5, random_start=True),
    make("apgd-ce", steps=5),
    make("apgd-t", steps=5),
    make("fab-t", steps=5),
    make("square", steps=20),
)
THREATS = (Threat(eps=0.1), Threat(norm="L2", eps=0.5))
CASES = [
    pytest.param(
        attack, threat, id=f"{attack.label}{'-r' * starts_at_random(attack)}-{threat.norm}"
    )
    for attack in ALL
    for threat in THREATS
    if (attack.kind, norm := threat.norm) != ("mifgsm", "L2")
]
every_case = pytest.mark.parametrize(("attack", "threat"), CASES)


class Linear(nn.Module):
    """Logits w x + b; parameters or, without any, buffers."""

    def __init__(self, weight, bias, *, buffers=False):
        super().__init__()
        keep = self.register_buffer if buffers else self.register_parameter
        wrap = (lambda t: t) if buffers else nn.Parameter
        keep("weight", wrap(weight))
        keep("bias", wrap(bias))

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight, self.bias)


class Scaled(nn.Module):
    """Another network's logits times a factor plus a shift."""

    def __init__(self, inner, *, factor=1.0, shift=0.0):
        super().__init__()
        self.inner, self.factor, self.shift = inner, factor, shift

    def forward(self, x):
        return self.inner(x) * self.factor + self.shift


class Layer(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def linear(classes, seed, pixels=64):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, pixels, generator=generator)
    return Linear(weight, torch.randn(classes, generator=generator))


def net(classes=4, seed=0, width=16):
    """A small network with a hidden layer; parameters do require gradients."""
    first, last = linear(width, seed), linear(classes, seed + 1, pixels=width)
    return nn.Sequential(first, nn.ReLU(), last)


def images(n=12, seed=0, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, 1, 8, 8, generator=generator)


def labels_of(model, x):
    """The model's own answers: every record starts out right."""
    with torch.no_grad():
        return model(x).argmax(1)


def perturb(attack, model, x, y, threat, *, classes=4, seed=0):
    return attack(model, x, y, threat=threat, classes=classes, seed=seed)


def margins(model, x, y):
    with torch.no_grad():
        logits = model(x)
    own = logits.gather(1, y[:, None]).squeeze(1)
    return own - logits.scatter(1, y[:, None], -math.inf).amax(1)


def worst_margins(model, x, y, threat):
    """The exact worst case of a linear model's margin where no pixel meets 0 or 1."""
    dual = 1 if threat.norm == "Linf" else 2
    logits, weight = model(x), model.weight
    gaps = logits.gather(1, y[:, None]) - logits
    reach = (weight[y][:, None] - weight[None]).norm(p=dual, dim=2)
    return (gaps - threat.eps * reach).scatter(1, y[:, None], math.inf).amin(1).detach()


# What a linear model's worst case is, exactly


@settings(max_examples=25)
@given(
    name=st.sampled_from(["fgsm", "pgd-ce", "pgd-margin", "mifgsm"]),
    norm=st.sampled_from(["Linf", "L2"]),
    steps=st.integers(1, 40),
    eps=st.floats(0.005, 0.3),
    seed=st.integers(0, 1000),
)
def test_two_classes_reach_the_exact_worst_case(name, norm, steps, eps, seed):
    """In particular whatever the number of steps: the step rule always crosses the whole ball."""
    if (name, norm) == ("mifgsm", "L2"):
        norm = "Linf"
    attack = make(name, steps=1 if name == "fgsm" else steps)
    model, x, threat = linear(2, seed), images(4, seed, 0.3, 0.7), Threat(norm=norm, eps=eps)
    y = torch.tensor([0, 1, 0, 1])
    found = perturb(attack, model, x, y, threat, classes=2)
    torch.testing.assert_close(
        margins(model, found, y), worst_margins(model, x, y, threat), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(threat.size(found - x), torch.full((4,), eps), rtol=1e-4, atol=1e-6)


@settings(max_examples=15)
@given(
    name=st.sampled_from(["pgd-ce", "pgd-margin"]),
    steps=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_steps_cross_the_whole_ball_from_any_start(name, steps, seed):
    """Twice eps: a fixed step of 2/255 leaves much of eps 0.1 out of reach in ten steps."""
    model, x, threat = linear(2, seed), images(4, seed, 0.3, 0.7), Threat(eps=0.1)
    y = torch.tensor([0, 1, 0, 1])
    attack = make(name, steps=steps, random_start=True)
    found = perturb(attack, model, x, y, threat, classes=2, seed=seed)
    torch.testing.assert_close(
        margins(model, found, y), worst_margins(model, x, y, threat), rtol=1e-4, atol=1e-4
    )


@every_case
def test_no_attack_passes_the_exact_worst_case(attack, threat):
    model, x = linear(5, 3), images(20, 3, 0.45, 0.55)
    y = labels_of(model, x)
    found = perturb(attack, model, x, y, threat, classes=5)
    assert (margins(model, found, y) >= worst_margins(model, x, y, threat) - 1e-3).all()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["apgd-t", "fab-t"])
def test_targeted_attacks_find_whatever_there_is_to_find(name, norm):
    model, x = linear(5, 4), images(60, 4, 0.3, 0.7)
    y = labels_of(model, x)
    threat = Threat(norm=norm, eps=0.03 if norm == "Linf" else 0.2)
    worst = worst_margins(model, x, y, threat)
    found = perturb(make(name, steps=30), model, x, y, threat, classes=5)
    clear = worst.abs() > 0.02 * worst.abs().max()
    fell = model(found).argmax(1) != y
    assert 0 < int((worst < 0).sum()) < 60
    assert torch.equal(fell[clear], (worst < 0)[clear])


# The defects that other benchmarks met, each shut out


@every_case
def test_normalised_images_cannot_be_attacked(attack, threat):
    x = (images() - 0.5) / 0.25
    with pytest.raises(AttackError, match="normalisation inside the model"):
        perturb(attack, net(), x, torch.zeros(12, dtype=torch.long), threat)


@pytest.mark.parametrize("name", ["cw", "deepfool", "autoattack"])
def test_unsound_attacks_are_not_offered(name):
    with pytest.raises(StudyError, match="'apgd-ce', 'apgd-t'"):
        make(name, steps=10)


def test_every_attack_that_is_offered_is_tested():
    assert {attack.kind for attack in ALL} == set(ATTACKS.parts)


@every_case
def test_random_state_is_neither_changed_nor_read(attack, threat):
    model, x = net(), images()
    y = labels_of(model, x)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = perturb(attack, model, x, y, threat, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(perturb(attack, model, x, y, threat, seed=5), first)


@every_case
@pytest.mark.parametrize("broken", [False, True])
def test_model_is_left_as_it_was(attack, threat, broken):
    """Mixed modes, a frozen parameter, statistics, no gradients: also when the attack fails."""
    head = linear(3 if broken else 4, 0)
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), head)
    model[0].eval()
    head.bias.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    x = images()
    y = torch.zeros(12, dtype=torch.long)
    if broken:
        with pytest.raises(AttackError, match="Logits of shape"):
            perturb(attack, model, x, y, threat)
    else:
        perturb(attack, model, x, y, threat)
    assert [module.training for module in model.modules()] == modes == [True, False, True, True]
    assert [p.requires_grad for p in model.parameters()] == [True, True, True, False]
    assert all(p.grad is None for p in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


@every_case
def test_dropout_is_off_during_the_attack(attack, threat):
    model = net()
    x = images()
    y = labels_of(model, x)
    expected = perturb(attack, model, x, y, threat)
    noisy = nn.Sequential(nn.Dropout(0.5), model).train()
    assert torch.equal(perturb(attack, noisy, x, y, threat), expected)


@every_case
def test_a_shift_of_all_logits_changes_no_outcome(attack, threat):
    """The classifier is the same; torchattacks' Carlini-Wagner would lose its bite here."""
    model, x = net(), images(40)
    y = labels_of(model, x)
    plain, shifted = (
        model(perturb(attack, m, x, y, threat)).argmax(1) == y
        for m in (model, Scaled(model, shift=-50.0))
    )
    assert (plain != shifted).sum() <= 2  # rounding of the shifted logits


@pytest.mark.parametrize("name", ["fgsm", "mifgsm", "pgd-ce", "pgd-margin"])
def test_over_confident_networks_hide_nothing(name):
    """Plain cross-entropy has no gradient at all in float32; ours goes where it did before."""
    model, x = net(), images(30)
    y, threat = labels_of(model, x), Threat(eps=0.1)
    loud = Scaled(model, factor=2.0**16)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(loud(leaf), y, reduction="sum"), leaf)
    assert (gradient == 0).flatten(1).all(1).float().mean() > 0.9
    attack = make(name, steps=1 if name == "fgsm" else 10)
    right = (model(perturb(attack, model, x, y, threat)).argmax(1) == y).sum()
    right_loud = (loud(perturb(attack, loud, x, y, threat)).argmax(1) == y).sum()
    assert right < 15
    assert right_loud <= right + 2


def test_margin_beats_the_flat_gradient_of_cross_entropy():
    model, x = Scaled(net(), factor=2.0**16), images(30)
    y, threat = labels_of(model, x), Threat(eps=0.1)
    flat = perturb(make("apgd-ce", steps=10), model, x, y, threat)
    steep = perturb(make("pgd-margin", steps=10), model, x, y, threat)
    right_flat, right_steep = ((model(z).argmax(1) == y).sum() for z in (flat, steep))
    assert right_steep + 5 < right_flat


def test_cross_entropy_keeps_its_direction():
    """Where float32 can still see it, the climb is that of the cross-entropy itself."""
    model, x = net(), images(30)
    y = labels_of(model, x)
    leaf = x.clone().double().requires_grad_()
    loss = F.cross_entropy(net().double()(leaf), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    found = perturb(make("fgsm", steps=1), model, x, y, Threat(eps=0.1))
    expected = (x + 0.1 * gradient.sign().float()).clamp(0, 1)
    assert ((found - expected).abs() > 1e-6).float().mean() < 0.001


# Guarantees of every attack


@every_case
@settings(max_examples=5)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.1, 1.0, 2.0]))
def test_result_keeps_to_the_budget(attack, threat, seed, share):
    threat = Threat(norm=threat.norm, eps=share * threat.eps)
    model, x = net(seed=seed), images(6, seed).round(decimals=1)
    y = torch.randint(4, (6,), generator=torch.Generator().manual_seed(seed))
    found = perturb(attack, model, x, y, threat, seed=seed)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert threat.size(found - x).max() <= threat.eps + 1e-6


@every_case
def test_every_attack_bites(attack, threat):
    model, x = net(), images(40)
    y = labels_of(model, x)
    with torch.no_grad():
        fell = model(perturb(attack, model, x, y, threat)).argmax(1) != y
    assert fell.sum() >= (5 if attack.kind == "square" else 15)


@every_case
def test_no_budget_and_no_records_change_nothing(attack, threat):
    model, x = net(), images()
    y = labels_of(model, x)
    none = Threat(norm=threat.norm, eps=0.0)
    assert torch.equal(perturb(attack, model, x, y, none), x)
    assert perturb(attack, model, x[:0], y[:0], threat).shape == (0, 1, 8, 8)


@every_case
def test_models_without_parameters_are_attacked_silently(attack, threat, capsys):
    given_model = linear(4, 0)
    bare = Linear(given_model.weight.detach(), given_model.bias.detach(), buffers=True)
    x = images()
    y = labels_of(bare, x)
    expected = perturb(attack, given_model, x, y, threat)
    assert torch.equal(perturb(attack, bare, x, y, threat), expected)
    assert capsys.readouterr().out == ""


@every_case
@pytest.mark.parametrize("size", [3, 30])
def test_vectors_are_attacked_as_they_are(attack, threat, size):
    weight = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(Layer(lambda z: z - 0.5), Linear(weight, torch.zeros(4)))
    x = torch.rand(25, size, generator=torch.Generator().manual_seed(1))
    y = labels_of(model, x)
    found = perturb(attack, model, x, y, threat)
    assert found.shape == x.shape
    assert threat.size(found - x).max() <= threat.eps + 1e-6
    assert (model(found).argmax(1) != y).any()


@every_case
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_enough(attack, threat, classes):
    weight = torch.randn(classes, 64, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(Layer(lambda z: z - 0.5), Linear(weight, torch.zeros(classes)))
    x = images(40)
    y = labels_of(model, x)
    found = perturb(attack, model, x, y, threat, classes=classes)
    assert (model(found).argmax(1) != y).any()


@every_case
def test_a_network_without_any_gradient_survives_the_call(attack, threat):
    """Quantised inputs: the attack cannot do much, but it returns images, not NaN."""
    model = nn.Sequential(Layer(torch.round), net())
    x = images()
    found = perturb(attack, model, x, labels_of(model, x), threat)
    assert found.isfinite().all()


@every_case
def test_outer_no_grad_does_not_matter(attack, threat):
    model, x = net(), images()
    y = labels_of(model, x)
    expected = perturb(attack, model, x, y, threat)
    with torch.no_grad():
        assert torch.equal(perturb(attack, model, x, y, threat), expected)


@every_case
def test_a_model_that_cannot_be_differentiated_is_refused(attack, threat):
    model = nn.Sequential(Layer(lambda x: (x > 0.5).float()), net()).requires_grad_(False)
    x = images()
    y = labels_of(model, x)
    if attack.kind == "square":
        assert (model(perturb(attack, model, x, y, threat)).argmax(1) != y).any()
        return
    with pytest.raises(AttackError, match="gradient"):
        perturb(attack, model, x, y, threat)


# One record on its own

ALONE = [case for case in CASES if case.values[0].per_record]


def test_only_the_attacks_that_draw_nothing_are_per_record():
    assert {a.kind for a in ALL if a.per_record} == {"fgsm", "mifgsm", "pgd-ce", "pgd-margin"}
    assert not any(a.per_record for a in ALL if starts_at_random(a))


@pytest.mark.parametrize(("attack", "threat"), ALONE)
@settings(max_examples=10)
@given(kept=st.lists(st.booleans(), min_size=12, max_size=12).filter(lambda k: sum(k) > 1))
def test_dropping_records_does_not_move_the_others(attack, threat, kept):
    model, x = net(), images()
    y = labels_of(model, x)
    kept = torch.tensor(kept)
    everyone = perturb(attack, model, x, y, threat)
    some = perturb(attack, model, x[kept], y[kept], threat)
    torch.testing.assert_close(some, everyone[kept], rtol=0, atol=1e-6)


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=300))
def test_the_pull_on_a_record_is_the_same_in_any_company(values):
    """Exactly 1: a mean over the call would round differently with one record more."""
    gap = torch.tensor(values, requires_grad=True)
    logits = climb(gap * 1)
    assert torch.equal(logits, torch.zeros(len(values), 2))
    F.cross_entropy(logits, torch.zeros(len(values), dtype=torch.long)).backward()
    assert torch.equal(gap.grad, torch.ones(len(values)))


@pytest.mark.parametrize(
    ("attack", "threat"),
    [c for c in CASES if not c.values[0].per_record and c.values[0].kind != "fab-t"],
)
def test_the_others_do_move(attack, threat):
    """Why they are not per record: a positional random number belongs to the neighbour now."""
    model, x = net(), images()
    y = labels_of(model, x)
    everyone = perturb(attack, model, x, y, threat)
    some = perturb(attack, model, x[1:], y[1:], threat)
    assert (some - everyone[1:]).abs().max() > threat.eps / 10


def test_several_predictors_are_attacked_in_one_call():
    """The use in condensation: (B n, C, H, W) to logits, each block with its own predictor."""
    models = [net(seed=s) for s in (0, 10, 20)]
    joint = Layer(lambda z: torch.cat([m(c) for m, c in zip(models, z.chunk(3), strict=True)]))
    x = images()
    y = labels_of(models[0], x)
    attack, threat = make("pgd-ce", steps=4), Threat(eps=0.1)
    together = perturb(attack, joint, x.repeat(3, 1, 1, 1), y.repeat(3), threat)
    alone = torch.cat([perturb(attack, m, x, y, threat) for m in models])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


# Bad input


@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf, 8.0])
def test_impossible_budgets_are_refused(eps):
    with pytest.raises(ValueError, match=r"eps"):
        Threat(eps=eps)


def test_grey_levels_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="Divide grey levels by 255"):
        Threat(eps=8.0)


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="'Linf' or 'L2'"):
        Threat(norm="L1", eps=0.1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fgsm", {"steps": 2}),
        ("pgd-ce", {"steps": 0}),
        ("pgd-ce", {}),
        ("square", {"steps": 100, "random_start": True}),
        ("mifgsm", {"steps": 5, "random_start": True}),
    ],
)
def test_parts_that_do_not_go_together_are_refused(name, settings):
    with pytest.raises(StudyError, match=r"steps|random_start"):
        make(name, **settings)


def test_momentum_has_no_l2_variant():
    with pytest.raises(AttackError, match="L2"):
        perturb(ALL[1], net(), images(), torch.zeros(12, dtype=torch.long), THREATS[1])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            images().nan_to_num() * math.nan,
            torch.zeros(12, dtype=torch.long),
            "found others, or NaN",
        ),
        ((images() * 255).to(torch.uint8), torch.zeros(12, dtype=torch.long), "uint8"),
        (images(), torch.full((12,), 4), "Labels in 0..3"),
        (images(), torch.zeros(11, dtype=torch.long), "12 records"),
        (images(), torch.zeros(12), "integer label"),
    ],
)
def test_records_and_labels_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(AttackError, match=message):
        perturb(ALL[2], net(), x, y, THREATS[0])


def test_a_network_that_returns_nan_is_refused():
    model = Scaled(net(), factor=math.nan)
    with pytest.raises(AttackError, match="NaN"):
        perturb(ALL[2], model, images(), torch.zeros(12, dtype=torch.long), THREATS[1])
