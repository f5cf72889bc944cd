#include "common/ima/template_format.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "catch2/catch.hpp"

namespace cupel::ima {
namespace {

std::string FormatString(absl::string_view name) {
  const auto format = FindTemplateFormat(name);
  if (!format) return "unknown";
  std::vector<std::string> fields;
  for (const FieldId field : format->fields()) {
    fields.emplace_back(FieldName(field));
  }
  return absl::StrJoin(fields, "|");
}

TEST_CASE("every built-in template has its fields", "[ima]") {
  CHECK(FormatString("ima") == "d|n");
  CHECK(FormatString("ima-ng") == "d-ng|n-ng");
  CHECK(FormatString("ima-sig") == "d-ng|n-ng|sig");
  CHECK(FormatString("ima-ngv2") == "d-ngv2|n-ng");
  CHECK(FormatString("ima-sigv2") == "d-ngv2|n-ng|sig");
  CHECK(FormatString("ima-buf") == "d-ng|n-ng|buf");
  CHECK(FormatString("ima-modsig") == "d-ng|n-ng|sig|d-modsig|modsig");
  CHECK(FormatString("evm-sig") ==
        "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode");
}

// As many fields as there can be.
constexpr char kLongestFormat[] =
    "d-ng|n-ng|sig|buf|d-modsig|modsig|evmsig|iuid|igid|imode|xattrnames|"
    "xattrlengths|xattrvalues";

TEST_CASE("a format string names its own fields", "[ima]") {
  for (const char* format :
       {"d", "n", "d-ng", "d-ngv2", "n-ng", "sig", "buf", "d-modsig", "modsig",
        "evmsig", "iuid", "igid", "imode", "xattrnames", "xattrlengths",
        "xattrvalues", "d|n", "n-ng|d-ng", kLongestFormat}) {
    CHECK(FormatString(format) == format);
  }
}

TEST_CASE("other names are unknown", "[ima]") {
  for (const char* name :
       {"", "|", "IMA-NG", "ima-", "ima-ng2", "not-ima", "d|", "|d", "d||n",
        "d-ng|n-ng|", "d-ng|n-ng|path", "d-ng n-ng", "d-ng|N-NG",
        // Twice the same, or two answers to one question.
        "d|d", "d-ng|d-ng|n-ng", "d|d-ng|n-ng", "d-ng|d-ngv2|n-ng",
        "d-ng|n|n-ng", "d-ng|n-ng|sig|sig"}) {
    CAPTURE(name);
    CHECK(FormatString(name) == "unknown");
    CHECK(FindBuiltinFormat(name) == nullptr);
  }
  CHECK(FormatString(std::string(256, '|')) == "unknown");
}

TEST_CASE("only the kernel's own templates are built in", "[ima]") {
  CHECK(FindBuiltinFormat("d-ng|n-ng") == nullptr);
  REQUIRE(FindBuiltinFormat("ima-ng") != nullptr);
  CHECK(FindBuiltinFormat("ima-ng")->fields().size() == 2);
}

}  // namespace
}  // namespace cupel::ima
