// What the doctor says of the IMA policy that a real kernel has and shows to
// nobody.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;
using Texts = std::vector<std::string>;

std::string TextOf(const std::string& path) {
  return std::string(AsText(Require(ReadFile(path, size_t{1} << 20))));
}

// "outcome: text" of each observation about the policy.
Texts SaidOfPolicy(Lab& lab) {
  const auto result = Require(lab.machine().Run("cupel-agent doctor --json"));
  const nlohmann::json report = nlohmann::json::parse(result.out);
  Texts said;
  for (const auto& one : report["checks"]) {
    if (one["check"] != "ima.policy") continue;
    said.push_back(absl::StrCat(one["outcome"].get<std::string>(), ": ",
                                one["text"].get<std::string>()));
  }
  return said;
}

TEST_CASE("The doctor tells what a real kernel measures, or that it can't") {
  const auto lab = Require(Lab::Create());
  REQUIRE_THAT(
      lab->AddFile("/etc/ima/ima-policy",
                   TextOf(CUPEL_SOURCE_DIR "/packaging/ima/strict.policy")),
      IsOk());
  REQUIRE_THAT(lab->AddFile("/boot/config", TextOf(ImagePath("kernel/config"))),
               IsOk());
  constexpr char kName[] = "mv /boot/config /boot/config-$(uname -r); sync";
  constexpr char kLoad[] =
      "echo /etc/ima/ima-policy > /sys/kernel/security/ima/policy";

  REQUIRE_THAT(lab->Boot("ima_hash=sha256"), IsOk());
  REQUIRE_THAT(lab->machine().Do(kName).status(), IsOk());
  Texts said = SaidOfPolicy(*lab);
  REQUIRE(said.size() == 1);
  CHECK(absl::StartsWith(said[0], "failure: no policy is active"));
  // No rule measures policies while this one is loaded.
  REQUIRE_THAT(lab->machine().Do(kLoad).status(), IsOk());
  said = SaidOfPolicy(*lab);
  REQUIRE(said.size() == 1);
  INFO(said[0]);
  CHECK(absl::StartsWith(said[0], "undecided: "));
  CHECK(absl::StrContains(said[0], "the list has no entry with its digest"));

  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_policy=tcb"), IsOk());
  said = SaidOfPolicy(*lab);
  REQUIRE(said.size() == 7);
  CHECK(absl::StartsWith(said[0], "ok: 20 rules"));
  CHECK(absl::StartsWith(said[6], "warning: tmpfs is left out"));
  REQUIRE_THAT(lab->machine().Do(kLoad).status(), IsOk());
  CHECK(SaidOfPolicy(*lab) ==
        Texts{"ok: 19 rules (9 dont_measure, 10 measure), "
              "/etc/ima/ima-policy, which the list says was read"});
}

}  // namespace
}  // namespace cupel::vm
