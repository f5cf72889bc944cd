#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

constexpr uint32_t kMaxCount = 10'000;

struct TokenFlags {
  std::string valid_for;
  uint32_t count = 1;
  bool json = false;
};

absl::StatusOr<std::vector<std::string>> Create(const Online& online,
                                                const TokenFlags& flags) {
  std::optional<absl::Duration> valid_for;
  if (!flags.valid_for.empty()) {
    valid_for.emplace();
    if (!absl::ParseDuration(flags.valid_for, &*valid_for) ||
        *valid_for <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--valid-for takes a duration such as 1h, not ",
                       Quoted(flags.valid_for, 100)));
    }
  }
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  std::vector<std::string> tokens;
  for (uint32_t i = 0; i < flags.count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(std::string token, fleet->CreateToken(valid_for));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

ExitCode Run(const Online& online, const TokenFlags& flags) {
  const auto tokens = Create(online, flags);
  if (!tokens.ok()) return Fail(tokens.status());
  if (flags.json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const std::string& token : *tokens) {
      all.push_back({{"token", EscapeForJson(token)}});
    }
    PrintLine(DumpJson(all, 2));
    return ExitCode::kOk;
  }
  for (const std::string& token : *tokens) PrintLine(EscapeForDisplay(token));
  if (isatty(STDOUT_FILENO) == 1) {
    PrintError(
        "each is for one machine, once: write it into the file that "
        "enrollment_token_file names in its agent.yaml, start cupel-agent "
        "there, and add the agent with --token");
  }
  return ExitCode::kOk;
}

}  // namespace

void RegisterTokenCreate(CLI::App& parent, Online& online,
                         ExitCode& exit_code) {
  const auto flags = std::make_shared<TokenFlags>();
  CLI::App* command = parent.add_subcommand(
      "create",
      "Print a new enrolment token: the machine that enrols with it belongs to "
      "your tenant, and `add UUID --token` takes its EK. It is good for one "
      "machine, and it is a secret until it is used.");
  command
      ->add_option("--valid-for", flags->valid_for,
                   "How long it can be used: 1h, 90m, 72h; 24h unless given, "
                   "720h at the most")
      ->type_name("TIME");
  command->add_option("--count", flags->count, "Print that many, one a line")
      ->check(CLI::Range(1U, kMaxCount, "1-10000"))
      ->type_name("N");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command, {"cupel-tenant token create --valid-for 1h",
                         "cupel-tenant token create --count 100 > tokens.txt"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
