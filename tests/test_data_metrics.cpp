// Accuracy and confusion matrices.
#include <adjoint/data/metrics.hpp>
#include <adjoint/ops.hpp>

#include <doctest/doctest.h>

#include <sstream>
#include <vector>

namespace ad = adjoint;
using ad::data::accuracy;
using ad::data::confusion_matrix;
using ad::data::print_confusion_matrix;

TEST_CASE("accuracy") {
  const ad::Tensor logits = ad::tensor({{0.1, 0.9, 0.0}, {2.0, 1.0, 0.0}, {-3.0, -2.0, -1.0}, {0.0, 5.0, 4.0}});
  CHECK(accuracy(logits, ad::tensor({1, 0, 2, 1})) == 1);
  CHECK(accuracy(logits, ad::tensor({1, 0, 2, 2})) == 0.75);
  CHECK(accuracy(logits, ad::tensor({0, 1, 1, 0}, ad::uint8)) == 0);
  CHECK(accuracy(logits, ad::tensor({1, 0, 2, 0}, ad::int32)) == 0.75);
}

TEST_CASE("accuracy of what does not fit") {
  CHECK_THROWS_AS(accuracy(ad::zeros({3, 2}), ad::tensor({0, 1})), ad::ShapeError);
  CHECK_THROWS_AS(accuracy(ad::zeros({3}), ad::tensor({0, 1, 1})), ad::ShapeError);
  CHECK_THROWS_AS(accuracy(ad::zeros({3, 2}), ad::zeros({3, 1}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(accuracy(ad::zeros({3, 2}), ad::zeros({3})), ad::DtypeError);
  CHECK_THROWS_AS(accuracy(ad::zeros({0, 2}), ad::zeros({0}, ad::int64)), ad::ValueError);
}

TEST_CASE("rows are labels, columns predictions") {
  const ad::Tensor predictions = ad::tensor({0, 1, 1, 2, 2, 2}), labels = ad::tensor({0, 0, 1, 2, 2, 1});
  const ad::Tensor matrix = confusion_matrix(predictions, labels, 3);
  CHECK(matrix.shape() == ad::Shape{3, 3});
  CHECK(matrix.to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 1, 0, 0, 1, 1, 0, 0, 2});
  CHECK(confusion_matrix(ad::zeros({0}, ad::int64), ad::zeros({0}, ad::int64), 2).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>(4, 0));
}

TEST_CASE("a confusion matrix of what does not fit") {
  const ad::Tensor two = ad::tensor({0, 1});
  CHECK_THROWS_AS(confusion_matrix(two, ad::tensor({0, 1, 0}), 2), ad::ShapeError);
  CHECK_THROWS_AS(confusion_matrix(ad::zeros({2, 1}, ad::int64), ad::zeros({2, 1}, ad::int64), 2), ad::ShapeError);
  CHECK_THROWS_AS(confusion_matrix(ad::zeros({2}), two, 2), ad::DtypeError);
  CHECK_THROWS_AS(confusion_matrix(two, two, 1), ad::ValueError);
  CHECK_THROWS_AS(confusion_matrix(two, ad::tensor({0, -1}), 2), ad::ValueError);
  CHECK_THROWS_AS(confusion_matrix(two, two, 0), ad::ValueError);
  CHECK_THROWS_AS(confusion_matrix(two, two, INT64_MAX), ad::ValueError);
}

TEST_CASE("printed as a table") {
  std::ostringstream out;
  print_confusion_matrix(out, ad::tensor({{9, 1, 0}, {0, 12345, 0}, {0, 0, 0}}), {"cat", "elephant", "dog"});
  CHECK(out.str() ==
        "   label |   cat eleph   dog | right\n"
        "     cat |     9     1     0 | 0.900\n"
        "elephant |     0 12345     0 | 1.000\n"
        "     dog |     0     0     0 |     -\n");
  std::ostringstream numbers;
  print_confusion_matrix(numbers, ad::tensor({{1, 2}, {3, 4}}));
  CHECK(numbers.str() ==
        "label |    0    1 | right\n"
        "    0 |    1    2 | 0.333\n"
        "    1 |    3    4 | 0.571\n");
  CHECK_THROWS_AS(print_confusion_matrix(out, ad::zeros({2, 3}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(print_confusion_matrix(out, ad::zeros({2, 2})), ad::DtypeError);
  CHECK_THROWS_AS(print_confusion_matrix(out, ad::zeros({2, 2}, ad::int64), {"one"}), ad::ValueError);
}
