#!/usr/bin/env python3
"""Remakes the numbers that test_golden.cpp and test_bench_models.cpp compare with, by PyTorch on the CPU in float64.

    python3 -m venv venv && venv/bin/pip install torch safetensors
    venv/bin/python tests/golden/make_golden.py

Writes mlp.safetensors, losses.safetensors and models.safetensors beside itself. Made with torch 2.15.0 and safetensors
0.8.
"""
import pathlib

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


for file, tensors in (("mlp", mlp()), ("losses", losses()), ("models", models())):
    save_file({name: t.clone() for name, t in tensors.items()}, HERE / f"{file}.safetensors")
