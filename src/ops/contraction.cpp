#include "ops/common.hpp"
#include "ops/movement.hpp"

namespace adjoint {
namespace detail {
namespace {

Tensor mt(const Tensor& x) { return transpose(x, -2, -1); }

// Bilinear: each operand's cotangent is a product with the other one, transposed. Where an operand was a transposed
// view, so is its cotangent: undoing the transposition then gives it the operand's own order in memory.
const Operation kMatmul{"matmul",
                        Family::bilinear,
                        execute_matmul,
                        0,
                        false,
                        3,
                        {kReadsB, kReadsA},
                        nullptr,
                        [](const Recorded& at, int i, const Tensor& g) {
                          const Tensor other = at.input(1 - i);
                          const bool transposed = at.input_operation(i) == &kPermute;
                          if (i == 0) return transposed ? mt(matmul(other, mt(g))) : matmul(g, mt(other));
                          return transposed ? mt(matmul(mt(g), other)) : matmul(mt(other), g);
                        }};

[[noreturn]] void refuse(const Shape& a, const Shape& b, const std::string& why, const char* operation = "matmul") {
  throw ShapeError(std::string(operation) + ": the operands have shapes " + to_string(a) + " and " + to_string(b) +
                   "; " + why);
}

/// The dtype in which two operands meet. Throws DtypeError unless it is floating.
Dtype floating_dtype(const char* operation, const Tensor& a, const Tensor& b) {
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  if (!is_floating(dtype))
    throw DtypeError(std::string(operation) + ": the operands have dtypes " + name_of(a.dtype()) + " and " +
                     name_of(b.dtype()) + "; one must be float32 or float64");
  return dtype;
}

}  // namespace
}  // namespace detail

using namespace detail;

Tensor matmul(const Tensor& a, const Tensor& b) {
  Node* inputs[] = {Access::node(a, "matmul"), Access::node(b, "matmul")};
  const Shape &sa = inputs[0]->shape, &sb = inputs[1]->shape;
  const Dtype dtype = floating_dtype("matmul", a, b);
  if (sa.empty() || sb.empty()) refuse(sa, sb, "both need at least one dim");
  const std::int64_t inner_a = sa.back(), inner_b = sb.size() == 1 ? sb[0] : sb[sb.size() - 2];
  if (inner_a != inner_b)
    refuse(sa, sb,
           "the last size of the first (" + std::to_string(inner_a) + ") must equal the " +
               (sb.size() == 1 ? "size" : "last but one") + " of the second (" + std::to_string(inner_b) + ")");
  if (sa.size() == 2 && sb.size() == 2 && inputs[0]->dtype == dtype && inputs[1]->dtype == dtype)
    return record(kMatmul, {sa[0], sb[1]}, dtype, inputs, 2);
  Tensor left = cast_to(a, dtype), right = cast_to(b, dtype);
  if (sa.size() == 1 || sb.size() == 1) {
    // A vector is a matrix for the while of the product.
    if (sa.size() == 1) left = unsqueeze(left, 0);
    if (sb.size() == 1) right = unsqueeze(right, 1);
    Tensor product = matmul(left, right);
    if (sb.size() == 1) product = squeeze(product, -1);
    if (sa.size() == 1) product = squeeze(product, sb.size() == 1 ? -1 : -2);
    return product;
  }
  if (sb.size() == 2 && sa.size() > 2) {
    // One matrix for the whole batch: its rows are those of one large product.
    Shape shape = sa;
    shape.back() = sb[1];
    std::int64_t rows = 1;
    for (int i = 0; i + 1 < sa.size(); ++i) rows *= sa[i];
    return reshape(matmul(reshape(left, {rows, sa.back()}), right), shape);
  }
  Shape batch;
  try {
    batch = broadcast_shapes(Shape(sa.begin(), sa.end() - 2), Shape(sb.begin(), sb.end() - 2), "matmul");
  } catch (const ShapeError&) {
    refuse(sa, sb, "their leading dims do not broadcast");
  }
  const auto with_matrix = [&](std::int64_t rows, std::int64_t columns) {
    Shape shape = batch;
    shape.push_back(rows);
    shape.push_back(columns);
    return shape;
  };
  const std::int64_t m = sa[sa.size() - 2], k = inner_a, n = sb.back();
  return record(kMatmul, with_matrix(m, n), dtype,
                {broadcast_to(left, with_matrix(m, k)), broadcast_to(right, with_matrix(k, n))});
}

Tensor dot(const Tensor& a, const Tensor& b) {
  const Shape &sa = Access::node(a, "dot")->shape, &sb = Access::node(b, "dot")->shape;
  if (sa.size() != 1 || sa != sb) refuse(sa, sb, "both must be vectors of one size", "dot");
  floating_dtype("dot", a, b);
  return matmul(a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  const Shape &sa = Access::node(a, "outer")->shape, &sb = Access::node(b, "outer")->shape;
  if (sa.size() != 1 || sb.size() != 1) refuse(sa, sb, "both must be vectors", "outer");
  return unsqueeze(a, 1) * b;
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  const Shape &sa = Access::node(a, "bmm")->shape, &sb = Access::node(b, "bmm")->shape;
  if (sa.size() != 3 || sb.size() != 3 || sa[0] != sb[0] || sa[2] != sb[1])
    refuse(sa, sb, "they must be (b, m, k) and (b, k, n)", "bmm");
  floating_dtype("bmm", a, b);
  return matmul(a, b);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Shape& sx = Access::node(x, "linear")->shape;
  const Shape& sw = Access::node(weight, "linear")->shape;
  if (sw.size() != 2 || sx.empty() || sx.back() != sw[1])
    throw ShapeError("linear: the input has shape " + to_string(sx) + " and the weight " + to_string(sw) +
                     "; the weight must have shape (out, in), and the input's last size must be in");
  if (!is_floating(promote_types(x.dtype(), weight.dtype())))
    throw DtypeError(std::string("linear: the input has dtype ") + name_of(x.dtype()) + " and the weight " +
                     name_of(weight.dtype()) + "; one must be float32 or float64");
  const Tensor product = matmul(x, t(weight));
  if (!bias.defined()) return product;
  if (bias.shape() != Shape{sw[0]})
    throw ShapeError("linear: the bias has shape " + to_string(bias.shape()) + "; with the weight of shape " +
                     to_string(sw) + " it must be " + to_string(Shape{sw[0]}));
  return product + bias;
}

Tensor Tensor::matmul(const Tensor& other) const { return adjoint::matmul(*this, other); }

}  // namespace adjoint
