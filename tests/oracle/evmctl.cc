#include "tests/oracle/evmctl.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/run_command.h"
#include "tests/support/skip.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {

Evmctl::Evmctl() { SkipUnlessInPath({"evmctl"}); }

void Evmctl::SetPcrs(
    const std::map<std::string, std::map<uint32_t, std::string>>& pcrs) {
  pcr_options_.clear();
  for (const auto& [bank, values] : pcrs) {
    std::string text;
    for (const auto& [pcr, hex] : values) {
      absl::StrAppendFormat(&text, "PCR-%02d:", pcr);
      for (size_t i = 0; i < hex.size(); i += 2) {
        absl::StrAppend(&text, " ", absl::AsciiStrToUpper(hex.substr(i, 2)));
      }
      absl::StrAppend(&text, "\n");
    }
    const std::string path = folder_ / ("pcrs-" + bank);
    REQUIRE_THAT(WriteFile(path, text), IsOk());
    pcr_options_.insert(pcr_options_.end(), {"--pcrs", bank + "," + path});
  }
}

Evmctl::Answer Evmctl::Measure(std::span<const uint8_t> list,
                               bool ignore_violations) {
  const std::string path = folder_ / "list";
  REQUIRE_THAT(WriteFile(path, AsText(list)), IsOk());
  std::vector<std::string> arguments = {"evmctl", "ima_measurement"};
  if (ignore_violations) arguments.push_back("--ignore-violations");
  arguments.insert(arguments.end(), pcr_options_.begin(), pcr_options_.end());
  arguments.push_back(path);
  const auto result = RunCommand(arguments);
  REQUIRE_THAT(StatusOf(result), IsOk());
  Answer answer;
  answer.exit_code = result->exit_code;
  answer.output = absl::StrCat(result->out, result->err);
  answer.matched = absl::StrContains(answer.output, "Matched per TPM bank");
  answer.bad_template_digest =
      absl::StrContains(answer.output, "Failed to verify template data digest");
  return answer;
}

}  // namespace cupel::testing
