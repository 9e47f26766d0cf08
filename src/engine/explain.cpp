#include "engine/explain.hpp"

#include "core/thread_state.hpp"
#include "engine/cost.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ostream>
#include <unordered_map>
#include <utility>

namespace adjoint::detail {

// -- layouts ----------------------------------------------------------------------------------------------------------

namespace {

Strides strides_of_result(const Node& node) {
  const auto execute = node.operation->execute;
  if (execute == execute_elementwise || execute == execute_cast)
    return MemoryOrder::of_result(node, true).strides(node.shape);
  if (execute == execute_unslice || execute == execute_cat || execute == execute_gather ||
      execute == execute_scatter_add)
    return MemoryOrder::of_result(node).strides(node.shape);
  const bool of_weight =
      static_cast<kernels::ConvolutionKind>(node.operation->kernel) == kernels::ConvolutionKind::weight;
  if (execute == execute_pooling || (execute == execute_convolution && !of_weight))
    return channels_last_strides(node.shape);
  if (execute == execute_slice) return MemoryOrder(node.shape, strides_of_slice(node)).strides(node.shape);
  return row_major_strides(node.shape);
}

void lay_out(Node& node) {
  for (int i = 0; i < node.input_count(); ++i)
    if (!node.input(i)->value.data) return;  // it failed, and so will this one
  if (node.operation->execute == execute_checked_index) {
    const Value& source = node.input(0)->value;
    node.alias_value(source, 0, source.strides);
  } else if (shows_input(node)) {
    node.operation->execute(node);
  } else if (numel(node.shape) <= 1) {
    node.allocate_value();  // in itself
  } else {
    Storage* storage = Storage::stand_in(node.bytes());
    node.value = {storage->data(), storage, strides_of_result(node)};
  }
}

}  // namespace

Layouts::Layouts(const std::vector<Node*>& plan) : plan_(plan) {
  try {
    for (Node* node : plan) lay_out(*node);
  } catch (...) {
    clear();
    throw;
  }
}

void Layouts::clear() noexcept {
  for (Node* node : plan_) node->forget_value();
}

// -- words ------------------------------------------------------------------------------------------------------------

namespace {

/// Three digits.
std::string decimal(std::int64_t count, const char* unit) {
  const char* prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  auto number = static_cast<double>(count);
  int prefix = 0;
  for (; number >= 999.5; ++prefix) number /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %s%s", number, prefixes[prefix], unit);
  return text;
}
std::string to_string(const Cost& cost) {
  return "reads " + decimal(cost.bytes_read, "B") + ", writes " + decimal(cost.bytes_written, "B") + ", " +
         decimal(cost.flops, "flop");
}

std::string number_of(const Node& node) {
  const Scalar number = load_number(node.dtype, node.value.data);
  if (node.dtype == bool_) return number.to_int64() ? "true" : "false";
  if (!number.is_floating()) return std::to_string(number.to_int64());
  char text[32];
  const double value = number.to_double();
  const auto end = node.dtype == float32 ? std::to_chars(text, text + sizeof text, static_cast<float>(value)).ptr
                                         : std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string type_of(const Node& node) {
  std::string text = std::string(name_of(node.dtype)) + " " + adjoint::to_string(node.shape);
  const Strides& strides = node.value.strides;
  if (node.value.data && !is_row_major(node.shape, strides)) text += " strides " + adjoint::to_string(strides);
  return text;
}

std::string counted(std::int64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

// -- the listing ------------------------------------------------------------------------------------------------------

/// Writes a plan down.
class Listing {
 public:
  Listing(const std::vector<Node*>& plan, const std::vector<Node*>& roots, bool fuse, std::int64_t fewest_to_recompute)
      : plan_(plan), roots_(roots), fuse_(fuse), fewest_to_recompute_(fewest_to_recompute) {}

  Explanation make() {
    const Layouts layouts(plan_);
    if (fuse_ && plan_.size() > 1) {
      Steps steps;
      steps.build(plan_, fewest_to_recompute_);
      for (const bool late : {false, true})
        for (int step = 0; step < steps.size(); ++step)
          if (steps.is_late(step) == late) {
            if (steps.adds_product(step)) list_added_product(steps.begin(step), steps.count(step));
            else list(steps.begin(step), steps.count(step), steps.repeated(step), late);
          }
    } else {
      for (Node* const& node : plan_) list(&node, 1, {}, false);
    }
    result_.operations = static_cast<std::int64_t>(plan_.size());
    result_.bytes_read = total_.bytes_read;
    result_.bytes_written = total_.bytes_written;
    result_.flops = total_.flops;
    result_.text = head() + text_;
    return std::move(result_);
  }

 private:
  struct Line {
    std::string left, type, note;
  };

  std::string head() const {
    std::string text;
    if (plan_.empty()) {
      text = "nothing to compute\n";
    } else {
      text = counted(result_.steps, "step") + " for " + counted(result_.operations, "operation") + ": " +
             to_string(total_) + "\n";
    }
    for (std::size_t i = 0; i < roots_.size(); ++i) {
      if (roots_[i]->state() == State::pending) continue;
      text += "output " + std::to_string(i) +
              (roots_[i]->state() == State::failed ? " has failed\n" : " is computed already\n");
    }
    if (!inputs_.empty()) text += "\n" + inputs_;
    return text;
  }

  /// A node that is read. One that is not planned is an input of the whole.
  const std::string& name(const Node& node) {
    std::string& name = names_[&node];
    if (!name.empty()) return name;
    if (node.operation == &kScalar) return name = number_of(node);
    for (const Node* other : computed_)
      if (is_same(*other, node)) return name = names_[other];
    computed_.push_back(&node);
    name = "in" + std::to_string(input_count_++);
    inputs_ += name + " = " + type_of(node);
    if (node.cell) inputs_ += ", a leaf";
    if (node.state() == State::failed) inputs_ += ", whose computation has failed";
    inputs_ += "\n";
    return name;
  }
  /// The same elements, seen in the same way.
  static bool is_same(const Node& a, const Node& b) noexcept {
    return a.value.storage && a.value.storage == b.value.storage && a.value.data == b.value.data &&
           a.dtype == b.dtype && a.shape == b.shape && same_places(a.shape, a.value.strides, b.value.strides);
  }
  std::string new_name() { return "%" + std::to_string(count_++); }

  std::string call(const Node& node) {
    // The leaf's operation is also that of a value without its derivative.
    std::string text = std::string(node.operation == &kLeaf && !node.cell ? "detach" : node.operation->name) + "(";
    for (int i = 0; i < node.input_count(); ++i) text += (i ? ", " : "") + name(*node.input(i));
    return text + ")";
  }
  /// What becomes of a value.
  std::string note(const Node& node, const char* otherwise) const {
    for (std::size_t i = 0; i < roots_.size(); ++i)
      if (roots_[i] == &node) return roots_.size() == 1 ? "output" : "output " + std::to_string(i);
    return otherwise;
  }
  Line line(const Node& node) {
    std::string text = call(node);
    std::string& own = names_[&node] = new_name();
    return {own + " = " + text, type_of(node), note(node, "")};
  }

  void list(Node* const* nodes, int count, const Repeated& repeated, bool late) {
    if (count == 0) return;
    if (nodes[0]->cell && nodes[0]->operation == &kLeaf) {
      std::vector<Line> lines;
      for (int i = 0; i < count; ++i) lines.push_back(line(*nodes[i]));
      return put("new values of leaves", Cost(), lines);
    }
    if (count > 1 && list_program(nodes, count, repeated, late)) return;
    for (int i = 0; i < count; ++i) list_one(*nodes[i]);
  }

  void list_one(Node& node) {
    Node* const nodes[] = {&node};
    const Cost cost = cost_of(nodes, 1, {});
    put(cost.is_free() ? std::string() : title_of(node), cost, {line(node)});
  }

  void list_added_product(Node* const* nodes, int count) {
    Node& sum = *nodes[count - 1];
    const std::string other = name(*sum.input(0));
    std::vector<Line> lines;
    for (int i = 0; i < count; ++i) lines.push_back(line(*nodes[i]));
    std::string& where = lines.back().note;
    where += (where.empty() ? "over " : ", over ") + other + " if free";
    put(title_of(*nodes[0]) + ", added to " + other, cost_of(nodes, count, {}), lines);
  }

  std::string title_of(const Node& node) const {
    const auto execute = node.operation->execute;
    if (execute == execute_matmul) {
      const int rank = node.shape.size();
      const std::int64_t m = node.shape[rank - 2], n = node.shape[rank - 1], k = node.input(0)->shape[rank - 1];
      const std::int64_t batch = m && n ? numel(node.shape) / (m * n) : 0;
      return std::string("matrix product by ") +
             kernels::matmul_library(node.dtype, m, n, k, last_two_dims(*node.input(0)),
                                     last_two_dims(*node.input(1))) +
             ", " + (batch == 1 ? "" : std::to_string(batch) + " times ") + "m = " + std::to_string(m) +
             ", n = " + std::to_string(n) + ", k = " + std::to_string(k);
    }
    if (execute == execute_convolution) {
      const kernels::Convolution s = convolution_sizes(node);
      const auto kind = static_cast<kernels::ConvolutionKind>(node.operation->kernel);
      const auto by = [](const std::int64_t* sizes) {
        return std::to_string(sizes[0]) + " x " + std::to_string(sizes[1]);
      };
      return std::string("convolution by ") + kernels::convolution_library(kind, node.dtype, s) + ", " +
             counted(s.batch, "image") + " of " + by(s.in) + ", " + std::to_string(s.in_channels) + " to " +
             counted(s.out_channels, "channel") + ", kernel " + by(s.kernel) +
             (s.groups > 1 ? ", " + counted(s.groups, "group") : "");
    }
    return node.operation->name;
  }

  bool list_program(Node* const* nodes, int count, const Repeated& repeated, bool late) {
    // What is inside of the group has no value; what shows an input in another form keeps the one it will have.
    const Cost cost = cost_of(nodes, count, repeated);
    bool moved[kMostMembers];
    Value values[kMostMembers];
    find_moved(nodes, count, moved);
    for (int i = 0; i < count; ++i)
      if (!moved[i]) values[i] = std::exchange(nodes[i]->value, {});
    bool planned = false;
    const auto put_back = [&] {
      for (int i = 0; i < count; ++i)
        if (!moved[i]) nodes[i]->value = values[i];
    };
    try {
      planned = planner_.plan(nodes, count, late, repeated, program_);
    } catch (...) {
      put_back();
      throw;
    }
    put_back();
    if (planned) write(nodes, count, repeated, moved, cost);
    return planned;
  }

  void write(Node* const* nodes, int count, const Repeated& repeated, const bool* moved, const Cost& cost) {
    const Program& p = program_;
    using Place = Program::Place;
    std::vector<Line> lines;
    for (int i = 0; i < count; ++i) {
      if (!moved[i]) continue;
      Line shown = line(*nodes[i]);
      lines.push_back(std::move(shown));
    }
    std::vector<std::string> names(p.values_.size());
    const auto at = [](int index) { return static_cast<std::size_t>(index); };
    const auto buffer_of = [&](const Program::Value& value) {
      return value.local ? std::string("in a chain") : "buffer " + std::to_string(value.buffer);
    };
    const auto is_once = [&](std::int16_t index) {
      return std::find(p.loaded_first_.begin(), p.loaded_first_.end(), index) == p.loaded_first_.end();
    };
    for (const Program::External& external : p.externals_) {
      const Node& node = *nodes[external.member]->input(external.input);
      const Program::Value& value = p.values_[at(external.value)];
      names[at(external.value)] = name(node);
      if (value.place == Place::constant)
        lines.push_back({"load " + name(node), "",
                         "into " + buffer_of(value) + (is_once(external.value) ? ", once" : ", for each block")});
    }
    for (const Program::Instruction& instruction : p.instructions_) {
      std::string text;
      for (int k = 0; k < instruction.inputs; ++k) text += (k ? ", " : "") + names[at(instruction.input[k])];
      if (instruction.kind == Program::Instruction::Kind::join) {
        const Node& node = *nodes[instruction.member];
        for (int k = 0; k < node.input_count(); ++k) text += (k ? ", " : "") + name(*node.input(k));
      }
      const Program::Value& value = p.values_[at(instruction.output)];
      if (instruction.kind == Program::Instruction::Kind::load) {
        lines.push_back({"load " + names[at(instruction.output)], "", "into " + buffer_of(value) + ", for each block"});
        continue;
      }
      std::string& own = names[at(instruction.output)] = new_name();
      if (instruction.member == Program::kNone) {
        lines.push_back({own + " = expand(" + text + ")", "", buffer_of(value)});
        continue;
      }
      const Node& node = *nodes[instruction.member];
      // What is computed for gathered elements: the last has their name.
      const bool gathers = fusible_kind(node) == Fusible::gather;
      const bool of_gathered = !gathers && value.per_row && numel(node.shape) == p.rows_ * p.length_ && p.length_ > 1;
      const char* const operation = gathers && instruction.kind != Program::Instruction::Kind::gather
                                        ? node.input(0)->operation->name
                                        : node.operation->name;
      if (!of_gathered) names_[&node] = own;
      std::string where = value.place == Place::memory ? note(node, "result") : buffer_of(value);
      for (const Program::Result& result : p.results_) {
        if (result.value != instruction.output) continue;
        std::vector<std::string> taken;
        for (int c = result.first; c < result.last; ++c) {
          const std::string& other = names[at(p.externals_[at(p.candidates_[at(c)])].value)];
          if (std::find(taken.begin(), taken.end(), other) == taken.end()) taken.push_back(other);
        }
        for (std::size_t i = 0; i < taken.size(); ++i)
          where += (i == 0 ? ", over " : i + 1 < taken.size() ? ", " : " or ") + taken[i];
        if (!taken.empty()) where += " if free";
        if (value.streamed) where += taken.empty() ? ", past the caches" : ", else past the caches";
      }
      if (has_bit(repeated.again, instruction.member)) where += ", to be computed again";
      if (of_gathered) where += ", for gathered elements";
      lines.push_back({own + " = " + operation + "(" + text + ")", type_of(node), std::move(where)});
    }
    for (const std::int16_t member : p.aliases_) lines.push_back(line(*nodes[member]));
    const auto instructions = std::count_if(
        p.instructions_.begin(), p.instructions_.end(),
        [](const Program::Instruction& instruction) { return instruction.kind != Program::Instruction::Kind::load; });
    std::string title = "program of " + counted(instructions, "instruction") + " on ";
    title += p.has_rows_ ? counted(p.rows_, "row") + " of " + std::to_string(p.length_) : counted(p.rows_, "element");
    title += ", " + std::to_string(p.block_) + " at a time";
    if (p.buffers_ > 0) title += ", in " + counted(p.buffers_, "buffer") + " of " + decimal(p.buffer_bytes_, "B");
    if (p.chunks_ > 1) title += ", by up to " + std::to_string(p.chunks_) + " threads";
    put(title, cost, lines);
  }

  /// Without a title it is no step.
  void put(const std::string& title, const Cost& cost, const std::vector<Line>& lines) {
    total_ += cost;
    if (!title.empty() || !after_view_) text_ += "\n";
    after_view_ = title.empty();
    if (!cost.is_free()) text_ += "step " + std::to_string(++result_.steps) + ": ";
    if (!title.empty()) text_ += title + "\n";
    if (!cost.is_free()) text_ += "  " + to_string(cost) + "\n";
    std::size_t left = 0, type = 0;
    for (const Line& each : lines) {
      left = std::max(left, each.left.size());
      type = std::max(type, each.type.size());
    }
    for (const Line& each : lines) {
      std::string text = "  " + each.left;
      if (!each.type.empty() || !each.note.empty()) text += std::string(left - each.left.size() + 2, ' ') + each.type;
      if (!each.note.empty()) text += std::string(type - each.type.size() + 2, ' ') + each.note;
      text_ += text + "\n";
    }
  }

  const std::vector<Node*>& plan_;
  const std::vector<Node*>& roots_;
  const bool fuse_;
  const std::int64_t fewest_to_recompute_;
  Planner planner_;
  Program program_;
  std::unordered_map<const Node*, std::string> names_;
  std::vector<const Node*> computed_;  // inputs
  int count_ = 0, input_count_ = 0;
  std::string inputs_, text_;
  bool after_view_ = false;
  Cost total_;
  Explanation result_;
};

Explanation describe(const std::vector<Node*>& plan, const std::vector<Node*>& roots, bool fuse,
                     std::int64_t fewest_to_recompute) {
  return Listing(plan, roots, fuse, fewest_to_recompute).make();
}

}  // namespace adjoint::detail

namespace adjoint {

std::ostream& operator<<(std::ostream& out, const Explanation& explanation) { return out << explanation.text; }

Explanation explain(const std::vector<Tensor>& outputs) {
  std::vector<detail::Node*> nodes;
  for (const Tensor& output : outputs) nodes.push_back(detail::Access::node(output, "explain"));
  return detail::explain(nodes.data(), static_cast<int>(nodes.size()));
}

}  // namespace adjoint
