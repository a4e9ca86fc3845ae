#pragma once
// eval: one subcommand for each network that is measured.

#include "train/commands/command.h"

namespace dr::cli {

void add_eval(Command& app, Body& body);  // with each of these beneath
void add_eval_world(Command& eval, Body& body);

}  // namespace dr::cli
