// cupel-agent's commands that look at the machine, as their users start them.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "nlohmann/json.hpp"
#include "tests/agent/agent_rig.h"
#include "tests/agent/tpm/swtpm_rig.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::CommandResult;
using ::cupel::testing::IsOk;

// Has the TPM look as if firmware had booted the machine.
void Boot(AgentRig& rig) {
  for (int pcr = 0; pcr < 8; ++pcr) {
    const std::string digest(64, static_cast<char>('1' + pcr));
    Get(rig.tpm().Run(
        {"tpm2_pcrextend", absl::StrCat(pcr, ":sha256=", digest)}));
  }
}

nlohmann::json Json(const CommandResult& result) {
  CAPTURE(result);
  return nlohmann::json::parse(result.out);
}

// The outcomes of a check, in the report that `doctor --json` gives.
std::vector<std::string> Outcomes(const nlohmann::json& report,
                                  const std::string& check) {
  std::vector<std::string> outcomes;
  for (const auto& one : report["checks"]) {
    if (one["check"] == check) outcomes.push_back(one["outcome"]);
  }
  return outcomes;
}

TEST_CASE("identity: who this machine is", "[swtpm]") {
  AgentRig rig;
  const CommandResult text = rig.Run({"identity"});
  CAPTURE(text);
  CHECK(text.exit_code == 0);
  const auto json = Json(rig.Run({"identity", "--json"}));
  CHECK(json["agent_id"] == "d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
  CHECK(json["ek_template"] == "L-1");
  const std::string sha256 = json["ek_sha256"];
  CHECK(sha256.size() == 64);
  for (const char* const key : {"ek_sha256", "ek_name", "ak_name"}) {
    CHECK(absl::StrContains(text.out, json[key].get<std::string>()));
  }
  CHECK(absl::StrContains(text.out, json["ek_certificate"].get<std::string>()));
  // It is one and the same each time.
  CHECK(Json(rig.Run({"identity", "--json"})) == json);
  // Kept for the owner alone.
  struct stat info = {};
  for (const char* const path : {"state", "state/ak", "state/tpm_session"}) {
    REQUIRE(stat(rig.Path(path).c_str(), &info) == 0);
    CHECK((info.st_mode & 077) == 0);
  }
}

TEST_CASE("identity: a machine without a certificate is shown, and is no 0",
          "[swtpm]") {
  AgentRig rig;
  rig.Set("ek_template", "L-2");
  const CommandResult result = rig.Run({"identity", "--json"});
  CAPTURE(result);
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.err, "set ek_certificate_file"));
  CHECK(Json(result)["ek_template"] == "L-2");
  CHECK_FALSE(Json(result).contains("ek_sha256"));
}

TEST_CASE("selftest: exit codes", "[swtpm]") {
  AgentRig rig;
  CommandResult result = rig.Run({"selftest"});
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(result.out ==
        "sha1: explained by the first 3 entries\n"
        "sha256: explained by the first 3 entries\n");
  rig.Measure("more");
  result = rig.Run({"selftest", "--json"});
  CHECK(result.exit_code == 0);
  CHECK(Json(result)["banks"][1]["explained"] == 4);

  SECTION("PCR 10 was extended by hand, in one bank") {
    Get(rig.tpm().Run(
        {"tpm2_pcrextend", absl::StrCat("10:sha1=", std::string(40, 'a'))}));
    result = rig.Run({"selftest", "--json"});
    CHECK(result.exit_code == 1);
    CHECK(Json(result)["banks"][0]["result"] == "unexplained");
    CHECK(Json(result)["banks"][1]["result"] == "explained");
  }
  SECTION("the TPM was reset") {
    REQUIRE_THAT(rig.tpm().Restart(), IsOk());
    result = rig.Run({"selftest", "--json"});
    CHECK(result.exit_code == 1);
    CHECK(Json(result)["banks"][1]["result"] == "incomplete");
  }
  SECTION("the list was changed") {
    auto bytes = Get(ReadFile(rig.Path("ima_list"), size_t{1} << 20));
    bytes.back() ^= 1;
    bytes[bytes.size() - 2] ^= 1;
    REQUIRE_THAT(WriteFile(rig.Path("ima_list"), AsText(bytes)), IsOk());
    CHECK(rig.Run({"selftest"}).exit_code == 1);
  }
  SECTION("there is no list") {
    rig.Set("ima_list", rig.Path("none"));
    result = rig.Run({"selftest"});
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_FALSE(result.err.empty());
  }
  SECTION("the list is empty") {
    REQUIRE_THAT(WriteFile(rig.Path("ima_list"), ""), IsOk());
    CHECK(rig.Run({"selftest"}).exit_code == 2);
  }
  SECTION("there is no TPM") {
    rig.tpm().Kill();
    CHECK(rig.Run({"selftest"}).exit_code == 2);
  }
}

TEST_CASE("selftest: every bank that is allocated, or no pass", "[swtpm]") {
  AgentRig rig;
  // The emulator has extended what was allocated then.
  Get(rig.tpm().Run({"tpm2_pcrallocate", "sha1:all+sha256:all+sha384:all"}));
  REQUIRE_THAT(rig.tpm().Restart(), IsOk());
  rig.Measure("again");
  CommandResult result = rig.Run({"selftest"});
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "sha384: explained by the first 3"));
  Get(rig.tpm().Run(
      {"tpm2_pcrextend", absl::StrCat("10:sha384=", std::string(96, 'a'))}));
  result = rig.Run({"selftest"});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "sha384: NOT explained"));
  CHECK(absl::StrContains(result.out, "sha256: explained"));
}

TEST_CASE("doctor: a machine that is well, and what may be wrong with it",
          "[swtpm]") {
  AgentRig rig;
  Boot(rig);
  REQUIRE(rig.Run({"identity"}).exit_code == 0);
  CommandResult result = rig.Run({"doctor"});
  CAPTURE(result);
  // An emulator's list and TPM are worth warnings.
  CHECK(result.exit_code == 0);
  CHECK(absl::EndsWith(result.out, "0 failed, 0 could not be checked\n"));
  auto report = Json(rig.Run({"doctor", "--json"}));
  CHECK(report["failure"] == 0);
  CHECK(report["undecided"] == 0);
  // The rig's certificates last for an hour.
  CHECK(Outcomes(report, "verifier.reach") ==
        std::vector<std::string>{"warning", "ok"});
  CHECK(Outcomes(report, "tpm.replay") == std::vector<std::string>{"ok", "ok"});
  CHECK(Outcomes(report, "tpm.ek") == std::vector<std::string>{"ok"});
  CHECK(Outcomes(report, "clock.tpm") == std::vector<std::string>{"ok"});
  // It has looked, and left nothing.
  CHECK(CountLoaded(rig.tpm()) == 0);

  const auto fails = [&](const std::string& check) {
    result = rig.Run({"doctor", "--json"});
    CAPTURE(result);
    CHECK(result.exit_code == 1);
    const auto outcomes = Outcomes(Json(result), check);
    CHECK(std::ranges::find(outcomes, "failure") != outcomes.end());
    const auto failed = Json(result);
    for (const auto& one : failed["checks"]) {
      CHECK((one["outcome"] == "ok") == one["cure"].get<std::string>().empty());
    }
  };
  SECTION("nobody is at the verifier's address") {
    rig.Set("verifiers", "[\"localhost:1\"]");
    fails("verifier.reach");
  }
  SECTION("the verifier is another CA's") {
    const testing::TestCa other("Other CA");
    REQUIRE_THAT(WriteFile(rig.Path("ca.pem"), other.pem()), IsOk());
    fails("verifier.reach");
  }
  SECTION("there is no CA") {
    std::filesystem::remove(rig.Path("ca.pem"));
    fails("verifier.ca");
  }
  SECTION("the state is everybody's") {
    REQUIRE(chmod(rig.Path("state").c_str(), 0755) == 0);
    fails("agent.state");
  }
  SECTION("there is no TPM") {
    rig.tpm().Kill();
    fails("tpm.state");
  }
  SECTION("the TPM is full") {
    for (int i = 0; i < 2; ++i) {
      Get(rig.tpm().RunWithoutFlush({"tpm2_createprimary", "-C", "o"}));
    }
    fails("tpm.state");
  }
  SECTION("the firmware does not extend the bank") {
    REQUIRE_THAT(rig.tpm().Restart(), IsOk());
    rig.Measure("again");
    fails("tpm.banks");
  }
  SECTION("PCR 10 was extended by hand") {
    Get(rig.tpm().Run(
        {"tpm2_pcrextend", absl::StrCat("10:sha256=", std::string(64, 'a'))}));
    fails("tpm.replay");
  }
  SECTION("there is no certificate of the EK") {
    std::filesystem::remove(rig.Path("state/ak"));
    rig.Set("ek_template", "L-2");
    fails("tpm.ek");
  }
  SECTION("the list is the kernel's, and the kernel has none") {
    rig.Set("ima_list",
            "/sys/kernel/security/ima/no_such_list_of_measurements");
    fails("ima.list");
  }
}

TEST_CASE("doctor: a report that can't be written is no pass", "[swtpm]") {
  AgentRig rig;
  Boot(rig);
  testing::CommandOptions options;
  options.out_path = "/dev/full";
  const auto result = testing::RunCommand(rig.Command({"doctor"}), options);
  REQUIRE(result.ok());
  CHECK(result->exit_code == 2);
}

TEST_CASE("usage: what can't be understood is 2, and is said", "[swtpm]") {
  AgentRig rig;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{},
        {"walk"},
        {"doctor", "--yaml"},
        {"--set", "settle", "identity"},
        {"--set", "settle=soon", "identity"},
        {"--set", "no_such_option=1", "identity"}}) {
    const CommandResult result = rig.Run(arguments);
    CAPTURE(result);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK(absl::StartsWith(result.err, "cupel-agent: "));
  }
  const auto nameless =
      testing::RunCommand({CUPEL_AGENT, "--config", "", "identity"});
  REQUIRE(nameless.ok());
  CHECK(nameless->exit_code == 2);
  CHECK(absl::StrContains(nameless->err, "--config: the file has no name"));
  const CommandResult help = rig.Run({"--help"});
  CHECK(help.exit_code == 0);
  for (const char* const command :
       {"run", "identity", "doctor", "selftest", "ima-emulator"}) {
    CHECK(absl::StrContains(help.out, command));
  }
}

}  // namespace
}  // namespace cupel::agent
