// The command line: one binary, one subcommand per task.

#include <csignal>
#include <cstdio>

#include "train/commands/command.h"
#include "train/commands/eval.h"
#include "train/commands/train.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of the write, which says so in a line
  dr::Command app("dreamroad", "trains and samples driving world models and policies");
  bool list = false;
  app.add_flag("--list-ops", list, "print the op table: tier, gradient, number of cases");
  dr::cli::Body body;
  dr::cli::add_audit(app, body);
  dr::cli::add_bench(app, body);
  dr::cli::add_simulate(app, body);
  dr::cli::add_reproject(app, body);
  dr::cli::add_inspect(app, body);
  dr::cli::add_train(app, body);
  dr::cli::add_encode(app, body);
  dr::cli::add_sample(app, body);
  dr::cli::add_eval(app, body);
  dr::cli::add_report(app, body);

  return dr::run(app, {argv + 1, argv + argc}, dr::cli::kBadInput, [&] {
    if (list) return dr::cli::list_ops();
    if (body) return body();
    std::printf("%s", app.help().c_str());
    return int(dr::cli::kBadInput);
  });
}
