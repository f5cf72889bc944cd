#ifndef CUPEL_TESTS_COMMON_TPM_VECTORS_H_
#define CUPEL_TESTS_COMMON_TPM_VECTORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "catch2/catch.hpp"
#include "common/util/file.h"
#include "common/util/hex.h"

namespace cupel::tpm {

// The file tests/vectors/`path`.
inline std::vector<uint8_t> Vector(absl::string_view path) {
  auto content =
      ReadFile(absl::StrCat(CUPEL_VECTORS_DIR, "/", path), size_t{1} << 20);
  INFO(path);
  REQUIRE(content.ok());
  return *std::move(content);
}

inline std::string VectorText(absl::string_view path) {
  const std::vector<uint8_t> bytes = Vector(path);
  return {bytes.begin(), bytes.end()};
}

inline std::vector<uint8_t> Hex(absl::string_view hex) {
  auto bytes = HexDecode(hex);
  REQUIRE(bytes.ok());
  return *std::move(bytes);
}

inline std::vector<uint8_t> Concat(std::vector<uint8_t> a,
                                   const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace cupel::tpm

#endif  // CUPEL_TESTS_COMMON_TPM_VECTORS_H_
