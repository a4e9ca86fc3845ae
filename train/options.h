#pragma once
// Options of a command. options.cpp alone sees CLI11, whose header adds five seconds to the compilation of a file.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace dr {

class Command {
 public:
  class Option {
   public:
    explicit Option(CLI::Option* option) : option_(option) {}
    Option& required();
    Option& show_default();  // in --help: the variable's value when this is called
    Option& range(int64_t low, int64_t high);
    Option& range(double low, double high);
    Option& range(int low, int high) { return range(int64_t{low}, int64_t{high}); }
    Option& one_of(const std::vector<std::string>& accepted);

   private:
    CLI::Option* option_;
  };

  explicit Command(const std::string& name = "", const std::string& description = "");  // a program
  // Lives as long as the program.
  Command add_subcommand(const std::string& name, const std::string& help);
  void require_subcommand();  // exactly one

  // The variable must outlive the parse. "--name"; without hyphens: a positional argument.
  Option add_option(const std::string& name, int& value, const std::string& help);
  Option add_option(const std::string& name, int64_t& value, const std::string& help);
  Option add_option(const std::string& name, uint64_t& value, const std::string& help);
  Option add_option(const std::string& name, double& value, const std::string& help);
  Option add_option(const std::string& name, std::string& value, const std::string& help);
  Option add_option(const std::string& name, std::vector<std::string>& values, const std::string& help);  // one or more
  // "--name", or "--name,!--no-name" for one that can also be turned off.
  void add_flag(const std::string& name, bool& value, const std::string& help);
  void callback(std::function<void()> called_when_named);

  // Words as arguments() gives them. Throws CLI11's errors: run() turns them into lines.
  void parse(std::vector<std::string> last_first);
  bool parsed() const;                           // whether the command line names this subcommand
  bool given(const std::string& option) const;   // whether the command line sets it
  std::string help() const;

  CLI::App& app() const { return *app_; }

 private:
  explicit Command(CLI::App* subcommand) : app_(subcommand) {}
  std::shared_ptr<CLI::App> program_;  // of the program itself
  CLI::App* app_;
};

// The command line without `--config FILE`, but with the options that the TOML file names and the command line does
// not; last first, the order that CLI11's parse takes. The file is checked against the options of the subcommand that
// the command line names: an unknown key, a value of the wrong kind or out of range throws dr::Error with file and
// line.
std::vector<std::string> arguments(const Command& command, const std::vector<std::string>& command_line);

// Parses, then calls body. A wrong command line is one line on stderr, with the nearest valid word, and `bad_input`.
int run(Command& program, const std::vector<std::string>& command_line, int bad_input,
        const std::function<int()>& body);

}  // namespace dr
