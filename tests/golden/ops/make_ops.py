#!/usr/bin/env python3
"""Remakes what PyTorch (on the CPU) answers at kinks, ties, infinities and NaN, which dtypes it gives, and what its
indices select.

    python3 -m venv venv && venv/bin/pip install torch safetensors
    venv/bin/python tests/golden/ops/make_ops.py

Writes special.safetensors, dtypes.safetensors and indexing.safetensors beside itself, for test_ops_special.cpp,
test_ops_dtypes.cpp and test_indexing.cpp. Made with torch 2.15.0 and safetensors 0.8.
"""
import itertools
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
INF, NAN = float("inf"), float("nan")
DTYPES = [torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool]  # in the order of Dtype

# -- special values, in float64 -------------------------------------------------------------------------------------

POINTS = [-INF, -800.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 800.0, INF, NAN]
UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "relu": torch.relu, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "square": torch.square, "reciprocal": torch.reciprocal,
    "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log,
    "log1p": torch.log1p, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "erf": torch.erf, "sin": torch.sin,
    "cos": torch.cos, "tan": torch.tan, "silu": F.silu, "gelu": F.gelu,
    "softplus": F.softplus,
    "clamp(x, -1, 1)": lambda x: torch.clamp(x, -1, 1), "clamp(x, -1)": lambda x: torch.clamp(x, min=-1),
    "clamp(x, {}, 1)": lambda x: torch.clamp(x, max=1), "clamp(x, 1, -1)": lambda x: torch.clamp(x, 1, -1),
    "pow(x, 0)": lambda x: torch.pow(x, 0.0), "pow(x, 0.5)": lambda x: torch.pow(x, 0.5),
    "pow(x, 1)": lambda x: torch.pow(x, 1.0), "pow(x, 2)": lambda x: torch.pow(x, 2.0),
    "pow(x, 3)": lambda x: torch.pow(x, 3.0), "pow(x, -1)": lambda x: torch.pow(x, -1.0),
    "pow(0, x)": lambda x: torch.pow(0.0, x), "pow(2, x)": lambda x: torch.pow(2.0, x),
    "log2": torch.log2, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh,
    "cosh": torch.cosh, "atan2(x, 2)": lambda x: torch.atan2(x, torch.tensor(2.0)),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "elu": F.elu, "elu(x, 0.5)": lambda x: F.elu(x, 0.5),
    "leaky_relu": F.leaky_relu, "leaky_relu(x, 0.25)": lambda x: F.leaky_relu(x, 0.25),
    "hardtanh": F.hardtanh, "hardtanh(x, 0, 2)": lambda x: F.hardtanh(x, 0, 2),
    "hardtanh(x, 0.5, 2.5)": lambda x: F.hardtanh(x, 0.5, 2.5),
    "isnan": torch.isnan, "isinf": torch.isinf, "isfinite": torch.isfinite, "logical_not": torch.logical_not,
    "lgamma": torch.lgamma, "digamma": torch.digamma,
    **{f"polygamma({n}, x)": lambda x, n=n: torch.special.polygamma(n, x) for n in (0, 1, 2, 3)},
    "where(x > 0, log(x), 0)": lambda x: torch.where(x > 0, torch.log(x), 0.0),
}
PAIRS = list(itertools.product([-INF, -2.0, -0.0, 0.0, 0.5, 1.0, 2.0, INF, NAN], repeat=2))
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow,
    "atan2": torch.atan2,
    "maximum": torch.maximum, "minimum": torch.minimum, "eq": torch.eq, "ne": torch.ne, "lt": torch.lt,
    "le": torch.le, "gt": torch.gt, "ge": torch.ge, "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
ROWS = [[1.0, 3.0, 3.0, 2.0], [3.0, 3.0, 3.0, 3.0], [-INF, 0.0, 1.0, -1.0], [INF, 0.0, INF, 1.0], [NAN, 1.0, 5.0, NAN],
        [-INF, -INF, -INF, -INF], [1000.0, 999.0, -1000.0, 1000.0], [-1000.0, -1000.5, -1001.0, -2000.0],
        [0.0, -0.0, 0.0, -0.0]]
ALONG = {
    "sum": lambda x: x.sum(1), "mean": lambda x: x.mean(1), "var": lambda x: x.var(1), "std": lambda x: x.std(1),
    "amax": lambda x: x.amax(1), "amin": lambda x: x.amin(1), "max values": lambda x: x.max(1).values,
    "max indices": lambda x: x.max(1).indices, "min values": lambda x: x.min(1).values,
    "min indices": lambda x: x.min(1).indices, "argmax": lambda x: x.argmax(1), "argmin": lambda x: x.argmin(1),
    "any": lambda x: x.any(1), "all": lambda x: x.all(1), "logsumexp": lambda x: x.logsumexp(1),
    "softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1),
    "prod": lambda x: x.prod(1), "cumsum": lambda x: x.cumsum(1), "norm": lambda x: x.norm(dim=1),
    **{f"norm {p}": lambda x, p=p: torch.linalg.vector_norm(x, p, 1) for p in (2, 1, 0, 3, 0.5, 1.5, -1, INF, -INF)},
}
OF_ALL = {"max": torch.max, "min": torch.min, "argmax": torch.argmax, "argmin": torch.argmin}
NOTHING = {
    "sum": lambda x: x.sum(1), "mean": lambda x: x.mean(1), "var": lambda x: x.var(1), "std": lambda x: x.std(1),
    "any": lambda x: x.any(1), "all": lambda x: x.all(1), "logsumexp": lambda x: x.logsumexp(1),
    "softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1),
    "prod": lambda x: x.prod(1), "cumsum": lambda x: x.cumsum(1),
    **{f"norm {p}": lambda x, p=p: torch.linalg.vector_norm(x, p, 1) for p in (2, 1, 0, 3)},
}
ZEROS = [[2.0, 3.0, 5.0, 7.0], [2.0, 0.0, 5.0, 7.0], [0.0, 3.0, 0.0, 7.0], [0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


def answers(function, *inputs):
    """The value, and the first and second derivatives that ones as cotangents give."""
    xs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    out = {f"input{i}": x.detach().clone() for i, x in enumerate(xs)}
    y = function(*xs)
    out["value"] = y.detach().clone()
    if not y.requires_grad:
        return out
    first = torch.autograd.grad(y, xs, torch.ones_like(y), create_graph=True, materialize_grads=True)
    for i, g in enumerate(first):
        out[f"gradient{i}"] = g.detach().clone()
        if len(xs) == 1 and g.requires_grad:
            second = torch.autograd.grad(g, xs, torch.ones_like(g), allow_unused=True)[0]
            if second is not None:
                out["second"] = second.clone()
    return out


def special():
    out = {}

    def add(group, name, function, *inputs):
        out.update({f"{group}: {name}/{key}": value.contiguous()
                    for key, value in answers(function, *inputs).items()})

    for name, function in UNARY.items():
        add("points", name, function, POINTS)
    for name, function in BINARY.items():
        add("pairs", name, function, [a for a, _ in PAIRS], [b for _, b in PAIRS])
    for name, function in ALONG.items():
        add("rows", name, function, ROWS)
    for name, function in OF_ALL.items():
        add("all", name, function, [[1.0, 3.0, 3.0], [0.0, 3.0, 0.0]])
        add("all with NaN", name, function, [[1.0, NAN, 3.0], [0.0, NAN, 0.0]])
    for name, function in NOTHING.items():
        add("nothing", name, function, [[], []])
    add("zeros", "prod", ALONG["prod"], ZEROS)
    for name in ("var", "std"):
        add("one", name, ALONG[name], [[2.0], [-1.0]])
    save_file(out, HERE / "special.safetensors")


# -- dtypes ---------------------------------------------------------------------------------------------------------

REFUSED = -1


def code(function, *arguments):
    try:
        return DTYPES.index(function(*arguments).dtype)
    except (RuntimeError, NotImplementedError, TypeError):
        return REFUSED


def of(dtype, *shape):
    return torch.ones(shape, dtype=dtype)


def dtypes():
    out = {}
    binary = dict(BINARY, outer=torch.outer, where=lambda a, b: torch.where(torch.ones(2, dtype=torch.bool), a, b))
    for name, f in binary.items():
        out[f"{name}(a, b)"] = [[code(f, of(a, 2), of(b, 2)) for b in DTYPES] for a in DTYPES]
        if name == "outer":
            continue
        out[f"{name}(a, b without dims)"] = [[code(f, of(a, 2), of(b)) for b in DTYPES] for a in DTYPES]
        out[f"{name}(a without dims, b without dims)"] = [[code(f, of(a), of(b)) for b in DTYPES] for a in DTYPES]
        if name not in ("atan2", "maximum", "minimum", "logical_and", "logical_or", "logical_xor"):
            out[f"{name}(a, number)"] = [[code(f, of(a, 2), s) for s in (1, 1.5, True)] for a in DTYPES]
    unary = dict(UNARY)
    del unary["where(x > 0, log(x), 0)"]
    unary.update({name: f for name, f in ALONG.items()})
    unary.update({"tril": torch.tril, "triu": torch.triu})
    unary["clamp(x, 0.5)"] = lambda x: torch.clamp(x, min=0.5)
    i, mask = torch.tensor([0]), torch.tensor([True, False])
    unary.update({
        "x[i]": lambda x: x[i], "x[mask]": lambda x: x[mask], "masked_select": lambda x: torch.masked_select(x, mask),
        "nonzero": torch.nonzero, "take_along_dim": lambda x: torch.take_along_dim(x, i),
        "scatter(x, i, 1)": lambda x: x.scatter(0, i[None], 1),
        "scatter(x, i, 1.5)": lambda x: x.scatter(0, i[None], 1.5),
        "pad": lambda x: F.pad(x, (1, 1)), "pad with 1.5": lambda x: F.pad(x, (1, 1), value=1.5),
        "pad with -1": lambda x: F.pad(x, (1, 1), value=-1),
        "pad by reflect": lambda x: F.pad(x, (1, 1), mode="reflect"),
        "pad by replicate": lambda x: F.pad(x, (1, 1), mode="replicate"),
        "pad by circular": lambda x: F.pad(x, (1, 1), mode="circular"),
        "sort values": lambda x: x.sort().values, "sort indices": lambda x: x.sort().indices,
        "argsort": torch.argsort, "topk values": lambda x: x.topk(1).values, "topk indices": lambda x: x.topk(1).indices,
    })
    for name, f in unary.items():
        out[f"{name}"] = [code(f, of(a, 2, 2)) for a in DTYPES]
    out["cat"] = [[code(lambda a, b: torch.cat([a, b]), of(a, 2), of(b, 2)) for b in DTYPES] for a in DTYPES]
    out["stack"] = [[code(lambda a, b: torch.stack([a, b]), of(a, 2), of(b, 2)) for b in DTYPES] for a in DTYPES]
    for name, f in {
        "scatter": lambda a, b: a.scatter(0, torch.tensor([0, 1]), b),
        "scatter_add": lambda a, b: a.scatter_add(0, torch.tensor([0, 1]), b),
        "index_add": lambda a, b: a.index_add(0, torch.tensor([0, 1]), b),
        "index_put": lambda a, b: a.index_put((torch.tensor([0, 1]),), b),
        "index_put, accumulate": lambda a, b: a.index_put((torch.tensor([0, 1]),), b, accumulate=True),
        "slice_scatter": lambda a, b: a.slice_scatter(b),
    }.items():
        out[name] = [[code(f, of(a, 2), of(b, 2)) for b in DTYPES] for a in DTYPES]
    save_file({name: torch.tensor(codes) for name, codes in out.items()}, HERE / "dtypes.safetensors")


# -- indices, in float64 ----------------------------------------------------------------------------------------------

i, j, c, one = torch.tensor([0, 2]), torch.tensor([1, -1]), torch.tensor([[0], [2], [-3]]), torch.tensor(-1)
i32 = torch.tensor([2, 0, 2], dtype=torch.int32)
none, square = torch.tensor([], dtype=torch.int64), torch.tensor([[0, 1], [1, 2]])
m3, m4, m5 = torch.tensor([1, 0, 1]).bool(), torch.tensor([0, 1, 1, 0]).bool(), torch.tensor([1, 1, 0, 0, 0]).bool()
m34 = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]]).bool()
m45 = torch.arange(20).reshape(4, 5) % 3 == 0
m345 = torch.arange(60).reshape(3, 4, 5) % 7 == 0
no, yes, no3 = torch.tensor(False), torch.tensor(True), torch.zeros(3).bool()
# Of x with shape (3, 4, 5). In C++: index({...}) with Slice for a:b.
INDICES = [
    "i", "i32", "none", "square", "one", "c", "i, j", "i, :, j", ":, i, j", "..., i", "..., i, j", "i, ..., j", "i, 1",
    "1, i", "1, :, i", "i, 1, j", "i, one, j", ":, one, i", "one, :, i", "one, one, one", "c, j", "c, j, 0", "c, :, j",
    ":, c, j", "square, :, i", "square, square, square", "None, i", "i, None, j", "None, :, i, None, j", ":, :, i, None",
    "1:, i", "::2, i, 1:4", "i, 1:3, j", "i, 1:3", "m3", "m34", "m345", ":, m4", "..., m5", ":, m45", "m3, 1", "1, m4",
    "m3, :, m5", "m3, i", "m3, i, 1:4", "m34, 2", "m34, c", "i, m4", "i, :, m5", "c, m45", ":, m4, j", "m3, None, i",
    "no3", "yes", "no", "yes, i", ":, yes, i", "i, yes", "i, :, yes", "no, none", "m34, yes", "..., no", "i, i, i", "none, 1",
    "none, :, none",
]
# What `y[index] = values`, or index_put, does; no position is selected twice.
PUTS = {
    "i": (2, 4, 5), "i, j": (5,), "i, :, j": (2, 4), ":, i, j": (3, 2), "1": (4, 5), "1:, ::2": (2, 1, 5), "m34": (4, 5),
    "m345": (), "m3, :, m5": (1, 4), ":, c, j": (1, 3, 2), "..., i": (), "None, one": (1, 1, 5), ":, m4, 1:3": (2, 2),
    "none": (1, 4, 5), "1, i, 2": (2,),
}
ADDS = {"i": (2, 4, 5), "i32": (3, 4, 1), "square, square": (2, 1, 5), "c, c, c": (3, 1), "m34": (5,), "i32, i32, i32": ()}
PADDINGS = {
    "constant": [(2, 1), (1, 2, 3, 0), (1, 0, 0, 1, 2, 2)], "reflect": [(2, 1), (3, 2, 0, 2)],
    "replicate": [(2, 1), (6, 2, 0, 7)], "circular": [(2, 1), (4, 2, 0, 3)],
}


def indexing():
    out = {}

    def add(name, function, *inputs):
        xs = [x.clone().requires_grad_() for x in inputs]
        y = function(*xs)
        out[f"{name}/value"] = y.detach().clone()
        if y.requires_grad:
            weights = torch.arange(1.0, y.numel() + 1, dtype=torch.float64).reshape(y.shape)
            for k, g in enumerate(torch.autograd.grad(y, xs, weights)):
                out[f"{name}/gradient{k}"] = g.clone()

    def of_shape(*shape):
        return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)

    def at(index):
        return eval(f"Index()[{index}]", dict(globals(), Index=Index))

    class Index:
        def __getitem__(self, index):
            return index

    def put(x, index, values):
        y = x.clone()
        y[index] = values
        return y

    x = of_shape(3, 4, 5)
    for text in INDICES:
        add(f"x[{text}]", lambda x: x[at(text)], x)
    for text, shape in PUTS.items():
        add(f"x[{text}] = values", lambda x, v: put(x, at(text), v), x, -of_shape(*shape))
    for text, shape in ADDS.items():
        index = at(text)
        index = index if isinstance(index, tuple) else (index,)
        add(f"x[{text}] += values", lambda x, v: x.index_put(index, v, accumulate=True), x, -of_shape(*shape))
    for mode, paddings in PADDINGS.items():
        for padding in paddings:
            add(f"pad(x, {padding}, {mode})", lambda x: F.pad(x, padding, mode=mode), x)
    add("pad(x, (1, 2), -0)", lambda x: F.pad(x, (1, 2), value=-0.0), x)
    add("pad(x, (1, 2), nan)", lambda x: F.pad(x, (1, 2), value=NAN), x)
    rows = torch.tensor(ROWS, dtype=torch.float64)
    for descending in (False, True):
        suffix = ", descending" if descending else ""
        add(f"sort(rows{suffix})", lambda x: x.sort(stable=True, descending=descending).values, rows)
        add(f"argsort(rows{suffix})", lambda x: x.argsort(stable=True, descending=descending), rows)
        add(f"sort(rows, 0{suffix})", lambda x: x.sort(dim=0, stable=True, descending=descending).values, rows)
        add(f"argsort(rows, 0{suffix})", lambda x: x.argsort(dim=0, stable=True, descending=descending), rows)
    row = torch.tensor([1.0, NAN, 5.0, INF, -INF, 2.0, -0.5], dtype=torch.float64)
    for k in (0, 1, 3, 7):
        for largest in (True, False):
            suffix = "" if largest else ", smallest"
            add(f"topk(row, {k}{suffix})", lambda x: x.topk(k, largest=largest).values, row)
            add(f"topk(row, {k}{suffix}) indices", lambda x: x.topk(k, largest=largest).indices, row)
    add("nonzero(row)", lambda x: torch.nonzero(x), torch.tensor([[0.0, NAN, -0.0], [INF, 0.0, 1.0]]).double())
    save_file({name: value.contiguous() for name, value in out.items()}, HERE / "indexing.safetensors")


special()
dtypes()
indexing()
