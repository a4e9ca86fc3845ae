#include "train/commands/command.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace dr::cli {

void add_common(CLI::App& command, Common& c) {
  command.add_option("--device", c.device, "where kernels run: cpu, simt, cuda or hip")->capture_default_str();
  command.add_option("--math", c.math, "canonical (the same bits everywhere) or fast (GPU only)")
      ->capture_default_str();
  command.add_option("--isa", c.isa,
                     "CPU instruction set: avx512, avx2 or portable (default: the best this processor runs)");
  command.add_option("--threads", c.threads, "CPU threads (default: one per core); never changes a result")
      ->check(CLI::Range(0, 1024));
  command.add_option("--seed", c.seed, "seed of every random number")->capture_default_str();
  command.add_option("--out", c.out, "folder for what the command writes");
  command.add_option("--json", c.json, "write the result as JSON to this file");
  command.add_option("--ledger", c.ledger, "record a hash of every tensor of every op call in this file");
  command.add_flag("--profile", c.profile, "print a roofline table; with --out also trace.json for Perfetto");
  command.add_flag("--quiet", c.quiet, "print the result only");
  command.add_option("--config", c.config, "TOML file with any of these options; the command line wins");
}

Backend Common::backend() const {
  const RuntimeOptions o = runtime();
  return open_device(o.device, o.cpu_isa)->backend();
}

RuntimeOptions Common::runtime() const {
  const DeviceKind kind = parse_device(device);
  return {.device = kind, .cpu_isa = isa, .math = parse_math(math, kind), .threads = threads};
}

void write_file(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".partial";
  std::FILE* f = std::fopen(temporary.c_str(), "wb");
  CHECK(f != nullptr, "{}: cannot be written: {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), f) == text.size() && std::fflush(f) == 0;
  const int why = errno;
  std::fclose(f);
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = written ? errno : why;
    std::remove(temporary.c_str());
    fail("{}: cannot be written: {}", path, std::strerror(reason));
  }
}

}  // namespace dr::cli
