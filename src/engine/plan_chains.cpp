#include "engine/execute.hpp"
#include "engine/program.hpp"

#include <algorithm>

namespace adjoint::detail {
namespace {

using kernels::Source;
using kernels::Tile;

// Groups of fewer elements are done before a chain would be under way.
constexpr std::int64_t kFewestElements = 1024;
// How far an instruction is looked for that may come earlier.
constexpr int kFarthest = 32;
// What is fetched for later: rows so long, while that is computed which is the most work.
constexpr std::int64_t kLongToFetch = 256;
// What a group reads and writes when its results go past the caches.
constexpr std::int64_t kStreamedBytes = std::int64_t{1} << 24;

}  // namespace

/// Calls visit(first, last, strip) for instructions, one after another, that can be a chain; `strip` is the dtype of
/// what is in registers.
template <class Visit>
void Planner::for_chains(const Visit& visit) {
  if (program_->rows_ * program_->length_ < kFewestElements) return;
  const auto& instructions = program_->instructions_;
  const auto count = static_cast<int>(instructions.size());
  for (int first = 0, last = 0; first < count; first = std::max(last, first + 1)) {
    Dtype strip = bool_;  // any
    last = first;
    while (last < count && can_be_linked(last, first, strip)) ++last;
    if (last - first > 1 || (last > first && is_streamed(instructions[static_cast<std::size_t>(first)].output, last)))
      visit(first, last, strip == bool_ ? float32 : strip);
  }
}

/// Moves what cannot be in a chain, and would cut one in two, before or behind it.
void Planner::join_chains() {
  if (program_->rows_ * program_->length_ < kFewestElements) return;
  auto& instructions = program_->instructions_;
  const auto count = static_cast<int>(instructions.size());
  // Whether an instruction reads what those of [begin, end) make.
  const auto reads_any = [&](int at, int begin, int end) {
    const Instruction& own = instructions[static_cast<std::size_t>(at)];
    for (int i = begin; i < end; ++i)
      for (int k = 0; k < own.inputs; ++k)
        if (own.input[k] == instructions[static_cast<std::size_t>(i)].output) return true;
    return false;
  };
  const auto move_to = [&](int to, int from) {
    std::rotate(instructions.begin() + to, instructions.begin() + from, instructions.begin() + from + 1);
    for (std::int16_t& column : program_->columns_)
      if (column == from) column = static_cast<std::int16_t>(to);
      else if (column >= to && column < from) ++column;
  };
  Dtype strip = bool_;
  for (int first = 0, at = 0; at < count; ++at) {  // the chain is [first, at)
    if (can_be_linked(at, first, strip)) continue;
    if (Dtype own = bool_; at > first && can_be_linked(at, at, own)) {  // it begins another one
      first = at;
      strip = own;
      continue;
    }
    if (at > first && !reads_any(at, first, at)) {
      move_to(first++, at);
      continue;
    }
    for (int next = at + 1; at > first && next < count; ++next, ++at) {
      if (reads_any(next, at, next) || !can_be_linked(next, first, strip)) break;
      move_to(at, next);
    }
    first = at + 1;
    strip = bool_;
  }
}

/// Lets instructions follow those whose results they read, within chains: it is in registers then.
void Planner::order_chains() {
  for_chains([&](int first, int last, Dtype) { order_chain(first, last); });
}
void Planner::order_chain(int first, int last) {
  Instruction* const chain = program_->instructions_.data() + first;
  const int count = last - first;
  Instruction ordered[kMostInstructions];
  std::int16_t place[kMostInstructions];
  bool done[kMostInstructions] = {};
  std::int16_t made_by[kMostValues];  // the place in the chain
  std::fill(made_by, made_by + program_->values_.size(), kNone);
  for (int i = 0; i < count; ++i) made_by[chain[i].output] = static_cast<std::int16_t>(i);
  const auto is_there = [&](int index) { return made_by[index] == kNone || done[made_by[index]]; };
  // Who alone reads what an instruction makes. If that reads nothing that the chain makes, it can wait until its reader
  // has all else, the last of it in the strip.
  constexpr std::int16_t kSeveral = -2;
  std::int16_t reader[kMostInstructions];
  std::fill(reader, reader + count, kNone);
  bool waits_for_chain[kMostInstructions] = {};
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < chain[i].inputs; ++k) {
      if (made_by[chain[i].input[k]] == kNone) continue;
      waits_for_chain[i] = true;
      std::int16_t& of_input = reader[made_by[chain[i].input[k]]];
      of_input = of_input == kNone ? static_cast<std::int16_t>(i) : kSeveral;
    }
  }
  // Products that only a sum of rows reads, as far as the chain knows: both are one link, which hands on what there was
  // before.
  bool summed[kMostInstructions] = {};
  for (int i = 0; i < count; ++i) {
    if (reader[i] < 0 || chain[reader[i]].kind != Instruction::Kind::reduce) continue;
    const Operation &own = *nodes_[chain[i].member]->operation, &by = *nodes_[chain[reader[i]].member]->operation;
    summed[i] = static_cast<kernels::Reduce>(by.kernel) == kernels::Reduce::sum && own.execute == execute_elementwise &&
                static_cast<Tile>(own.kernel) == Tile::mul && !program_->is_one_for_row(value(chain[i].input[0])) &&
                !program_->is_one_for_row(value(chain[i].input[1]));
  }
  int strip = kNone, before = kNone;
  for (int at = 0, earliest = 0; at < count; ++at) {
    while (done[earliest]) ++earliest;
    int next = earliest;
    bool found = false;
    for (int i = earliest; i < count && i < earliest + kFarthest && strip != kNone; ++i) {
      if (done[i]) continue;
      bool ready = true, reads = false;
      for (int k = 0; k < chain[i].inputs; ++k) {
        ready &= is_there(chain[i].input[k]);
        reads |= chain[i].input[k] == strip;
      }
      if (!ready || !reads || (found && !summed[i])) continue;
      next = i;
      found = true;
      if (summed[i]) break;
    }
    int other = kNone;
    for (int i = earliest; i < count && i < earliest + kFarthest && !found; ++i) {
      if (done[i]) continue;
      bool ready = true, waits = false;
      for (int k = 0; k < chain[i].inputs; ++k) ready &= is_there(chain[i].input[k]);
      if (!ready) continue;
      if (reader[i] >= 0 && !waits_for_chain[i]) {
        bool reads = false;
        const Instruction& by = chain[reader[i]];
        for (int k = 0; k < by.inputs; ++k) {
          waits |= by.input[k] != chain[i].output && !is_there(by.input[k]);
          reads |= by.input[k] == strip;
        }
        found = reads && !waits;
      }
      if (found || (!waits && other == kNone)) other = i;
    }
    if (other != kNone) next = other;
    done[next] = true;
    ordered[at] = chain[next];
    const auto kind = chain[next].kind;
    const bool reduces = kind == Instruction::Kind::reduce || kind == Instruction::Kind::column;
    if (summed[next]) before = strip;
    const int made = reduces ? made_by[chain[next].input[0]] : kNone;
    strip = made != kNone && summed[made] ? before : reduces ? chain[next].input[0] : chain[next].output;
    place[next] = static_cast<std::int16_t>(first + at);
  }
  for (std::int16_t& column : program_->columns_)
    if (column >= first && column < last) column = place[column - first];
  std::copy(ordered, ordered + count, chain);
}

/// Cuts the instructions into chains and others, and says which values only a chain's own instructions read.
void Planner::find_chains() {
  // While the chain that takes longest is computed, memory is idle: then comes what others will read.
  int longest = kNone, most = 0;
  for_chains([&](int first, int last, Dtype) {
    int work = 0;
    for (int i = first; i < last; ++i) work += work_of(program_->instructions_[static_cast<std::size_t>(i)]);
    if (work > most) longest = first;
    most = std::max(most, work);
  });
  for_chains([&](int first, int last, Dtype strip) {
    link_chain(first, last, strip, program_->length_ >= kLongToFetch && first == longest);
  });
}

/// Whether a chain's result goes past the caches: nobody in the group reads it, and what others read of a group as
/// large as this would not be in the cache any more.
bool Planner::is_streamed(int index, int chain_end) const {
  const Value& v = program_->values_[static_cast<std::size_t>(index)];
  if (v.place != Place::memory || v.row_bytes == 0 || v.element < sizeof(float) || last_use_[index] >= chain_end)
    return false;
  std::int64_t bytes = 0;
  const auto count = [&](int of) {
    bytes += program_->values_[static_cast<std::size_t>(of)].row_bytes * program_->rows_;
  };
  for (const Program::External& external : program_->externals_) count(external.value);
  for (const Program::Result& result : program_->results_) count(result.value);
  return bytes >= kStreamedBytes;
}

/// The dtype of an instruction's numbers; bool_: it has only bools.
Dtype Planner::strip_of(const Instruction& instruction) const {
  const Node& node = *nodes_[instruction.member];
  return node.dtype == bool_ ? node.input(instruction.inputs - 1)->dtype : node.dtype;
}

/// The functions that compute an instruction of these operands; null: there are none. One operand has to be loaded if
/// it is in memory, and its result stored if it is read from there.
Planner::LinkFunctions Planner::links_of(const Instruction& instruction, const Source* operands, Dtype strip) const {
  const kernels::Links& links = kernels::table().links(strip);
  const Node& node = *nodes_[instruction.member];
  const auto kernel = node.operation->kernel;
  const int x = static_cast<int>(operands[0]), y = static_cast<int>(operands[1]), z = static_cast<int>(operands[2]);
  const Dtype last = node.input(instruction.inputs - 1)->dtype;
  LinkFunctions functions = nullptr;
  if (instruction.kind == Instruction::Kind::scatter) {
    functions = links.scatter;
  } else if (node.operation->execute == execute_cast) {
    if (last == bool_ && node.dtype == strip && operands[0] != Source::single) functions = links.from_bool;
  } else if (node.operation->execute == execute_elementwise) {
    const auto tile = static_cast<Tile>(kernel);
    const bool is_logical = tile >= Tile::logical_and && tile <= Tile::logical_not;
    if (is_logical ? last != bool_ : last != strip || strip == bool_) return nullptr;
    if (instruction.inputs == 1) functions = operands[0] == Source::single ? nullptr : links.tile[kernel][0][0];
    else functions = tile == Tile::where ? links.where[x][y][z] : links.tile[kernel][x][y];
  }
  return functions && functions[0] ? functions : nullptr;
}

/// Whether an instruction can be one of a chain that begins at `first` and has all from there to this one. `strip`:
/// what those there have in registers, with which this one is counted if it can; bool_: either of float32 and float64.
bool Planner::can_be_linked(int at, int first, Dtype& strip) {
  using Kind = Instruction::Kind;
  const Instruction& instruction = program_->instructions_[static_cast<std::size_t>(at)];
  const bool elementwise = instruction.kind == Kind::tile || instruction.kind == Kind::rows;
  const bool reduces = instruction.kind == Kind::reduce || instruction.kind == Kind::column;
  const bool scatters = instruction.kind == Kind::scatter;
  if (instruction.member == kNone || (!elementwise && !reduces && !scatters)) return false;
  if (elementwise && value(instruction.output).per_row) return false;  // its member may be a gather
  const Node& node = *nodes_[instruction.member];
  const Dtype own = strip_of(instruction);
  if (own != bool_ && own != float32 && own != float64) return false;
  if (own != bool_ && strip != bool_ && own != strip) return false;
  Source operands[3] = {};
  bool any_single = false;
  for (int k = 0; k < instruction.inputs; ++k) {
    const Value& input = value(instruction.input[k]);
    const bool single = program_->is_one_for_row(input);
    operands[k] = single ? Source::single : Source::memory;
    any_single |= single;
    // There are enough elements in a row, and what it reads for each has been computed.
    if (!input.per_row) continue;
    if (program_->length_ < kernels::kLongRow) return false;
    for (int before = first; before < at; ++before)
      if (program_->instructions_[static_cast<std::size_t>(before)].output == instruction.input[k]) return false;
  }
  const Dtype joined = own == bool_ ? strip : own;
  // Only one operand of three is taken from the strip.
  const bool twice = instruction.inputs == 3 && instruction.input[1] == instruction.input[2];
  const bool can = elementwise ? !twice && links_of(instruction, operands, joined)
                   : scatters  ? operands[0] == Source::memory && links_of(instruction, operands, joined)
                               : own != bool_ && node.input(0)->dtype == own && !any_single &&
                                    kernels::table().links(own).reduce[node.operation->kernel].start &&
                                    program_->length_ >= kernels::kLongRow;
  if (can) strip = joined;
  return can;
}

/// Whether an instruction and the next one of a chain, which ends at `last`, are one link. `strip`: the value in the
/// strip before.
bool Planner::find_pair(int at, int last, int strip, Dtype dtype, LinkedPair& pair) {
  using Kind = Instruction::Kind;
  if (at + 1 >= last) return false;
  const Instruction* const both = program_->instructions_.data() + at;
  const std::int16_t made = both[0].output;
  if (value(made).place != Place::buffer || last_use_[made] != at + 1) return false;
  int tile[2] = {};
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && both[i].kind == Kind::reduce) continue;
    const Node& node = *nodes_[both[i].member];
    tile[i] = node.operation->kernel - static_cast<int>(Tile::add);
    if ((both[i].kind != Kind::tile && both[i].kind != Kind::rows) || both[i].inputs != 2 || node.dtype != dtype ||
        node.operation->execute != execute_elementwise || tile[i] < 0 || tile[i] >= kernels::kPairTiles)
      return false;
  }
  const auto is_symmetric = [](int own) {
    const auto function = static_cast<Tile>(own + static_cast<int>(Tile::add));
    return function == Tile::add || function == Tile::mul;
  };
  int side = both[1].input[0] == made ? 0 : 1;
  const bool reduces = both[1].kind == Kind::reduce;
  pair.input[0] = both[0].input[0];
  pair.input[1] = both[0].input[1];
  pair.input[2] = reduces ? kNone : both[1].input[1 - side];
  if (pair.input[2] == made) return false;
  for (int k = 0; k < 3; ++k) {
    pair.operands[k] = pair.input[k] == kNone || pair.input[k] == strip ? Source::strip
                       : program_->is_one_for_row(value(pair.input[k])) ? Source::single
                                                                        : Source::memory;
  }
  if (is_symmetric(tile[0]) && pair.operands[0] > pair.operands[1]) {
    std::swap(pair.input[0], pair.input[1]);
    std::swap(pair.operands[0], pair.operands[1]);
  }
  const kernels::Links& links = kernels::table().links(dtype);
  const auto [x, y, z] = pair.operands;
  const auto index = [](Source source) { return static_cast<int>(source); };
  if (reduces) {
    const int kernel = nodes_[both[1].member]->operation->kernel;
    pair.functions = &links.reduce[kernel].pair[tile[0]][index(x)][index(y)];
  } else {
    if (is_symmetric(tile[1])) side = 0;
    pair.functions = links.pair[tile[0]][tile[1]][side][index(x)][index(y)][index(z)];
  }
  return pair.functions[0] != nullptr;
}

/// One whose links are to come.
Program::Chain Planner::new_chain(int first, int last, Dtype dtype) const {
  Program::Chain chain;
  chain.first = static_cast<std::int16_t>(first);
  chain.last = static_cast<std::int16_t>(last);
  chain.first_link = chain.last_link = static_cast<std::int16_t>(program_->links_.size());
  chain.dtype = dtype;
  chain.links = &kernels::table().links(dtype);
  return chain;
}

/// Makes the links of a chain. `fetch`: it also brings into the cache what others read and write.
void Planner::link_chain(int first, int last, Dtype dtype, bool fetch) {
  using Kind = Instruction::Kind;
  Program& p = *program_;
  const kernels::Links& links = kernels::table().links(dtype);
  const auto at = [](int index) { return static_cast<std::size_t>(index); };
  // What has to be written: what is read other than in the strip, or elsewhere.
  bool written[kMostValues] = {}, read[kMostValues] = {};
  Program::Chain chain = new_chain(first, last, dtype);
  int strip = kNone, reductions = 0;
  LinkedPair pair;
  for (int i = first; i < last; ++i) {
    const bool is_pair = find_pair(i, last, strip, dtype, pair);
    const int inputs = is_pair ? 3 : p.instructions_[at(i)].inputs;
    const std::int16_t* const input = is_pair ? pair.input : p.instructions_[at(i)].input;
    for (int k = 0; k < inputs; ++k) {
      if (input[k] == kNone) continue;
      if (input[k] != strip) written[input[k]] = read[input[k]] = true;
      chain.by_row |= value(input[k]).per_row;
    }
    if (is_pair) value(p.instructions_[at(i++)].output).local = true;
    const Instruction& instruction = p.instructions_[at(i)];
    if (instruction.kind == Kind::reduce || instruction.kind == Kind::column) {
      if (!is_pair) strip = instruction.input[0];
      reductions += instruction.kind == Kind::reduce;
      chain.by_row = true;
      continue;
    }
    strip = instruction.output;
    Value& output = value(strip);
    output.local = output.place == Place::buffer && last_use_[strip] < last;
    written[strip] |= !output.local;
  }
  chain.reduces = reductions > 0;
  chain.step =
      static_cast<std::int16_t>(chain.reduces ? kernels::kGroupBytes / static_cast<int>(size_of(dtype)) : links.strip);
  p.lanes_bytes_ = std::max(p.lanes_bytes_, reductions * kernels::lanes_bytes(p.length_));
  const auto add = [&](void (*function)(), int output) {
    Program::ChainLink& link = p.links_.emplace_back();
    link.function = function;
    link.output = static_cast<std::int16_t>(output);
  };
  const auto fetch_for_later = [&](std::int16_t index) {
    const Value& v = value(index);
    if (v.place != Place::memory || v.per_row || v.element != size_of(dtype) || v.row_bytes == 0) return;
    int user = 0;  // the first
    const auto uses = [&](const Instruction& instruction) {
      const std::int16_t* const end = instruction.input + instruction.inputs;
      return instruction.output == index || std::find(instruction.input, end, index) != end;
    };
    const auto count = static_cast<int>(p.instructions_.size());
    while (user < count && !uses(p.instructions_[at(user)])) ++user;
    if (user == count || (user >= first && user < last && p.is_long_)) return;  // it would be gone by then
    if (p.instructions_[at(user)].output == index && is_streamed(index, count)) return;
    add(links.fetch, kNone);
    p.links_.back().value[0] = index;
    p.links_.back().ahead = user < last;
  };
  if (fetch) {
    for (const Program::External& external : p.externals_) fetch_for_later(external.value);
    for (const Program::Result& result : p.results_) fetch_for_later(result.value);
  }
  strip = kNone;
  const auto is_bool = [&](int index) { return value(index).element == size_of(bool_); };
  // The link of what is in the strip then, and one that writes it if that is another's part.
  const auto finish = [&](Program::ChainLink& link, LinkFunctions functions) {
    const bool streamed = written[strip] && !read[strip] && is_streamed(strip, last);
    const bool by_itself = streamed || !functions[1];
    link.function = functions[written[strip] && !by_itself];
    if (!written[strip]) return;
    if (!by_itself) link.output = static_cast<std::int16_t>(strip);
    else add(streamed ? links.stream : links.store[is_bool(strip)], strip);
    value(strip).streamed = streamed;
  };
  for (int i = first; i < last; ++i) {
    add(nullptr, kNone);
    Program::ChainLink& link = p.links_.back();
    if (find_pair(i, last, strip, dtype, pair)) {
      for (int k = 0; k < 3; ++k)
        if (pair.operands[k] != Source::strip) link.value[k] = pair.input[k];
      const Instruction& second = p.instructions_[at(++i)];
      if (second.kind == Kind::reduce) {
        link.function = pair.functions[0];
        link.reduction = &links.reduce[nodes_[second.member]->operation->kernel];
        link.output = second.output;
      } else {
        strip = second.output;
        finish(link, pair.functions);
      }
      continue;
    }
    const Instruction& instruction = p.instructions_[at(i)];
    const int kernel = nodes_[instruction.member]->operation->kernel;
    Source operands[3] = {};
    for (int k = 0; k < instruction.inputs; ++k) {
      const std::int16_t input = instruction.input[k];
      if (input == strip) continue;
      link.value[k] = input;
      operands[k] = p.is_one_for_row(value(input)) ? Source::single : Source::memory;
    }
    if (instruction.kind == Kind::reduce || instruction.kind == Kind::column) {
      const kernels::Links::Reduction& reduction = links.reduce[kernel];
      link.output = instruction.output;
      const bool memory = operands[0] == Source::memory;
      if (instruction.kind == Kind::reduce) {
        link.reduction = &reduction;
        link.function = reduction.link[memory];
      } else {
        link.function = reduction.column[memory][0];
        link.first_row = reduction.column[memory][1];
        link.value[1] = static_cast<std::int16_t>(i);
      }
      strip = instruction.input[0];
      continue;
    }
    const bool scatters = instruction.kind == Kind::scatter;
    strip = instruction.output;
    const LinkFunctions functions = links_of(instruction, operands, dtype);
    if (instruction.inputs == 1 || scatters) {
      std::fill(link.value, link.value + 3, kNone);
      if (operands[0] == Source::memory) {
        link.function = links.load[is_bool(instruction.input[0])];
        link.value[0] = instruction.input[0];
        add(nullptr, kNone);
      }
    }
    if (scatters) std::copy(instruction.input + 1, instruction.input + 3, p.links_.back().value);
    finish(p.links_.back(), functions);
  }
  add(links.last, kNone);
  chain.last_link = static_cast<std::int16_t>(p.links_.size());
  p.chains_.push_back(chain);
}

/// Whether an instruction makes one number for each row, as a link can.
bool Planner::is_number(const Instruction& instruction) {
  if (instruction.member == kNone || instruction.kind != Instruction::Kind::tile) return false;
  const Node& node = *nodes_[instruction.member];  // a gather, where this is done for gathered elements
  if (!value(instruction.output).per_row || node.operation->execute != execute_elementwise ||
      (node.dtype != float32 && node.dtype != float64))
    return false;
  for (int k = 0; k < instruction.inputs; ++k)
    if (node.input(k)->dtype != node.dtype) return false;
  return kernels::table().links(node.dtype).number[node.operation->kernel][1][0] != nullptr;
}

/// Makes chains of what makes single numbers, where a block is a row.
void Planner::link_numbers() {
  Program& p = *program_;
  if (p.block_ != 1 || p.rows_ * p.length_ < kFewestElements) return;
  const auto at = [](int index) { return static_cast<std::size_t>(index); };
  const auto count = static_cast<int>(p.instructions_.size());
  std::size_t next = 0;  // chain
  for (int i = 0; i < count;) {
    if (next < p.chains_.size() && i == p.chains_[next].first) {
      i = p.chains_[next++].last;
      continue;
    }
    if (!is_number(p.instructions_[at(i)])) {
      ++i;
      continue;
    }
    const Dtype dtype = nodes_[p.instructions_[at(i)].member]->dtype;
    Program::Chain chain = new_chain(i, i, dtype);
    chain.numbers = true;
    const int end = next < p.chains_.size() ? p.chains_[next].first : count;
    for (int number = kNone; i < end; ++i) {
      const Instruction& instruction = p.instructions_[at(i)];
      if (!is_number(instruction) || nodes_[instruction.member]->dtype != dtype) break;
      Program::ChainLink& link = p.links_.emplace_back();
      link.output = instruction.output;
      bool memory[2] = {};
      for (int k = 0; k < instruction.inputs; ++k) {
        memory[k] = instruction.input[k] != number;
        if (memory[k]) link.value[k] = instruction.input[k];
      }
      link.function = chain.links->number[nodes_[instruction.member]->operation->kernel][memory[0]][memory[1]];
      number = instruction.output;
    }
    p.links_.emplace_back().function = chain.links->last_number;
    chain.last = static_cast<std::int16_t>(i);
    chain.last_link = static_cast<std::int16_t>(p.links_.size());
    p.chains_.insert(p.chains_.begin() + static_cast<std::ptrdiff_t>(next++), chain);
  }
}

}  // namespace adjoint::detail
