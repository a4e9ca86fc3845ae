// The command line: one binary, one subcommand per task.

#include <csignal>
#include <cstdio>

#include "io/nearest.h"
#include "kernels/core/check.h"
#include "train/commands/command.h"
#include "train/commands/train.h"

namespace {

// CLI11 names the argument that it could not place; the closest valid name is what a user wants to see next to it.
std::string suggestion(const CLI::App& app, const std::string& written) {
  const CLI::App* command = &app;
  for (bool deeper = true; deeper;) {
    deeper = false;
    for (const CLI::App* sub : command->get_subcommands({}))
      if (sub->parsed()) command = sub, deeper = true;
  }
  std::vector<std::string> names;
  for (const CLI::App* sub : command->get_subcommands({})) names.push_back(sub->get_name());
  for (const CLI::Option* option : command->get_options()) names.push_back("--" + option->get_single_name());
  return dr::nearest(written, names);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of the write, which says so in a line
  CLI::App app("dreamroad: trains and samples driving world models and policies");
  app.name("dreamroad");
  app.set_help_all_flag("--help-all", "help of every subcommand");
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

  try {
    app.parse(dr::cli::arguments(app, {argv + 1, argv + argc}));
    if (list) return dr::cli::list_ops();
    if (!body) {
      std::printf("%s", app.help().c_str());
      return dr::cli::kBadInput;
    }
    return body();
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ExtrasError& e) {
    const std::string left = app.remaining(true).empty() ? "" : app.remaining(true).front();
    std::fprintf(stderr, "dreamroad: unknown argument '%s'; the nearest valid one is %s\n", left.c_str(),
                 suggestion(app, left).c_str());
    return dr::cli::kBadInput;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "dreamroad: %s\n", e.what());
    return dr::cli::kBadInput;
  } catch (const dr::Error& e) {
    std::fprintf(stderr, "dreamroad: %s\n", e.what());
    return dr::cli::kBadInput;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "dreamroad: out of memory\n");
    return dr::cli::kBadInput;
  }
}
