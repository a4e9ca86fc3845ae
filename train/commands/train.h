#pragma once
// train: one subcommand for each network, and what they share.

#include "train/commands/command.h"
#include "train/trainer.h"

namespace dr::cli {

void add_train(Command& app, Body& body);  // with each of these beneath
void add_train_tokenizer(Command& train, Body& body);
void add_train_world(Command& train, Body& body);
void add_train_pose(Command& train, Body& body);

// What Common asks of a run that trains: opens the ledger and the profiler, and ends them after the last step.
class Recording {
 public:
  Recording(Runtime& runtime, const Common& common);
  void finish();  // closes the ledger; prints the profiler's table, and with --out writes trace.json

 private:
  Runtime& runtime_;
  const Common& common_;
};

// The folder of a run that was given none.
std::string training_folder(const Common& common);

}  // namespace dr::cli
