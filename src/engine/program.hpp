// A group of nodes as a program: instructions over a block of rows, on buffers, and on inputs' and results' memory.
//
// A program says nothing of the evaluation it was made in: no nodes, no addresses. It serves every other one whose
// nodes, in the same order, have the same operations, reduced dims, shapes, dtypes and inputs, and the same of which
// are cells, held, and read by derivatives; it is bound to the memory of each, if that is laid out alike.
#pragma once

#include "engine/fusible.hpp"
#include "engine/memory_order.hpp"
#include "kernels/kernels.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace adjoint::detail {

/// What a program is computed on, for one evaluation: kept, so that the next one allocates none.
struct Binding {
  Node* const* nodes = nullptr;
  std::vector<std::byte*> data;       // of each value that has memory
  std::vector<std::uint8_t> donated;  // externals
};

class Program {
 public:
  /// Finds the memory of what the group reads, and allocates that of its results, or takes it from inputs that nobody
  /// else reads any more. False where an input failed, lies in memory in another way than when this was made, or is
  /// another one than that which it was then; then, and when it throws std::bad_alloc, forget().
  bool bind(Node* const* nodes, Binding& binding) const;
  /// The bytes that compute() wants, or 0.
  std::size_t buffer_bytes() const noexcept;
  void compute(const Binding& binding, std::byte* buffers) const;
  /// The group's members.
  int count() const noexcept { return count_; }
  /// Whether it is known of all members who reads them, and of all that they read how often, so that finish() knows.
  bool is_closed() const noexcept { return closed_; }
  /// Of a closed group: whether nobody outside reads a member.
  bool is_interior(int member) const noexcept { return interior_ >> member & 1; }
  /// Of a closed group, whose members are on no derivative's way, when they are computed: calls finish_result(node) for
  /// those that others read, and frees the others. What was read, and the list of pending nodes' links, are let go of.
  template <class FinishResult>
  void finish(Node* const* nodes, const FinishResult& finish_result) const noexcept;
  /// Lets go of the memory of the group's results, to which nothing has been written.
  static void forget(Node* const* nodes, int count) noexcept;
  /// Of this program.
  std::size_t bytes() const noexcept;

 private:
  friend class Planner;
  friend class Listing;  // explain.cpp
  static constexpr std::int16_t kNone = -1;
  static constexpr std::int64_t kLocalBytes = 256;  // neither a strip is longer, nor a group of what is reduced
  static_assert(kLocalBytes >= kernels::kGroupBytes);
  static constexpr int kMostExternals = 64, kMostValues = 2 * kMostMembers + kMostExternals;
  static constexpr int kMostInstructions = 2 * kMostMembers + kMostExternals;

  /// Where the elements of a value are, for a block.
  enum class Place : std::uint8_t {
    buffer,    // in a buffer of the block's; results of instructions
    memory,    // contiguous in memory
    loaded,    // strided in memory: loaded into a buffer
    constant,  // loaded into a buffer once, as it is the same for each block, or for each block before all else; or
               // such but for the elements that a scatter outside of chains adds to
  };
  struct Value {
    std::int64_t row_bytes;  // from a row to the next in memory: 0 where all are the same
    Place place;
    bool per_row;   // one element for each row, else for each element of the shape
    bool single;    // all elements of a row are the same
    bool local;     // in a chain's buffer: no instruction but the chain's reads it
    bool streamed;  // a chain writes it past the caches, where it is not in place
    std::uint8_t element;
    std::int16_t buffer, strides;  // strides: of what is loaded
  };
  using Reduction = void (*)(std::int64_t rows, std::int64_t n, const void* input, std::int64_t row_stride,
                             void* output);
  using Accumulation = void (*)(std::int64_t n, const void* input, void* accumulator);
  using AccumulationOfRows = void (*)(std::int64_t rows, std::int64_t n, const void* input, void* accumulator);
  struct Instruction {
    enum class Kind : std::uint8_t {
      tile,
      rows,  // a tile kernel for each row, with a single element for one of the operands
      load,
      reduce,
      random,
      join,  // the elements of the member's inputs, one after another
      expand,
      column,   // adds rows to the sums (or what it is) of columns
      gather,   // for each row, its element at an index
      scatter,  // adds a value for each row to its element at an index
    } kind;
    std::uint8_t inputs;
    std::int16_t input[3], output;
    std::int16_t member;
    std::int32_t column;  // where its columns are among those of all, in bytes; of a join: its ends
    AccumulationOfRows accumulate_rows;
    union {
      kernels::TileKernel kernel;  // of a scatter: what adds
      Reduction reduce;
      Accumulation accumulate;
    };

    /// Of a scatter: adds a value to an element.
    void add(const std::byte* value, std::byte* element) const {
      const void* const terms[] = {element, value};
      kernel(1, terms, element);
    }
  };
  /// Instructions, one after another, that are executed together strip by strip: what one hands to the next stays in
  /// registers, and what later ones read in a buffer of one strip, unless others read it as well.
  struct Chain {
    std::int16_t first, last;  // of instructions_
    std::int16_t first_link, last_link;
    std::int16_t step = 0;  // elements of which it takes a multiple: a strip, or a group of what is reduced
    bool by_row = false;    // else on the whole block
    bool reduces = false;   // rows
    bool numbers = false;   // each instruction makes one for a row, which is a block: a strip is a number
    Dtype dtype;            // of the strip: float32 or float64
    const kernels::Links* links;
  };
  struct ChainLink {
    void (*function)() = nullptr;
    void (*first_row)() = nullptr;                         // where columns begin; else null
    const kernels::Links::Reduction* reduction = nullptr;  // of rows; else null
    std::int16_t value[3] = {kNone, kNone, kNone};         // of columns, the second is the instruction
    std::int16_t output = kNone;                           // kNone: only handed on
    std::int16_t ahead = 0;                                // of what is fetched: blocks
  };
  /// What a thread executes chains with.
  class Chains {
   public:
    /// `base`: where each value is. `scratch` has chain_bytes().
    Chains(const Program& program, const Binding& binding, std::byte* const* base, std::byte* scratch,
           std::byte* partial, std::int64_t first_row) noexcept;
    ~Chains();
    Chains(const Chains&) = delete;
    Chains& operator=(const Chains&) = delete;
    /// On a block of rows, which follow those that it was called for before.
    void run(const Chain& chain, std::int64_t row, std::int64_t rows);

   private:
    static constexpr int kMostFetched = kMostExternals + kMostMembers;
    static constexpr int kMostLinks = 4 * kMostInstructions + kMostFetched;
    static constexpr int kMostMoves = 5 * kMostInstructions + kMostFetched;
    std::byte* address(int value, std::int64_t row, std::int64_t row_of_block) const noexcept;
    void bind(const Chain& chain, std::int64_t row) noexcept;
    void run_some(const Chain& chain, std::int64_t row, std::int64_t row_of_block, std::int64_t begin,
                  std::int64_t end);
    bool is_in_place(int value) const noexcept;

    const Program& program_;
    const Binding& binding_;
    std::byte* const* base_;
    std::byte *lanes_, *partial_;
    kernels::Link links_[kMostLinks];
    /// An address that goes on from a row to the next. Those of a chain end with null; its links that reduce or stream
    /// begin at its first link, and end with kNone.
    struct Move {
      const std::byte** address;
      std::int64_t step;
      std::byte* const* first;  // of what is no memory: where a block begins; else null
    };
    Move moves_[kMostMoves];
    Move* next_move_ = moves_;
    const Move* moves_of_[kMostInstructions];  // by chain
    std::int16_t varying_[kMostLinks];
    void (*drain_)() = nullptr;  // where anything is streamed
  };
  /// A node that the group reads: an input of a member.
  struct External {
    std::int16_t member, input, value;
    std::int16_t readers;  // among the members
    std::int16_t layout;   // its strides in layouts_; kNone: row-major
  };
  /// An external that is read again.
  struct Again {
    std::int16_t member, input, external;
  };
  /// A member whose value is read outside.
  struct Result {
    std::int16_t member, value;
    std::int16_t first, last;  // of candidates_
    std::int16_t readers;      // among the members
  };

  /// A value for each row that is reduced to a member's own when all rows are done.
  struct RowsOfMany {
    std::int16_t value, member;
    std::int64_t place;  // in bytes
  };

  /// Whether an input's memory may be taken for a result, as far as only the evaluation knows.
  bool is_free(const External& external, const Node& node, Node* const* nodes) const noexcept;
  /// Whether each index is one of a row's positions.
  bool indices_fit(const Binding& binding) const noexcept;
  /// Where the columns of a row are accumulated.
  std::byte* columns_of(const Instruction& instruction, const Binding& binding, std::byte* partial,
                        std::int64_t row) const noexcept;
  /// Elements of what a member joins, whose inputs' ends begin at the given place: where they lie, if it is one after
  /// another in one of them and `in_place`, or loaded into `to`.
  const std::byte* read_joined(const Node& node, int ends, std::int64_t first, std::int64_t n, bool in_place,
                               std::byte* to) const;
  void finish_columns(const Binding& binding, std::byte* partial) const;
  /// Of blocks of rows' sums, behind which are the results of rows of many.
  std::int64_t partial_columns_bytes() const noexcept;
  /// What a thread needs for a block.
  std::int64_t block_bytes() const noexcept { return buffer_bytes_ * buffers_ + chain_bytes(); }
  std::int64_t chain_bytes() const noexcept;
  template <bool is_long>  // is_long_
  void execute(const Binding& binding, std::int64_t first_row, std::int64_t last_row, std::byte* buffers,
               std::byte* partial) const;
  /// Whether a chain reads one element for all of a row.
  bool is_one_for_row(const Value& value) const noexcept {
    return value.per_row || (value.single && (is_long_ || value.row_bytes == 0));
  }
  /// Whether an instruction of a long row goes tile by tile.
  bool is_cut(const Instruction& instruction) const noexcept {
    using Kind = Instruction::Kind;
    const Kind kind = instruction.kind;
    return (kind == Kind::tile || kind == Kind::rows || kind == Kind::load || kind == Kind::column ||
            kind == Kind::scatter) &&
           !values_[static_cast<std::size_t>(instruction.output)].per_row;
  }

  /// Calls visit(list) for each of a program's lists below.
  template <class Self, class Visit>
  static void for_lists(Self& self, const Visit& visit) {
    visit(self.values_);
    visit(self.instructions_);
    visit(self.externals_);
    visit(self.again_);
    visit(self.strides_);
    visit(self.layouts_);
    visit(self.constants_);
    visit(self.loaded_first_);
    visit(self.indices_);
    visit(self.columns_);
    visit(self.rows_of_many_);
    visit(self.chains_);
    visit(self.links_);
    visit(self.results_);
    visit(self.candidates_);
    visit(self.joins_);
    visit(self.joined_ends_);
    visit(self.moved_);
    visit(self.aliases_);
  }

  int count_ = 0;          // of members
  bool late_ = false;      // new values of cells may take the memory of the old ones
  bool has_rows_ = false;  // else elements are rows of one
  bool one_row_ = false;   // a block is one row
  bool is_long_ = false;   // and longer than a tile
  bool row_major_ = true;
  bool closed_ = false;
  int buffers_ = 0, local_buffers_ = 0;
  std::int64_t lanes_bytes_ = 0;  // the most of a chain
  MemberBits interior_ = 0;
  Shape memory_shape_;                              // of the group, in the order in memory
  Shape rows_shape_;                                // the dims before a row
  Strides strides_of_results_;                      // those of the group's shape
  std::int64_t rows_ = 0, length_ = 0, block_ = 0;  // rows, elements of a row, rows of a block
  std::int64_t per_chunk_ = 0, chunks_ = 0;         // rows
  std::int64_t buffer_bytes_ = 0;

  std::vector<Value> values_;
  std::vector<Instruction> instructions_;
  std::vector<External> externals_;
  std::vector<Again> again_;
  std::vector<Strides> strides_, layouts_;
  std::vector<std::int16_t> constants_;     // values
  std::vector<std::int16_t> loaded_first_;  // values for each row, of each block before all else
  std::vector<std::int16_t> indices_;       // values
  std::vector<std::int16_t> columns_;       // instructions
  std::vector<Chain> chains_;
  std::vector<ChainLink> links_;
  std::int64_t columns_bytes_ = 0;  // of one block of rows' sums of all of them
  std::vector<RowsOfMany> rows_of_many_;
  std::int64_t rows_of_many_bytes_ = 0;
  std::vector<Result> results_;
  std::vector<std::int16_t> candidates_;   // externals whose memory a result may take
  std::vector<std::int64_t> joined_ends_;  // of each of their inputs, in elements
  std::vector<std::int16_t> joins_;        // members whose inputs, which are no externals, are read block by block
  std::vector<std::int16_t> moved_;        // members that show an input of the group in another form
  std::vector<std::int16_t> aliases_;      // members that show a result in another form, or are reduced afterwards
};

template <class FinishResult>
void Program::finish(Node* const* nodes, const FinishResult& finish_result) const noexcept {
  for (const External& external : externals_)
    nodes[external.member]->input(external.input)->drop_reads(external.readers);
  for (const std::int16_t member : joins_)
    for (int k = 0; k < nodes[member]->input_count(); ++k) nodes[member]->input(k)->drop_reads(1);
  for (int i = 0; i < count_; ++i) {
    if (is_interior(i)) nodes[i]->discard();
    else nodes[i]->set_computed_alone();
  }
  for (const Result& result : results_) {
    Node& node = *nodes[result.member];
    finish_result(node);
    node.drop_reads(result.readers);
    node.drop_link();  // of the list of pending nodes
  }
}

/// Translates groups.
class Planner {
 public:
  /// False where a group has to be computed node by node; then forget() what has been moved. `late`: it is computed
  /// when nothing can fail any more. `repeated`: members whose values are for the others alone. Nothing of the
  /// program's contents before is used but its memory.
  bool plan(Node* const* nodes, int count, bool late, const Repeated& repeated, Program& program);

 private:
  using Value = Program::Value;
  using Instruction = Program::Instruction;
  using Place = Program::Place;
  static constexpr std::int16_t kNone = Program::kNone;
  static constexpr int kMostExternals = Program::kMostExternals, kMostValues = Program::kMostValues;
  static constexpr int kMostInstructions = Program::kMostInstructions;
  /// How a node's shape relates to the group's: the same, one value per row with sizes of 1 in place of its dims, or
  /// without these; or it is a single element, which is read where it is.
  enum class Form : std::uint8_t { full, kept, removed, single };

  bool is_member(const Node* node) const noexcept { return detail::is_member(nodes_, count_, *node); }
  /// Whether a node's value is made by an instruction.
  bool is_inside(const Node* node) const noexcept { return is_member(node) && !node->value.data; }
  Form form_of(const Node& node) const noexcept {
    return node.shape == *shape_ ? Form::full : node.shape.size() == shape_->size() ? Form::kept : Form::removed;
  }
  Value& value(int index) noexcept { return program_->values_[static_cast<std::size_t>(index)]; }
  bool prepare();
  bool find_order();
  bool translate(int index);
  bool reduce_columns(int index);
  bool translate_tile(int index, Form form, Instruction& instruction, int gather = kNone);
  bool index_rows(int index, Instruction& instruction);
  void find_gathered();
  int gathered(int gather, int member, int input);
  int new_value(bool per_row, std::size_t element);
  int value_of(int member, int input, Form form);
  int single_of(int member, int input, Form form);
  int load(int value);
  bool repeats_in_block(const Shape& shape, const Strides& strides);
  int expanded(int value);
  void find_materialized();
  void find_candidates(int at, const Node& node);
  void place_results();
  using LinkFunctions = void (*const*)();  // [1]: written to memory
  LinkFunctions links_of(const Instruction& instruction, const kernels::Source* operands, Dtype strip) const;
  Dtype strip_of(const Instruction& instruction) const;
  /// Two instructions that are one link.
  struct LinkedPair {
    LinkFunctions functions;
    std::int16_t input[3];  // the first one's, and the second one's other one
    kernels::Source operands[3];
  };
  bool find_pair(int at, int last, int strip, Dtype dtype, LinkedPair& pair);
  bool can_be_linked(int at, int chain_begin, Dtype& strip);
  bool is_streamed(int value, int chain_end) const;
  template <class Visit>
  void for_chains(const Visit& visit);
  void join_chains();
  void order_chains();
  void order_chain(int first, int last);
  void find_chains();
  void link_chain(int first, int last, Dtype strip, bool fetch);
  Program::Chain new_chain(int first, int last, Dtype dtype) const;
  void link_numbers();
  bool is_number(const Instruction& instruction);
  void assign_buffers();
  int work_of(const Instruction& instruction);
  void cut_blocks();
  void find_interior();
  bool keeps_copy(const Instruction& scatter);

  Node* const* nodes_;
  int count_;
  Repeated repeated_;
  Program* program_;
  const Shape* shape_;  // of the group
  int row_dims_;
  Rows column_rows_;       // of the members that are columns
  bool rows_for_columns_;  // there are rows for the sake of these alone
  MemoryOrder order_{0};
  std::size_t widest_;
  std::int64_t period_;  // elements, without rows: blocks begin at multiples of it

  struct External {
    const Node* node;
    Form form;
    bool kept;  // a derivative, or a member that is computed again, will read it
  };
  External externals_[kMostExternals];
  std::int16_t donor_[kMostExternals];  // externals whose memory a result may take when they are not read any more
  int donors_;
  std::int16_t member_value_[kMostMembers], expanded_[kMostValues], last_use_[kMostValues];
  bool loaded_[kMostValues];
  bool materialized_[kMostMembers], afterwards_[kMostMembers];
  bool gathered_[kMostMembers];            // computed for gathered elements alone
  bool gathered_again_[kMostMembers];      // computed once more for them
  bool counted_[kMostMembers];             // among the externals' readers
  std::int16_t indices_of_[kMostMembers];  // of a gather: their value
  static constexpr int kKindsOfBuffers = 5;
  std::int16_t free_buffers_[kKindsOfBuffers][kMostValues];
};

}  // namespace adjoint::detail
