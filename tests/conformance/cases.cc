#include "tests/conformance/cases.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::conformance {
namespace {

using nlohmann::json;

constexpr size_t kMaxIndexSize = size_t{64} << 20;

bool HasValue(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && !found->is_null();
}

bool IsCase(const json& object) {
  return object.is_object() && object.contains("name") &&
         object["name"].is_string() && object.contains("kind") &&
         object["kind"].is_string() && object.contains("inputs") &&
         object["inputs"].is_object() && object.contains("expected") &&
         object["expected"].is_object();
}

}  // namespace

std::string Case::Group() const {
  if (kind == "ima_list" && HasValue(inputs, "keyring_files")) {
    return "ima_list with keyrings";
  }
  if (kind == "attestation" && HasValue(inputs, "mb_policy")) {
    return "attestation with a boot policy";
  }
  return kind;
}

std::string DataFolder() {
  const char* folder = std::getenv("CUPEL_CONFORMANCE_DIR");
  return folder != nullptr ? folder : CUPEL_CONFORMANCE_DIR;
}

bool IsDataAbsent() {
  std::error_code ignored;
  return std::getenv("CUPEL_CONFORMANCE_DIR") == nullptr &&
         !std::filesystem::exists(CUPEL_CONFORMANCE_DIR, ignored);
}

absl::StatusOr<std::vector<Case>> LoadCases() {
  const std::string path = absl::StrCat(DataFolder(), "/index.json");
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         ReadFile(path, kMaxIndexSize));
  const json index = json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!index.is_object() || !index.contains("cases") ||
      !index["cases"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no cases"));
  }
  std::vector<Case> cases;
  for (const json& object : index["cases"]) {
    if (!IsCase(object)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": case ", cases.size(), " is none"));
    }
    Case read;
    read.name = object["name"].get<std::string>();
    read.kind = object["kind"].get<std::string>();
    read.inputs = object["inputs"];
    read.expected = object["expected"];
    if (object.contains("recommended_verdict")) {
      read.recommended_verdict =
          object["recommended_verdict"].get<std::string>();
    }
    cases.push_back(std::move(read));
  }
  return cases;
}

}  // namespace cupel::conformance
