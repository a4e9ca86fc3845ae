#include "train/commands/train.h"

#include <cstdio>

#include "io/file.h"

namespace dr::cli {

Recording::Recording(Runtime& runtime, const Common& common) : runtime_(runtime), common_(common) {
  if (!common.ledger.empty()) runtime.ledger = std::make_unique<LedgerWriter>(common.ledger);
  if (common.profile) runtime.profiler.emplace();
}

void Recording::finish() {
  if (runtime_.ledger) runtime_.ledger->close();
  runtime_.ledger.reset();
  if (!runtime_.profiler) return;
  std::printf("%s", runtime_.profiler->table().c_str());
  if (!common_.out.empty()) write_file(common_.out + "/trace.json", runtime_.profiler->chrome_trace());
  runtime_.profiler.reset();
}

std::string training_folder(const Common& common) { return common.out.empty() ? "out/train" : common.out; }

void add_train(Command& app, Body& body) {
  Command train = app.add_subcommand("train", "train a network; write checkpoints and a log");
  train.require_subcommand();
  add_train_tokenizer(train, body);
  add_train_world(train, body);
  add_train_pose(train, body);
}

}  // namespace dr::cli
