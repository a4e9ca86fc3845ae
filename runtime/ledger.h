#pragma once
// The ledger: per op call, the hash of every input, output and gradient; per step, a root hash. Two runs that should be
// the same bits are compared by their ledgers, and the first difference is named: step, op, call, tensor, element.
//
// File, little-endian, strings as u8 length and bytes:
//   "dreamroad ledger 1\n"
//   records   'C' op, u8 backward, u8 tensors, then per tensor:
//                 name, u8 role, u8 dtype, u8 rank, i64 sizes[rank], u64 low, high, s0, s1, s2
//             'S' i64 step, u64 root low, high: ends the step whose calls precede it
//                 the root is the Digest of their bytes
//   'E' u64 steps, u64 digest low, high: the Digest of all bytes before it
// It is written beside its final name and renamed by close(), so what lies under that name is complete.

#include <cstdio>
#include <string>
#include <vector>

#include "runtime/hash.h"

namespace dr {

enum class Role : uint8_t { input, output, output_gradient, gradient };

struct LedgerTensor {
  std::string name;
  Role role = Role::input;
  DType dtype = DType::f32;
  Sizes sizes;
  TensorHash hash;
};
struct LedgerCall {
  std::string op;
  bool backward = false;
  std::vector<LedgerTensor> tensors;
};
struct LedgerStep {
  int64_t step = 0;
  uint64_t root_low = 0, root_high = 0;
  std::vector<LedgerCall> calls;
};
using Ledger = std::vector<LedgerStep>;

class LedgerWriter {
 public:
  explicit LedgerWriter(std::string path);
  ~LedgerWriter();  // without close(): nothing is left under the final name
  LedgerWriter(const LedgerWriter&) = delete;
  LedgerWriter& operator=(const LedgerWriter&) = delete;

  void begin_step(int64_t step);
  bool in_step() const { return in_step_; }
  void add(const LedgerCall& call);
  std::string end_step();  // the root hash, in hex
  void close();

 private:
  void write(const std::string& bytes);

  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  Digest all_, root_;
  int64_t step_ = 0;
  uint64_t steps_ = 0;
  bool in_step_ = false;
};

// Throws dr::Error with one line when the file is missing, damaged or cut short.
Ledger read_ledger(const std::string& path);
Ledger parse_ledger(std::string_view bytes, const std::string& name);  // the name is for messages

struct LedgerDiff {
  bool identical = true;
  int64_t step = -1, call = -1;  // call: position within the step
  std::string op, tensor;        // tensor: "x", or "dx" for a gradient
  int64_t element = -1;          // -1: several elements differ, or none can be named
  std::string what;              // one line for people
};
LedgerDiff diff(const Ledger& a, const Ledger& b);

}  // namespace dr
