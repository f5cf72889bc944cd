#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/fingerprint.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/table.h"

namespace cupel::tenant {
namespace {

constexpr size_t kMaxFileSize = size_t{64} << 20;

struct EkFlags {
  std::vector<std::string> fingerprints;
  std::string from;
  bool json = false;
};

// Those given, and those of the file: a line each, blank ones and those that
// begin with # left out.
absl::StatusOr<std::vector<std::string>> Fingerprints(const EkFlags& flags) {
  std::vector<std::string> eks;
  for (const std::string& text : flags.fingerprints) {
    CUPEL_ASSIGN_OR_RETURN(std::string ek, crypto::ParseFingerprint(text));
    eks.push_back(std::move(ek));
  }
  if (!flags.from.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                           ReadFile(flags.from, kMaxFileSize));
    size_t number = 0;
    for (const absl::string_view line : absl::StrSplit(AsText(bytes), '\n')) {
      ++number;
      const absl::string_view text = absl::StripAsciiWhitespace(line);
      if (text.empty() || text.front() == '#') continue;
      auto ek = crypto::ParseFingerprint(text);
      CUPEL_RETURN_IF_ERROR(
          WithContext(ek.status(),
                      absl::StrCat(EscapeForDisplay(flags.from), ":", number)));
      eks.push_back(*std::move(ek));
    }
  }
  if (eks.empty()) {
    return absl::InvalidArgumentError(
        "no EK: give fingerprints, or --from with a file of them");
  }
  return eks;
}

absl::StatusOr<size_t> Allow(const Online& online, const EkFlags& flags,
                             bool remove) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> eks,
                         Fingerprints(flags));
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  CUPEL_RETURN_IF_ERROR(fleet->AllowEks(eks, remove));
  return eks.size();
}

ExitCode ChangeEks(const Online& online, const EkFlags& flags, bool remove) {
  const auto count = Allow(online, flags, remove);
  if (!count.ok()) return Fail(count.status());
  if (flags.json) {
    PrintLine(DumpJson({{remove ? "disallowed" : "allowed", *count}}, 2));
  } else {
    PrintLine(absl::StrCat(*count, *count == 1 ? " EK is" : " EKs are",
                           remove ? " not allowed any more" : " allowed"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<std::vector<AllowedEk>> List(const Online& online) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->ListAllowedEks();
}

ExitCode PrintEks(const Online& online, const EkFlags& flags) {
  const auto eks = List(online);
  if (!eks.ok()) return Fail(eks.status());
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  std::vector<std::vector<std::string>> rows = {{"EK SHA-256", "SINCE", "BY"}};
  for (const AllowedEk& ek : *eks) {
    rows.push_back({EscapeForDisplay(ek.ek_sha256), TimeText(ek.time),
                    EscapeForDisplay(ek.who)});
    json.push_back({{"ek_sha256", EscapeForJson(ek.ek_sha256)},
                    {"time", TimeText(ek.time)},
                    {"who", EscapeForJson(ek.who)}});
  }
  PrintLine(flags.json ? DumpJson(json, 2) : FormatTable(rows));
  return ExitCode::kOk;
}

}  // namespace

void RegisterEk(CLI::App& parent, Online& online, ExitCode& exit_code) {
  CLI::App* group = parent.add_subcommand(
      "ek",
      "The list of EKs that you vouch for: an agent that has one of them is "
      "added with add --vouched, without its fingerprint.");
  group->require_subcommand(1);
  const auto command = [&](const char* name, const char* help, auto run) {
    const auto flags = std::make_shared<EkFlags>();
    CLI::App* one = group->add_subcommand(name, help);
    one->add_flag("--json", flags->json, "Machine-readable output");
    online.Register(*one);
    one->callback(
        [flags, run, &online, &exit_code] { exit_code = run(online, *flags); });
    return std::pair(one, flags);
  };
  const auto change = [&](const char* name, const char* help, bool remove) {
    const auto [one, flags] =
        command(name, help, [remove](const Online& to, const EkFlags& given) {
          return ChangeEks(to, given, remove);
        });
    one->add_option("ek", flags->fingerprints,
                    "SHA-256 of EK certificates; `cupel-agent identity` prints "
                    "it on the machine")
        ->type_name("SHA256");
    one->add_option("--from", flags->from,
                    "A file of them, a line each; lines that begin with # are "
                    "left out")
        ->type_name("FILE");
  };
  change("allow", "Put EKs on the list.", /*remove=*/false);
  change("disallow",
         "Take EKs off the list. Agents that were added by it stay.",
         /*remove=*/true);
  command("list", "Print the list.", PrintEks);
}

}  // namespace cupel::tenant
