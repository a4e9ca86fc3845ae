#pragma once
// Logs of one JSON object a line.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dr {

// A log that grows by whole lines: each record reaches the system in one piece before write() returns, so a killed
// program leaves complete lines and perhaps one cut one.
class JsonLinesWriter {
 public:
  // `append` continues a log, from which a last line that was cut short is removed first; else it begins anew.
  explicit JsonLinesWriter(std::string path, bool append = false);
  ~JsonLinesWriter();
  JsonLinesWriter(const JsonLinesWriter&) = delete;
  JsonLinesWriter& operator=(const JsonLinesWriter&) = delete;

  void write(const nlohmann::json& object);  // a number that is not finite becomes null
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int file_ = -1;
};

// Every line must be one object, the last one included. The message names the line.
std::vector<nlohmann::json> read_json_lines(const std::string& path);
std::vector<nlohmann::json> parse_json_lines(std::string_view bytes, const std::string& name);

}  // namespace dr
