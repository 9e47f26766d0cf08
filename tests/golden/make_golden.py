#!/usr/bin/env python3
"""Remakes the numbers that test_golden.cpp and test_bench_models.cpp compare with, by PyTorch on the CPU in float64.

    python3 -m venv venv && venv/bin/pip install torch safetensors
    venv/bin/python tests/golden/make_golden.py [NAME ...]

Writes NAME.safetensors beside itself, or all of them. Made with torch 2.15.0 and safetensors 0.8.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
STEPS, BATCH, CLASSES = 20, 9, 5


def make_mlp():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10), torch.nn.Tanh(),
                               torch.nn.Linear(10, 8), torch.nn.GELU(), torch.nn.Linear(8, CLASSES))


def mlp():
    torch.manual_seed(2)
    inputs = torch.randn(STEPS, BATCH, 12)
    labels = torch.randint(0, CLASSES, (STEPS, BATCH))
    labels[:, 3] = -100
    out = {"inputs": inputs, "labels": labels}

    net = make_mlp()
    for name, p in net.named_parameters():
        out[f"initial/{name}"] = p.detach().clone()
    logits = net(inputs[0])
    loss = F.cross_entropy(logits, labels[0])
    loss.backward()
    out["logits"], out["loss"] = logits.detach(), loss.detach()
    for name, p in net.named_parameters():
        out[f"gradient/{name}"] = p.grad

    optimizers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        "dampening": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3),
        "clipped": lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.85, 0.99), eps=1e-7, weight_decay=0.02),
    }
    for case, make in optimizers.items():
        net = make_mlp()
        optimizer = make(net.parameters())
        losses = []
        for x, y in zip(inputs, labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            if case == "clipped":
                torch.nn.utils.clip_grad_norm_(net.parameters(), 0.25)
            optimizer.step()
            losses.append(loss.detach())
        out[f"{case}/losses"] = torch.stack(losses)
        for name, p in net.named_parameters():
            out[f"{case}/{name}"] = p.detach()
    return out


def losses():
    torch.manual_seed(3)
    out = {}

    def add(case, function, input, target, **tensors):
        """The loss, and the gradient of its sum weighted by a random cotangent."""
        input = input.clone().requires_grad_()
        loss = function(input, target, **tensors)
        cotangent = torch.randn_like(loss)
        (loss * cotangent).sum().backward()
        out.update({f"{case}/input": input.detach(), f"{case}/target": target, f"{case}/cotangent": cotangent,
                    f"{case}/loss": loss.detach(), f"{case}/gradient": input.grad})
        out.update({f"{case}/{name}": t for name, t in tensors.items()})

    def with_options(function, **options):
        return lambda input, target, **tensors: function(input, target, **tensors, **options)

    logits, labels = torch.randn(6, 4), torch.tensor([3, 0, 2, 1, -100, 3])
    weight = torch.tensor([0.5, 2.0, 1.0, 0.25])
    images, pixels = torch.randn(2, 3, 2, 4), torch.randint(0, 3, (2, 2, 4))
    pixels[1, 0, 2] = 7
    probabilities = torch.softmax(torch.randn(6, 4), 1)
    for reduction in ("mean", "sum", "none"):
        add(f"cross_entropy_{reduction}", with_options(F.cross_entropy, reduction=reduction), logits, labels)
        add(f"cross_entropy_weight_smoothing_{reduction}",
            with_options(F.cross_entropy, reduction=reduction, label_smoothing=0.2), logits, labels, weight=weight)
        add(f"cross_entropy_images_{reduction}", with_options(F.cross_entropy, reduction=reduction, ignore_index=7),
            images, pixels, weight=torch.tensor([1.5, 0.5, 1.0]))
        add(f"cross_entropy_probabilities_{reduction}",
            with_options(F.cross_entropy, reduction=reduction, label_smoothing=0.1), logits, probabilities,
            weight=weight)
        add(f"nll_{reduction}", with_options(F.nll_loss, reduction=reduction), torch.log_softmax(logits, 1), labels,
            weight=weight)
        add(f"mse_{reduction}", with_options(F.mse_loss, reduction=reduction), logits, probabilities)
        add(f"l1_{reduction}", with_options(F.l1_loss, reduction=reduction), logits, probabilities)
        add(f"bce_{reduction}", with_options(F.binary_cross_entropy_with_logits, reduction=reduction), logits,
            probabilities, weight=torch.rand(6, 1), pos_weight=weight)
    add("cross_entropy_vector", F.cross_entropy, logits[0], torch.tensor(2))
    add("cross_entropy_image_probabilities", F.cross_entropy, images, torch.softmax(torch.randn(2, 3, 2, 4), 1))
    add("cross_entropy_large", F.cross_entropy, 1e4 * logits, labels)
    add("bce_large", F.binary_cross_entropy_with_logits, 1e3 * logits, (probabilities > 0.25).double())
    return out


def models():
    torch.manual_seed(4)
    out = {}

    def add(case, net, input):
        """The output, and the gradients of its sum weighted by a random cotangent."""
        for p in net.parameters():  # some start as zeros and ones
            torch.nn.init.normal_(p, 0.2, 0.5)
        input.requires_grad_()
        output = net(input)
        output = output[0] if isinstance(output, tuple) else output
        cotangent = torch.randn_like(output)
        output.backward(cotangent)
        out.update({f"{case}/input": input.detach(), f"{case}/cotangent": cotangent, f"{case}/output": output.detach(),
                    f"{case}/gradient": input.grad})
        for name, p in net.named_parameters():
            out.update({f"{case}/initial/{name}": p.detach(), f"{case}/gradient/{name}": p.grad})

    add("lstm", torch.nn.LSTM(3, 5), torch.randn(4, 2, 3))
    add("encoder_layer", torch.nn.TransformerEncoderLayer(6, 2, 7, dropout=0, batch_first=True), torch.randn(2, 4, 6))
    return out


def add_case(out, case, function, inputs, **constants):
    """The value of a function of named inputs, and their gradients by a random cotangent."""
    inputs = {name: t.clone().requires_grad_() for name, t in inputs.items()}
    value = function(**inputs, **constants)
    cotangent = torch.randn_like(value)
    (value * cotangent).sum().backward()
    out.update({f"{case}/value": value.detach(), f"{case}/cotangent": cotangent})
    out.update({f"{case}/{name}": t for name, t in constants.items()})
    for name, t in inputs.items():
        out[f"{case}/{name}"] = t.detach()
        out[f"{case}/gradient/{name}"] = t.grad


def losses2():
    torch.manual_seed(4)
    out = {}
    # Multiples of 1/4: some differences lie on the kinks.
    a, b = torch.randint(-8, 9, (7, 5)) / 4, torch.randint(-8, 9, (7, 5)) / 4
    p, q = torch.rand(7, 5), torch.rand(7, 5)
    weight = torch.rand(5)
    for reduction in ("mean", "sum", "none"):
        for name, function in {
                "smooth_l1": lambda input, target: F.smooth_l1_loss(input, target, reduction=reduction),
                "smooth_l1_half": lambda input, target: F.smooth_l1_loss(input, target, reduction=reduction, beta=0.5),
                "smooth_l1_zero": lambda input, target: F.smooth_l1_loss(input, target, reduction=reduction, beta=0),
                "huber": lambda input, target: F.huber_loss(input, target, reduction=reduction),
                "huber_half": lambda input, target: F.huber_loss(input, target, reduction=reduction, delta=0.5)}.items():
            add_case(out, f"{name}_{reduction}", function, {"input": a, "target": b})
        add_case(out, f"bce_{reduction}",
                 lambda input, target: F.binary_cross_entropy(input, target, reduction=reduction),
                 {"input": p, "target": q})
        add_case(out, f"bce_weight_{reduction}",
                 lambda input, target, weight: F.binary_cross_entropy(input, target, weight, reduction=reduction),
                 {"input": p}, target=q, weight=weight)
    # Values alone where a logarithm is clamped.
    edges = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1e-50, 1e-30])
    targets = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0, 0.5, 1.0, 1.0])
    out.update({"bce_edges/input": edges, "bce_edges/target": targets,
                "bce_edges/value": F.binary_cross_entropy(edges, targets, reduction="none")})
    return out


def layers():
    torch.manual_seed(5)
    out = {}
    x, image = torch.randn(4, 6, 5), torch.randn(3, 4, 5, 2) * 3 + 1
    add_case(out, "layer_norm", lambda x, weight, bias: F.layer_norm(x, (5,), weight, bias),
             {"x": x, "weight": torch.randn(5), "bias": torch.randn(5)})
    add_case(out, "layer_norm_two", lambda x, weight: F.layer_norm(x, (6, 5), weight, eps=0.1),
             {"x": x, "weight": torch.randn(6, 5)})
    add_case(out, "layer_norm_plain", lambda x: F.layer_norm(x, (5,)), {"x": x})
    add_case(out, "rms_norm", lambda x, weight: F.rms_norm(x, (5,), weight), {"x": x, "weight": torch.randn(5)})
    add_case(out, "rms_norm_eps", lambda x: F.rms_norm(x, (6, 5), eps=0.1), {"x": x})

    def embedding(name, **options):
        index = torch.randint(0, 7, (3, 4))
        index[0, 1] = index[2, 3] = 2
        add_case(out, name, lambda weight, index: F.embedding(index, weight, **options), {"weight": torch.randn(7, 3)},
                 index=index)
    embedding("embedding")
    embedding("embedding_padding", padding_idx=2)

    # Three batches in training, one in evaluation; the statistics after each.
    for name, make, batches in (
            ("batch_norm1d", lambda: torch.nn.BatchNorm1d(6), [torch.randn(5, 6) * 2 + 1 for _ in range(4)]),
            ("batch_norm1d_length", lambda: torch.nn.BatchNorm1d(6, momentum=0.3, eps=0.01),
             [torch.randn(2, 6, 5) * 2 + 1 for _ in range(4)]),
            ("batch_norm2d", lambda: torch.nn.BatchNorm2d(4), [torch.randn(3, 4, 5, 2) * 3 - 1 for _ in range(4)]),
            ("batch_norm2d_cumulative", lambda: torch.nn.BatchNorm2d(4, momentum=None),
             [torch.randn(3, 4, 5, 2) * 3 - 1 for _ in range(4)]),
            ("batch_norm2d_plain", lambda: torch.nn.BatchNorm2d(4, affine=False),
             [torch.randn(3, 4, 5, 2) * 3 - 1 for _ in range(4)]),
            ("batch_norm2d_untracked", lambda: torch.nn.BatchNorm2d(4, track_running_stats=False),
             [torch.randn(3, 4, 5, 2) * 3 - 1 for _ in range(4)])):
        module = make()
        if module.affine:
            with torch.no_grad():
                module.weight.copy_(torch.randn_like(module.weight))
                module.bias.copy_(torch.randn_like(module.bias))
            out[f"{name}/weight"], out[f"{name}/bias"] = module.weight.detach().clone(), module.bias.detach().clone()
        for i, batch in enumerate(batches):
            module.train(i < 3)
            module.zero_grad()
            add_case(out, f"{name}/{i}", lambda x: module(x), {"x": batch})
            for parameter_name, p in module.named_parameters():
                out[f"{name}/{i}/gradient/{parameter_name}"] = p.grad.clone()
            for buffer_name, b in module.named_buffers():
                out[f"{name}/{i}/after/{buffer_name}"] = b.clone()
    return out


def make_cnn():
    torch.manual_seed(6)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(32, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, CLASSES))


def cnn():
    torch.manual_seed(7)
    inputs = torch.randn(STEPS, 4, 2, 9, 8)
    labels = torch.randint(0, CLASSES, (STEPS, 4))
    out = {"inputs": inputs, "labels": labels}
    net = make_cnn()
    out.update({f"initial/{name}": t.clone() for name, t in net.state_dict().items()})
    # Two batches in training, then one in evaluation.
    for i, mode in enumerate(("train", "train", "eval")):
        net.train(mode == "train")
        net.zero_grad()
        x = inputs[i].clone().requires_grad_()
        logits = net(x)
        loss = F.cross_entropy(logits, labels[i])
        loss.backward()
        out.update({f"{i}/logits": logits.detach(), f"{i}/loss": loss.detach(), f"{i}/gradient": x.grad})
        out.update({f"{i}/gradient/{name}": p.grad.clone() for name, p in net.named_parameters()})
        out.update({f"{i}/after/{name}": b.clone() for name, b in net.named_buffers()})

    net = make_cnn()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.05)
    losses = []
    for x, y in zip(inputs, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    out["losses"] = torch.stack(losses)
    out.update({f"final/{name}": t.clone() for name, t in net.state_dict().items()})
    return out


def joined(optimizer, steps, factor, after):
    """A schedule after a linear warm-up."""
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=factor, total_iters=steps)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, after], milestones=[steps])


def groups():
    """The MLP of mlp() with groups of parameters, a schedule and a frozen layer."""
    data, out = mlp(), {}
    schedulers = torch.optim.lr_scheduler
    cases = {
        "adamw": (lambda g: torch.optim.AdamW(g, lr=0.01, weight_decay=0.1), {"lr": 0.002, "weight_decay": 0.3},
                  lambda o: joined(o, 4, 0.25, schedulers.CosineAnnealingLR(o, 12, eta_min=1e-4))),
        "adam": (lambda g: torch.optim.Adam(g, lr=0.01, eps=1e-6), {"betas": (0.8, 0.95), "weight_decay": 0.05},
                 lambda o: schedulers.StepLR(o, 6, gamma=0.3)),
        "sgd": (lambda g: torch.optim.SGD(g, lr=0.05, momentum=0.9, nesterov=True), {"lr": 0.2, "momentum": 0.5},
                lambda o: schedulers.CosineAnnealingLR(o, 20)),
    }
    for case, (make, own, schedule) in cases.items():
        net = make_mlp()
        net[2].requires_grad_(False)
        layer = [list(net[i].parameters()) for i in (0, 2, 4, 6)]
        optimizer = make([dict(params=layer[0] + layer[1], **own), dict(params=layer[2] + layer[3])])
        scheduler = schedule(optimizer)
        losses, rates = [], []
        for x, y in zip(data["inputs"], data["labels"]):
            rates.append(torch.tensor([g["lr"] for g in optimizer.param_groups]))
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.detach())
        out[f"{case}/losses"], out[f"{case}/rates"] = torch.stack(losses), torch.stack(rates)
        out.update({f"{case}/{name}": p.detach() for name, p in net.named_parameters()})
    return out


def schedules():
    """The learning rates of two groups at steps 0 .. 40."""
    schedulers, out = torch.optim.lr_scheduler, {}
    for name, make in {
            "step": lambda o: schedulers.StepLR(o, 7),
            "step_half": lambda o: schedulers.StepLR(o, 3, gamma=0.5),
            "cosine": lambda o: schedulers.CosineAnnealingLR(o, 15),
            "cosine_min": lambda o: schedulers.CosineAnnealingLR(o, 40, eta_min=0.003),
            "step_warmup": lambda o: joined(o, 5, 1 / 3, schedulers.StepLR(o, 7)),
            "cosine_warmup": lambda o: joined(o, 8, 0.01, schedulers.CosineAnnealingLR(o, 32, eta_min=1e-5))}.items():
        a, b = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([dict(params=[a], lr=0.1), dict(params=[b], lr=0.025)])
        scheduler = make(optimizer)
        rates = []
        for _ in range(41):
            rates.append(torch.tensor([g["lr"] for g in optimizer.param_groups]))
            optimizer.step()
            scheduler.step()
        out[name] = torch.stack(rates)
    return out


for make in (mlp, losses, losses2, layers, cnn, groups, schedules, models):
    if sys.argv[1:] and make.__name__ not in sys.argv[1:]:
        continue
    save_file({name: t.clone() for name, t in make().items()}, HERE / f"{make.__name__}.safetensors")
