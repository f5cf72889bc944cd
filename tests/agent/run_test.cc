// `cupel-agent run`: what is to come about whatever happens to the TPM, the
// verifier and the agent itself.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/tpm/tcti.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/user.h"
#include "tests/agent/agent_rig.h"
#include "tests/agent/tpm/swtpm_rig.h"
#include "tests/support/skip.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Server;
using ::cupel::testing::StatusOf;

std::vector<std::string> operator+(std::vector<std::string> first,
                                   const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

bool AnyQuote(const SeenQuote& /*quote*/) { return true; }

TEST_CASE("run: enrols, attests, and sees what runs", "[swtpm]") {
  AgentRig rig;
  const auto agent = rig.Start();
  REQUIRE(rig.verifier().WaitForEntries(3));
  CHECK(rig.verifier().enrollment_count() == 1);
  // Within an interval that nothing else would end.
  rig.Measure("world");
  REQUIRE(rig.verifier().WaitForEntries(4));
  CHECK_THAT(rig.verifier().failure(), IsOk());
  CHECK(rig.verifier().stream_count() == 1);
}

TEST_CASE("run: ends when it is told to, whatever it is at", "[swtpm]") {
  AgentRig rig;
  SECTION("attesting") {}
  SECTION("waiting for a verifier that is not there") {
    rig.Set("verifiers", "[\"localhost:1\"]");
    rig.Set("backoff_min", "1h");
    rig.Set("backoff_max", "1h");
  }
  for (const char* const signal : {"TERM", "INT"}) {
    const auto result = testing::RunCommand(
        std::vector<std::string>{"timeout", "--preserve-status",
                                 absl::StrCat("--signal=", signal), "2"} +
        rig.Command({"run"}));
    REQUIRE_THAT(StatusOf(result), IsOk());
    CAPTURE(*result);
    CHECK(result->exit_code == 0);
  }
}

TEST_CASE("run: an agent that was killed at any moment works again",
          "[swtpm]") {
  AgentRig rig;
  Get(rig.tpm().RunWithoutFlush({"tpm2_createprimary", "-C", "o"}));
  const std::vector<std::string> foreign = TransientObjects(rig.tpm());
  REQUIRE(foreign.size() == 1);
  rig.verifier().SetInterval(absl::Milliseconds(100));
  std::minstd_rand random(1);
  for (int i = 0; i < 12; ++i) {
    const auto agent = rig.Start();
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
    kill(agent->pid(), SIGKILL);
  }
  const size_t seen = rig.verifier().quotes().size();
  {
    const auto agent = rig.Start();
    CHECK(rig.verifier().WaitForQuote(AnyQuote, seen));
    CHECK_THAT(rig.verifier().failure(), IsOk());
  }
  // That one was killed, too; the next process removes what it has left.
  CHECK(rig.Run({"identity"}).exit_code == 0);
  CHECK(TransientObjects(rig.tpm()) == foreign);
  CHECK(LoadedSessions(rig.tpm()).empty());
}

TEST_CASE("run: a TPM that stalls delays, and loses nothing", "[swtpm]") {
  AgentRig rig;
  const auto agent = rig.Start();
  REQUIRE(rig.verifier().WaitForEntries(3));
  rig.tpm().Stall();
  // The kernel waits for the TPM, too.
  const auto measuring = testing::Server::Start(rig.MeasureCommand("late"),
                                                rig.Path("measuring.log"));
  REQUIRE_THAT(StatusOf(measuring), IsOk());
  const size_t before = rig.verifier().quotes().size();
  std::this_thread::sleep_for(std::chrono::seconds(3));
  CHECK(rig.verifier().quotes().size() == before);
  rig.tpm().Resume();
  CHECK(rig.verifier().WaitForEntries(4));
  rig.Measure("later");
  CHECK(rig.verifier().WaitForEntries(5));
  CHECK_THAT(rig.verifier().failure(), IsOk());
  // The stream is the same, and nobody had to start again.
  CHECK(rig.verifier().stream_count() == 1);
  CHECK(rig.verifier().enrollment_count() == 1);
}

TEST_CASE("run: a TPM that went away and came back is used again", "[swtpm]") {
  AgentRig rig;
  rig.verifier().SetInterval(absl::Milliseconds(200));
  const auto agent = rig.Start();
  REQUIRE(rig.verifier().WaitForEntries(3));
  rig.tpm().Kill();
  REQUIRE(rig.WaitForLog("the TPM did not quote, and will be asked again"));
  const size_t before = rig.verifier().quotes().size();
  const uint32_t boot = rig.verifier().quotes().back().clock_info.reset_count;
  REQUIRE_THAT(rig.tpm().Restart(), IsOk());
  CHECK(rig.verifier().WaitForQuote(
      [&](const SeenQuote& quote) {
        return quote.clock_info.reset_count > boot;
      },
      before));
  // As after a boot: the list starts anew.
  const size_t after = rig.verifier().quotes().size();
  rig.Measure("again");
  CHECK(rig.verifier().WaitForQuote(
      [](const SeenQuote& quote) { return quote.explained_count == 3; },
      after));
  CHECK_THAT(rig.verifier().failure(), IsOk());
  CHECK(rig.verifier().stream_count() == 1);
}

TEST_CASE("run: the AK outlives the agent", "[swtpm]") {
  AgentRig rig;
  std::vector<uint8_t> name;
  for (int i = 0; i < 2; ++i) {
    const size_t seen = rig.verifier().quotes().size();
    const auto agent = rig.Start();
    REQUIRE(rig.verifier().WaitForQuote(AnyQuote, seen));
    const auto ak = rig.verifier().ak();
    REQUIRE(ak.has_value());
    if (i == 1) CHECK(ak->Name() == name);
    name = ak->Name();
  }
  CHECK(rig.verifier().enrollment_count() == 2);
}

TEST_CASE("run: every EK and AK by configuration", "[swtpm]") {
  struct Choice {
    const char* ek;
    const char* ak;
    tpm::EkTemplate ek_template;
    tpm::AlgId ak_type;
  };
  // swtpm has certificates of its RSA-2048 and P-384 EKs in NV; that of P-256
  // comes from a folder.
  for (const Choice& choice :
       {Choice{"auto", "ecc-p256", tpm::EkTemplate::kL1, tpm::AlgId::kEcc},
        Choice{"L-1", "rsa-2048", tpm::EkTemplate::kL1, tpm::AlgId::kRsa},
        Choice{"H-3", "ecc-p256", tpm::EkTemplate::kH3, tpm::AlgId::kEcc},
        Choice{"H-3", "rsa-2048", tpm::EkTemplate::kH3, tpm::AlgId::kRsa},
        Choice{"L-2", "ecc-p256", tpm::EkTemplate::kL2, tpm::AlgId::kEcc}}) {
    CAPTURE(choice.ek, choice.ak);
    AgentRig rig;
    rig.Set("ek_template", choice.ek);
    rig.Set("ak_algorithm", choice.ak);
    if (choice.ek_template == tpm::EkTemplate::kL2) {
      const auto ek = Get(Connect(rig.tpm())->ReadEk(choice.ek_template));
      std::filesystem::create_directory(rig.Path("chains"));
      REQUIRE_THAT(WriteFile(rig.Path("chains/other.txt"), "no certificate"),
                   IsOk());
      const auto key = Get(ek.ToPublicKey());
      REQUIRE_THAT(WriteFile(rig.Path("chains/this.der"),
                             AsText(rig.ca().IssueFor(key))),
                   IsOk());
      rig.Set("ek_certificate_file", rig.Path("chains"));
    }
    const auto agent = rig.Start();
    CHECK(rig.verifier().WaitForEntries(3));
    CHECK_THAT(rig.verifier().failure(), IsOk());
    CHECK(rig.verifier().ek_template() == choice.ek_template);
    CHECK(rig.verifier().ak()->type == choice.ak_type);
  }
}

TEST_CASE("run: enrols again where it is refused, by itself", "[swtpm]") {
  AgentRig rig;
  rig.verifier().Refuse(true);
  const auto agent = rig.Start();
  REQUIRE(rig.WaitForLog("the verifier refused"));
  CHECK(rig.verifier().enrollment_count() == 1);
  rig.verifier().Refuse(false);
  CHECK(rig.verifier().WaitForEntries(3));
}

void SkipUnlessRoot() {
  if (geteuid() != 0) testing::Skip("needs root");
}

// The values of a line of /proc/PID/status.
std::vector<std::string> StatusLine(pid_t pid, const std::string& name) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, name + ":")) {
      return absl::StrSplit(line.substr(name.size() + 1),
                            absl::ByAnyChar(" \t"), absl::SkipEmpty());
    }
  }
  return {};
}

TEST_CASE("run: becomes the configured user for good, and still attests",
          "[swtpm]") {
  SkipUnlessRoot();
  AgentRig rig;
  const auto user = FindUser("nobody");
  REQUIRE_THAT(StatusOf(user), IsOk());
  rig.Set("user", "nobody");
  // The TPM is anybody's, as a device of the group tss is its members'.
  const std::string socket = TctiPath(rig.tpm().Tcti());
  for (const std::string& path : {socket, socket + ".ctrl"}) {
    REQUIRE(chmod(path.c_str(), 0666) == 0);
  }
  REQUIRE(chmod(std::filesystem::path(socket).parent_path().c_str(), 0755) ==
          0);
  // What it has open already, nobody may open.
  REQUIRE(chmod(rig.Path("ima_list").c_str(), 0600) == 0);
  REQUIRE(chmod(rig.Path("ca.pem").c_str(), 0600) == 0);
  const auto agent = rig.Start();
  REQUIRE(rig.verifier().WaitForEntries(3));
  rig.Measure("more");
  CHECK(rig.verifier().WaitForEntries(4));
  CHECK_THAT(rig.verifier().failure(), IsOk());

  const std::string uid = absl::StrCat(user->uid);
  const std::string gid = absl::StrCat(user->gid);
  const pid_t pid = agent->pid();
  CHECK(StatusLine(pid, "Uid") == std::vector(4, uid));
  CHECK(StatusLine(pid, "Gid") == std::vector(4, gid));
  for (const std::string& group : StatusLine(pid, "Groups")) {
    CHECK(group != "0");
  }
  // Neither by capability nor by a program can it be root again.
  for (const char* const set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
    CHECK(StatusLine(pid, set) == std::vector<std::string>{"0000000000000000"});
  }
  CHECK(StatusLine(pid, "NoNewPrivs") == std::vector<std::string>{"1"});
  CHECK_FALSE(absl::StrContains(rig.Log(), "can't be opened again"));
}

TEST_CASE("run: what a user will not be able to do is said at the start",
          "[swtpm]") {
  SkipUnlessRoot();
  AgentRig rig;
  rig.Set("user", "nobody");
  const auto agent = rig.Start();
  CHECK(rig.WaitForLog("the TPM can't be opened again after an I/O error"));
  const auto doctor = rig.Run({"doctor"});
  CHECK(absl::StrContains(doctor.out, "\"nobody\" may not open"));
}

TEST_CASE("run: a user who is not there is an error", "[swtpm]") {
  AgentRig rig;
  rig.Set("user", "no-such-user");
  const auto result = rig.Run({"run"});
  CAPTURE(result);
  CHECK(result.exit_code == 2);
  CHECK(absl::StrContains(result.err, "no-such-user"));
  CHECK(rig.verifier().enrollment_count() == 0);
}

TEST_CASE("run: what is wrong with the state is said, and nothing is replaced",
          "[swtpm]") {
  AgentRig rig;
  REQUIRE(rig.Run({"identity"}).exit_code == 0);
  const auto refused = [&](const std::string& text) {
    const auto result = rig.Run({"run"});
    CAPTURE(result);
    CHECK(result.exit_code == 2);
    CHECK(absl::StrContains(result.err, text));
    CHECK(rig.verifier().enrollment_count() == 0);
  };
  SECTION("a damaged key") {
    REQUIRE_THAT(WriteFile(rig.Path("state/ak"), "CUPELAK\x01garbage"), IsOk());
    refused(absl::StrCat("move ", rig.Path("state/ak"), " away"));
    CHECK(AsText(Get(ReadFile(rig.Path("state/ak"), 100))) ==
          "CUPELAK\x01garbage");
  }
  SECTION("a damaged id") {
    rig.Set("agent_id", "auto");
    REQUIRE_THAT(WriteFile(rig.Path("state/agent_id"), "nobody\n"), IsOk());
    refused("put the id back that the verifier knows");
  }
  SECTION("a file in the folder's place") {
    REQUIRE_THAT(WriteFile(rig.Path("file"), ""), IsOk());
    rig.Set("state_dir", rig.Path("file"));
    refused(rig.Path("file"));
  }
  SECTION("no folder above it") {
    rig.Set("state_dir", rig.Path("none/state"));
    refused("make the folder above it first");
  }
  SECTION("a key of another EK") {
    rig.Set("ek_template", "H-3");
    refused("the AK that is kept is under EK L-1");
  }
  SECTION("no list") {
    rig.Set("ima_list", rig.Path("none"));
    refused("none: No such file");
  }
  SECTION("no roots") {
    REQUIRE_THAT(WriteFile(rig.Path("ca.pem"), "nothing"), IsOk());
    refused("root certificates");
  }
}

}  // namespace
}  // namespace cupel::agent
