#pragma once
// Names of cases as GoogleTest takes them.

#include <cctype>
#include <string>

namespace dr::harness {

// "adaln/F=4,S=5,C=33" -> adaln__F4_S5_C33
inline std::string test_name(const std::string& id) {
  std::string s;
  for (char c : id) {
    if (c == '/') s += "__";
    else if (std::isalnum(static_cast<unsigned char>(c))) s += c;
    else if (c != '=') s += '_';
  }
  return s;
}

}  // namespace dr::harness
