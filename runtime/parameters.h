#pragma once
// Named parameters, and the canonical sum of their gradients over a step's leaves.

#include "runtime/tape.h"

namespace dr {

struct Init {
  enum class Kind : uint8_t { zeros, ones, normal } kind = Kind::zeros;
  float deviation = 0;

  static Init zeros() { return {}; }
  static Init ones() { return {Kind::ones, 0}; }
  static Init normal(float deviation) { return {Kind::normal, deviation}; }
};

struct Parameter {
  std::string name;  // "blocks.3.attention.qkv.weight"
  Tensor value;      // f32
  Init init;
  uint32_t op_id;    // of its random numbers: a function of the name alone, so adding a parameter changes no other
};

// In the order of creation, which the program fixes.
class Parameters {
 public:
  explicit Parameters(Runtime& runtime) : runtime_(runtime) {}
  Runtime& runtime() const { return runtime_; }

  // The tensor is undefined until initialise() or a load. Throws if the name is taken.
  Tensor add(std::string name, const Sizes& sizes, Init init);
  void initialise(uint64_t seed);

  size_t size() const { return list_.size(); }
  const Parameter& operator[](size_t i) const { return list_[i]; }
  const Parameter& at(std::string_view name) const;
  int64_t count() const;  // elements of all
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

  void watch(Tape& tape) const;
  std::vector<Tensor> gradients(const Tape& tape) const;  // one per parameter, leaves first; absent where unused

  std::string hash() const;  // of names, shapes and bits, in the order of names; 32 hex digits

 private:
  Runtime& runtime_;
  std::vector<Parameter> list_;
};

// Adds the leaves of a step, which may come in any number of micro-batches, so that the sum depends on the leaves
// alone: group g of G holds leaves floor(g N / G) up to floor((g + 1) N / G); inside a group leaves are added in
// ascending order; groups are added by a binary tree (an empty group is left out). Each of R ranks owns G / R
// neighbouring groups and gets their subtree. G and R are powers of two, R <= G. At most log2(G) + 2 sums per parameter
// are held at a time.
class GradientAccumulator {
 public:
  GradientAccumulator(Runtime& runtime, int64_t leaves, int groups = 8, int rank = 0, int ranks = 1);

  int64_t next_leaf() const { return next_; }  // of the whole step; a rank's first leaf at the start
  int64_t end_leaf() const { return bound(last_group_); }

  // The next micro-batch: one gradient per parameter, (leaves, shape...), or absent in every micro-batch.
  void add(const std::vector<Tensor>& gradients);
  // After the last leaf of this rank; one sum per parameter. Empty if the rank has no leaves.
  std::vector<Tensor> finish();

 private:
  int64_t bound(int group) const { return group * leaves_ / groups_; }
  void close_groups();
  void merge(std::vector<Tensor>& into, std::vector<Tensor> later);

  Runtime& runtime_;
  int64_t leaves_, next_;
  int groups_, first_group_, last_group_, group_;
  std::vector<Tensor> current_;              // sum of the open group
  std::vector<std::vector<Tensor>> levels_;  // level l: the sum of 2^l groups that waits for its right neighbour
};

}  // namespace dr
