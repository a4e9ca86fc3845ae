#pragma once
// Checkpoints: weights and what training needs to go on, in one safetensors file.
//
//   arrays    weights.NAME, and in a checkpoint of training average.NAME (EMA), adam.m.NAME, adam.v.NAME: F32
//   metadata  format = "dreamroad checkpoint 1", kind ("tokenizer", "world", "pose", ...), settings (JSON), step,
//             hashes (JSON: array -> 32 hex digits, of name, shape and bits), digest (of the metadata before it)
//
// Every array is compared with its hash when it is loaded, so damage is refused, naming the tensor.

#include <nlohmann/json.hpp>
#include <string>

#include "io/safetensors.h"
#include "runtime/parameters.h"

namespace dr {

struct CheckpointNotes {
  std::string kind;
  nlohmann::json settings;
  int64_t step = 0;
};

struct NamedTensor {
  std::string name;
  Tensor value;
};
// The file appears whole or not at all. Tensors must be packed f32.
void write_checkpoint(Runtime& runtime, const std::string& path, const CheckpointNotes& notes,
                      const std::vector<NamedTensor>& tensors);

class Checkpoint {
 public:
  // Checks everything but the arrays' bytes. Throws where it is no checkpoint, or of another kind.
  Checkpoint(const std::string& path, std::string_view kind);

  const std::string& path() const { return path_; }
  const CheckpointNotes& notes() const { return notes_; }
  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  // Into a packed f32 tensor of the stored shape.
  void load(Runtime& runtime, const std::string& name, const Tensor& to) const;
  // The averaged weights of that name, or the plain ones where there is no average; false where the file has none of this
  // shape.
  bool load_average(Runtime& runtime, const std::string& name, const Tensor& to) const;
  // weights.NAME of every parameter; the average instead where the file has it and `average` is set. Throws, naming it,
  // at an array that no parameter takes.
  void load(Runtime& runtime, const Parameters& parameters, bool average) const;

 private:
  std::string path_;
  SafeTensors file_;
  CheckpointNotes notes_;
  nlohmann::json hashes_;
};

}  // namespace dr
